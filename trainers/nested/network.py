"""A nested network: one set of weights, every sub-model of the lattice a prefix of it.

`nest` turns an ordinary network into one by exchanging its layers, so that the published architecture is written
once, in plain PyTorch, and `extract` is the same exchange backwards.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from trainers.lattice import Lattice
from trainers.nested.layers import NestedConv2d, NestedLayer, NestedLinear
from trainers.nested.norms import NestedBatchNorm, NormPolicy, norm_layer
from trainers.submodel import SubModel


class ManyInOne(Protocol):
    """What the training loop needs of a network: switch the sub-model, run it, take one out."""

    lattice: Lattice

    def activate(self, sub_model: SubModel) -> None:
        """Makes every forward from now on that of `sub_model`."""

    def extract(self, sub_model: SubModel) -> nn.Module:
        """The sub-model as a plain network of its own."""


class NestedNetwork(nn.Module):
    """A network whose layers read prefixes. Forward as in the plain network, at the active sub-model.

    Args:
        network: the exchanged network, as `nest` makes it.
        lattice: the target sub-models; the largest is active at first.
        input_shape: of one example, without the batch dimension; used to trace how wide each layer's input is.
    """

    def __init__(self, network: nn.Module, lattice: Lattice, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.lattice = lattice
        self.input_shape = input_shape
        self.activate(lattice.largest)

    def layers(self) -> Iterator[tuple[str, NestedLayer]]:
        """Its nested layers with their paths in `network`."""
        for path, module in self.network.named_modules():
            if isinstance(module, NestedLayer):
                yield path, module

    def activate(self, sub_model: SubModel) -> None:
        for _, layer in self.layers():
            layer.activate(sub_model)
        self.active = sub_model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)
        return out

    def signature(self) -> tuple[int, ...]:
        """The output channels of every layer at the active sub-model: equal signatures are equal networks."""
        return tuple(layer.outputs for _, layer in self.layers() if isinstance(layer, NestedConv2d | NestedLinear))

    def extract(self, sub_model: SubModel) -> nn.Module:
        """A stand-alone network of plain layers whose output equals the nested one's bit for bit."""
        with active(self, sub_model):
            channels = self._incoming_channels()
            plain = {path: layer.plain(channels[path]) for path, layer in self.layers()}
        standalone = copy.deepcopy(self.network)
        for path, module in plain.items():
            standalone.set_submodule(path, module)
        return standalone.train(self.training)

    def _incoming_channels(self) -> dict[str, int]:
        channels: dict[str, int] = {}
        handles = []
        for path, layer in self.layers():
            assert isinstance(layer, nn.Module)

            def remember(module: nn.Module, inputs: tuple[Tensor, ...], path: str = path) -> None:
                channels[path] = inputs[0].shape[-1 if isinstance(module, NestedLinear) else 1]

            handles.append(layer.register_forward_pre_hook(remember))
        was_training = self.training
        device = next(self.parameters()).device
        try:
            self.eval()
            with torch.no_grad():
                self(torch.zeros(1, *self.input_shape, device=device))
        finally:
            self.train(was_training)
            for handle in handles:
                handle.remove()
        return channels


class SeparateNetworks(nn.Module):
    """One network of its own per target: the Independent baseline, in the shape the loop expects.

    Sharing nothing, each network's gradients and updates are those of training it alone.
    """

    def __init__(self, networks: dict[SubModel, nn.Module], lattice: Lattice) -> None:
        super().__init__()
        self.lattice = lattice
        self.networks = nn.ModuleDict({target.module_name: network for target, network in networks.items()})
        self.activate(lattice.largest)

    def activate(self, sub_model: SubModel) -> None:
        if sub_model not in self.lattice:
            raise ValueError(f"there is no separate network for {sub_model.label}")
        self.active = sub_model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.networks[self.active.module_name](x)
        return out

    def extract(self, sub_model: SubModel) -> nn.Module:
        """A copy of the network trained for `sub_model`."""
        return copy.deepcopy(self.networks[sub_model.module_name])


def nest(
    network: nn.Module,
    lattice: Lattice,
    norm: NormPolicy,
    input_shape: tuple[int, ...],
    heads: frozenset[str] = frozenset({"classifier"}),
) -> NestedNetwork:
    """Makes a plain network nested in its width, keeping its weights.

    Every convolution and linear layer keeps its first `max(1, round(outputs · width))` outputs; its inputs follow
    the incoming tensor. Every BatchNorm is replaced by the norm policy's layer.

    Args:
        network: taken over and changed in place.
        lattice: the targets, with a `width`.
        norm: the norm policy.
        input_shape: of one example, e.g. (3, 32, 32).
        heads: paths of the layers that keep all outputs at every width.

    Raises:
        ValueError: a head that is not in the network, or a layer that has no prefix, with its path.
    """
    make_norm = norm_layer(norm, lattice)
    modules = dict(network.named_modules())
    if missing := heads - modules.keys():
        raise ValueError(f"no layer named {', '.join(sorted(missing))} in {type(network).__name__}")
    for path, module in modules.items():
        try:
            if isinstance(module, nn.Conv2d):
                network.set_submodule(path, NestedConv2d(module, elastic=path not in heads))
            elif isinstance(module, nn.Linear):
                network.set_submodule(path, NestedLinear(module, elastic=path not in heads))
            elif isinstance(module, nn.BatchNorm2d):
                network.set_submodule(path, make_norm(module.num_features))
            elif not list(module.children()) and list(module.parameters()):
                raise ValueError(f"{type(module).__name__} has parameters but no nested form")
        except ValueError as error:
            raise ValueError(f"cannot nest layer {path!r} of {type(network).__name__}: {error}") from error
    return NestedNetwork(network, lattice, input_shape)


@contextmanager
def active(network: NestedNetwork, sub_model: SubModel) -> Iterator[None]:
    """Switches to a sub-model for a while, and back."""
    before = network.active
    network.activate(sub_model)
    try:
        yield
    finally:
        network.activate(before)


@contextmanager
def recalibrated(network: nn.Module, forward: Callable[[Tensor], Tensor], batches: Iterator[Tensor]) -> Iterator[None]:
    """BatchNorm statistics recomputed for the active sub-model, and put back afterwards.

    The cumulative average over the batches, as US recalibrates after training (Yu & Huang 2019, section 3.2).
    """
    norms = [module for module in network.modules() if isinstance(module, NestedBatchNorm)]
    kept = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    was_training = network.training
    try:
        network.train()
        with torch.no_grad():
            for index, inputs in enumerate(batches):
                for norm in norms:
                    norm.momentum = 1.0 / (index + 1)
                forward(inputs)
        network.train(was_training)
        yield
    finally:
        network.train(was_training)
        for norm, (mean, var) in zip(norms, kept, strict=True):
            norm.momentum = norm.default_momentum
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
