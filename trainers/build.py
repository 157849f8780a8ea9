"""From names to a network: the plain architecture, made nested or multiplied, initialised from the seed."""

import math
from functools import lru_cache

import torch
from torch import nn

from trainers.cost import Cost, measure
from trainers.data import dataset
from trainers.lattice import Lattice
from trainers.methods import Sharing
from trainers.nested.network import NestedNetwork, SeparateNetworks, nest
from trainers.nested.norms import NormPolicy
from trainers.networks import NETWORKS
from trainers.randomness import stream


def build(
    network: str, data: str, lattice: Lattice, norm: NormPolicy, sharing: Sharing, seed: int
) -> NestedNetwork | SeparateNetworks:
    """The network to train. Arms with the same seed start from the same weights, whatever their norm or method.

    Convolutions are Kaiming-normal (fan_in), drawn per parameter name; norms start at the identity.
    """
    nested = _nested(network, data, lattice, norm)
    initialise(nested.network, seed)
    if sharing == "nested":
        return nested
    separate = {target: nested.extract(target) for target in lattice}
    for standalone in separate.values():
        initialise(standalone, seed)
    return SeparateNetworks(separate, lattice)


def _nested(network: str, data: str, lattice: Lattice, norm: NormPolicy) -> NestedNetwork:
    source = dataset(data)
    return nest(NETWORKS[network](source.shape, source.classes), lattice, norm, source.shape)


def initialise(network: nn.Module, seed: int) -> None:
    """Kaiming-normal weights for every parameter of two or more dimensions, each from a stream of its own name."""
    for name, parameter in network.named_parameters():
        if parameter.ndim >= 2:
            fan_in = math.prod(parameter.shape[1:])
            values = stream(seed, f"init {name}").standard_normal(tuple(parameter.shape)) * math.sqrt(2 / fan_in)
            parameter.data.copy_(torch.from_numpy(values))


@lru_cache(maxsize=64)
def target_costs(network: str, data: str, lattice: Lattice) -> dict[str, Cost]:
    """Multiply-accumulates and parameters of every target by its label. They do not depend on the norm policy."""
    nested = _nested(network, data, lattice, "instance")
    return {target.label: measure(nested.extract(target), dataset(data).shape) for target in lattice}
