"""What a plain network starts from: weights of a seed, or ones that were trained before."""

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from trainers.errors import ConfigError, unknown
from trainers.randomness import stream
from trainers.weights import aliases


def initialise(network: nn.Module, seed: int, loaded: Collection[str] = ()) -> None:
    """Kaiming-normal weights for every parameter of two or more dimensions, each from a stream of its own name.

    Biases of convolutions and linear layers become zero; torch has drawn them from its global generator. BatchNorms
    become the identity, whatever the architecture starts them from. What is named in `loaded` is left as it is, as are
    parameters of one dimension elsewhere. A tied parameter is drawn once, by its first name.
    """
    for path, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, tensor in module.state_dict().items():
                if f"{path}.{name}".lstrip(".") not in loaded:
                    tensor.fill_(name in ("weight", "running_var"))
        biased = isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None
        if biased and f"{path}.bias".lstrip(".") not in loaded:
            module.bias.data.zero_()
    for name, parameter in network.named_parameters():
        if parameter.ndim >= 2 and name not in loaded:
            fan_in = math.prod(parameter.shape[1:])
            values = stream(seed, f"init {name}").standard_normal(tuple(parameter.shape)) * math.sqrt(2 / fan_in)
            parameter.data.copy_(torch.from_numpy(values))


def load_pretrained(network: nn.Module, weights: Mapping[str, Tensor]) -> frozenset[str]:
    """Copies weights into a plain network, and gives the names of what was loaded: tied ones by all their names.

    Raises:
        ConfigError: a name that the network does not have, or has in another shape.
    """
    own, names = network.state_dict(), aliases(network)
    for name, values in weights.items():
        if name not in own:
            raise unknown("pretrained weight", name, own)
        if own[name].shape != values.shape:
            shapes = f"{tuple(values.shape)} rather than {tuple(own[name].shape)}"
            raise ConfigError(f"pretrained weight {name!r} is of shape {shapes}: it is another network's")
        own[name].copy_(values)
    return frozenset(alias for name in weights for alias in names[name])
