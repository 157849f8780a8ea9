"""The weights of a finished trial, loaded into the network that they are of."""

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from trainers.errors import DataError
from trainers.nested.separate import SeparateNetworks
from trainers.training.state import Network
from trainers.weights import load_weights


def load_trained(nested: Network, separate: Callable[[], SeparateNetworks], weights: Path) -> Network:
    """The network of a trial, in evaluation mode.

    Args:
        nested: of the trial's config, whatever its weights.
        separate: makes the same as networks of their own, for a trial that ended with such.
        weights: `weights.safetensors` of the trial.

    Raises:
        DataError: no safetensors, or the weights of another network.
    """
    try:
        values = load_file(weights)
    except (SafetensorError, OSError) as error:  # a pickle in its place included: nothing is ever unpickled
        raise DataError(f"{weights.name} holds no safetensors: {error}") from error
    # A trial that ended early was not extracted yet.
    network = separate() if any(name.startswith("networks.") for name in values) else nested
    try:
        load_weights(network, values)
    except RuntimeError as error:
        raise DataError(f"{weights.name} holds the weights of another network") from error
    return network.eval()
