"""Weights of a trained network in a file: what safetensors or `torch.save` of a state dict writes.

Nothing is unpickled but tensors.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trainers.data.fetching import file_checksum, one_line
from trainers.errors import DataError
from trainers.weights import aliases

_NAMED = 3  # of what does not fit, in an error


def weights_checksum(file: Path) -> str:
    """SHA-256 of a file.

    Raises:
        DataError: there is no such file.
    """
    _refuse_unless_there(file)
    return file_checksum(file)


def _refuse_unless_there(file: Path) -> None:
    if not file.is_file():
        raise DataError(f"{file}: no such file: give one of safetensors, or of a state dict as torch.save writes it")


def read_weights(file: Path) -> dict[str, Tensor]:
    """What a file holds by name.

    Raises:
        DataError: there is no such file; it holds no weights, or more than tensors by name.
    """
    _refuse_unless_there(file)
    try:
        return load_file(file)
    except (SafetensorError, OSError):
        found = _unpickled(file)
    if not isinstance(found, Mapping) or not found:
        raise DataError(f"{file}: it holds a {type(found).__name__} rather than a state dict")
    others = [name for name, value in found.items() if not isinstance(value, Tensor)]
    if others:
        inside = ", ".join(map(repr, others[:_NAMED]))
        raise DataError(f"{file}: it holds more than tensors ({inside}): save the network's state_dict() alone")
    return dict(found)


def _unpickled(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{file}: neither safetensors nor a state dict of tensors alone ({one_line(error)})") from error


def fitting(weights: Mapping[str, Tensor], network: nn.Module, heads: frozenset[str], called: str) -> dict[str, Tensor]:
    """Of weights those that a network starts from: all of it, but a head with another number of classes.

    Args:
        weights: by name.
        network: whose they should be.
        heads: paths of its heads.
        called: what the weights are called in errors.

    Returns:
        By all names of what is tied.

    Raises:
        DataError: names or shapes of another network, with the first of them.
    """
    own, names = network.state_dict(), aliases(network)
    known = {alias: values for name, values in weights.items() for alias in names.get(name, (name,))}
    missing = [name for name in own if name not in known and not name.endswith("num_batches_tracked")]
    strange = [name for name in known if name not in own]
    if missing or strange:
        said = [f"it lacks {_some(missing)}"] * bool(missing) + [f"it has {_some(strange)}"] * bool(strange)
        raise DataError(f"{called}: {' and '.join(said)}: the weights are not those of {type(network).__name__}")
    others = {name: values for name, values in known.items() if values.shape != own[name].shape}
    for name, values in others.items():
        if name.rpartition(".")[0] not in heads:
            shapes = f"{tuple(values.shape)} rather than {tuple(own[name].shape)}"
            raise DataError(f"{called}: {name!r} is of shape {shapes}: the weights are of another network")
    return {name: values for name, values in known.items() if name not in others}


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more
