"""A network of its own per target: what shared weights are compared with."""

import copy
from typing import Any, Protocol

from torch import Tensor, nn

from trainers.lattice import Lattice
from trainers.submodel import SubModel


class Extractable(Protocol):
    """A nested network, whatever it nests."""

    lattice: Lattice

    def extract(self, sub_model: SubModel) -> nn.Module: ...


class SeparateNetworks(nn.Module):
    """One network of its own per target: the Independent baseline, in the shape the loop expects.

    Sharing nothing, each network's gradients and updates are those of training it alone.
    """

    def __init__(self, networks: dict[SubModel, nn.Module], lattice: Lattice) -> None:
        super().__init__()
        self.lattice = lattice
        self.networks = nn.ModuleDict({target.module_name: network for target, network in networks.items()})
        self.activate(lattice.largest)

    @classmethod
    def cut_out(cls, nested: Extractable) -> "SeparateNetworks":
        """Every target of a nested network as a network of its own, with the weights that it has there."""
        return cls({target: nested.extract(target) for target in nested.lattice}, nested.lattice)

    def activate(self, sub_model: SubModel) -> None:
        if sub_model not in self.lattice:
            raise ValueError(f"there is no separate network for {sub_model.label}")
        self.active = sub_model

    def forward(self, *inputs: Tensor) -> Any:
        return self.networks[self.active.module_name](*inputs)

    def extract(self, sub_model: SubModel) -> nn.Module:
        """A copy of the network trained for `sub_model`."""
        return copy.deepcopy(self.networks[sub_model.module_name])
