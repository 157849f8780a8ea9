"""The weights of a network by name, each once: what is tied to several places is written down under its first name.

safetensors refuses tensors that share memory, and twice the same numbers would come back as two.
"""

from collections.abc import Mapping

from torch import Tensor, nn


def named_weights(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and kept buffers of a network by their first names."""
    named = network.state_dict(keep_vars=True)
    return {name: named[name] for name, first in _first_names(network).items() if name == first}


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copies into a network what `named_weights` gave of one like it. What is tied stays so.

    Raises:
        RuntimeError: a name too many or too few, or another shape.
    """
    firsts = _first_names(network)
    tied = {name: weights[first] for name, first in firsts.items() if name != first and first in weights}
    network.load_state_dict({**weights, **tied})


def aliases(network: nn.Module) -> dict[str, frozenset[str]]:
    """All names of a parameter or kept buffer, its own included, by each of them."""
    together: dict[str, set[str]] = {}
    firsts = _first_names(network)
    for name, first in firsts.items():
        together.setdefault(first, set()).add(name)
    return {name: frozenset(together[first]) for name, first in firsts.items()}


def _first_names(network: nn.Module) -> dict[str, str]:
    """By every name, the first one of the same tensor."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in network.state_dict(keep_vars=True).items()}
