"""A nested network: one set of weights, every sub-model of the lattice a prefix of it.

`nest` turns an ordinary network into one by exchanging its layers, so that the published architecture is written
once, in plain PyTorch, and `extract` is the same exchange backwards.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers.accelerated.cpreresnet import FusedNetwork, fuse
from trainers.config.methods import Affine
from trainers.lattice import Lattice
from trainers.nested.contract import check_prefixes
from trainers.nested.forms import nested_forms
from trainers.nested.layers.convolution import NestedConv2d, NestedLayer, NestedLinear, OptionalBlock
from trainers.nested.layers.norms import NestedBatchNorm, NormPolicy, norm_layer
from trainers.submodel import SubModel

if TYPE_CHECKING:
    from trainers.accelerated.additions import Additions


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
        modules = list(network.named_modules())
        self._layers: dict[str, NestedLayer] = {
            path: module for path, module in modules if isinstance(module, NestedLayer)
        }
        self._optional = {path: module for path, module in modules if isinstance(module, OptionalBlock)}
        self._fused = fuse(network)
        self.training = network.training
        self.activate(lattice.largest)

    def activate(self, sub_model: SubModel) -> None:
        for layer in self._layers.values():
            layer.activate(sub_model)
        for block in self._optional.values():
            block.activate(sub_model)
        self.active = sub_model

    def forward(self, *inputs: Tensor) -> Any:
        run = self._suited(*inputs) or self.network
        return run(*inputs)

    def _suited(self, *inputs: Tensor) -> FusedNetwork | None:
        suited = self._fused is not None and len(inputs) == 1 and self._fused.suits(inputs[0])
        return self._fused if suited else None

    def separable(self, *inputs: Tensor) -> bool:
        """Whether passes over `inputs` can be made `apart`."""
        return self._suited(*inputs) is not None

    def apart(self, lane: int) -> AbstractContextManager["Additions"]:
        """A pass inside leaves gradients and running moments as they are; see `FusedNetwork.apart`."""
        assert self._fused is not None
        return self._fused.apart(lane)

    def signature(self) -> tuple[int, ...]:
        """The outputs of every layer and the blocks kept by the active sub-model: equal signatures, equal networks."""
        outputs = (layer.outputs for layer in self._layers.values() if isinstance(layer, NestedConv2d | NestedLinear))
        return *outputs, *(block.kept for block in self._optional.values())

    def extract(self, sub_model: SubModel) -> nn.Module:
        """A stand-alone network of plain layers whose output equals the nested one's bit for bit.

        Where passes run fused (on CUDA, in bf16), up to bf16's rounding.
        """
        with active(self, sub_model):
            channels = self._incoming_channels()
            # deepcopy takes what the memo holds for a copy already made, so no nested layer is ever copied.
            memo: dict[int, Any] = {
                id(layer): layer.plain(channels[path]) for path, layer in self._layers.items() if path in channels
            }
            for block in self._optional.values():
                memo[id(block)] = copy.deepcopy(block.block, memo) if block.kept else nn.Identity()
        return copy.deepcopy(self.network, memo).train(self.training)

    def _incoming_channels(self) -> dict[str, int]:
        channels: dict[str, int] = {}
        handles = []
        for path, layer in self._layers.items():
            assert isinstance(layer, nn.Module)

            def remember(module: nn.Module, inputs: tuple[Tensor, ...], path: str = path) -> None:
                channels[path] = inputs[0].shape[-1 if isinstance(module, NestedLinear) else 1]

            handles.append(layer.register_forward_pre_hook(remember))
        was_training = self.training
        device = next(self.parameters()).device
        try:
            self.eval()
            with torch.no_grad():
                self.network(torch.zeros(1, *self.input_shape, device=device))
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

    def forward(self, *inputs: Tensor) -> Any:
        return self.networks[self.active.module_name](*inputs)

    def extract(self, sub_model: SubModel) -> nn.Module:
        """A copy of the network trained for `sub_model`."""
        return copy.deepcopy(self.networks[sub_model.module_name])


def nest(
    network: nn.Module,
    lattice: Lattice,
    norm: NormPolicy,
    input_shape: tuple[int, ...],
    heads: frozenset[str],
    optional: tuple[str, ...] = (),
    affine: Affine = "shared",
) -> NestedNetwork:
    """Makes a plain network nested in its width, and in its depth if it has optional blocks, keeping all that it knows.

    Every convolution and linear layer keeps its first `max(1, round(outputs · width))` outputs; its inputs follow
    the incoming tensor. Every BatchNorm is replaced by the norm policy's layer, and with it the ReLU if a Sequential
    holds just the two. A sub-model of depth d keeps the first d optional blocks.

    Weights, γ, β, eps, which parameters are learnt, and under the batch policies running statistics and their momentum
    are the plain network's, so the largest sub-model is the plain network bit for bit in fp32, in evaluation and in
    training. Switchable norms start from the prefixes of its own. Policies whose statistics are per image have no place
    for running ones. A sub-model is the whole network with everything outside of the prefixes zero; networks of which
    that would not hold, because they concatenate or reorder channels, are refused.

    Args:
        network: taken over and changed in place.
        lattice: the targets, with a `width`, and a `depth` if there are optional blocks.
        norm: the norm policy.
        input_shape: of one example, e.g. (3, 32, 32).
        heads: paths of the layers that keep all outputs at every width: the classifier.
        optional: paths of residual blocks whose output is as their input, in the order in which depth adds them.
        affine: of the norm layers.

    Raises:
        ValueError: a path that is not in the network; a layer that has no nested form, or that other channels reach
            than a sub-model's prefixes, with its path and the mend. The network is then as it was.
    """
    modules = {path for path, _ in network.named_modules(remove_duplicate=False)}
    if missing := sorted({*heads, *optional} - modules):
        raise ValueError(f"no layer named {', '.join(missing)} in {type(network).__name__}")
    check_prefixes(
        network, nested_forms(network, norm_layer(norm, lattice, affine), heads), lattice, input_shape, optional
    )
    return exchange(network, lattice, norm, input_shape, heads, optional, affine)


def exchange(
    network: nn.Module,
    lattice: Lattice,
    norm: NormPolicy,
    input_shape: tuple[int, ...],
    heads: frozenset[str],
    optional: tuple[str, ...],
    affine: Affine,
) -> NestedNetwork:
    """As `nest`, which has not refused the same architecture: whether sub-models are prefixes isn't asked again."""
    modules = dict(network.named_modules())
    for path, form in nested_forms(network, norm_layer(norm, lattice, affine), heads).items():
        network.set_submodule(path, form.train(modules[path].training))
    for rank, path in enumerate(optional, start=1):
        network.set_submodule(path, OptionalBlock(network.get_submodule(path), rank))
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
def recalibrated(
    network: nn.Module, forward: Callable[..., object], batches: Iterator[tuple[Tensor, ...]]
) -> Iterator[None]:
    """BatchNorm statistics recomputed for the active sub-model, and put back afterwards; of separate networks, too.

    The cumulative average over the batches, as US recalibrates after training (Yu & Huang 2019, section 3.2).
    """
    norms = [module for module in network.modules() if isinstance(module, NestedBatchNorm | nn.BatchNorm2d)]
    kept = [(norm.momentum, [(buffer, buffer.clone()) for buffer in norm.buffers()]) for norm in norms]
    was_training = network.training
    try:
        network.train()
        with torch.no_grad():
            for index, inputs in enumerate(batches):
                for norm in norms:
                    norm.momentum = 1.0 / (index + 1)
                forward(*inputs)
        network.train(was_training)
        yield
    finally:
        network.train(was_training)
        for norm, (momentum, buffers) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            for buffer, before in buffers:
                buffer.copy_(before)
