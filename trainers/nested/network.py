"""A nested network: one set of weights, every sub-model of the lattice a prefix of it."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from trainers.acceleration import Additions, NetworkKernels
from trainers.lattice import Lattice
from trainers.nested.ahead import Passes
from trainers.nested.beside import attributes_of, settle
from trainers.nested.depth import OptionalBlock
from trainers.nested.layers.batch_norm import NestedBatchNorm
from trainers.nested.layers.layer import ElasticLayer, NestedLayer, PlacedLayer
from trainers.nested.tracing.anatomy import Anatomy
from trainers.nested.tracing.places import PlacesFinder
from trainers.submodel import SubModel


class NestedNetwork(nn.Module):
    """A network whose layers read prefixes. Forward as in the plain network, at the active sub-model.

    Args:
        network: the exchanged network, as `nest` makes it.
        lattice: the target sub-models; the largest is active at first.
        input_shape: of one example, without the batch dimension; used to trace how wide each layer's input is.
        kernels: run in place of the layers wherever they suit.
        places: finds which channels reach the layers of a sub-model; None: always the first ones.
        anatomy: what was found out about the plain network; unless given, nothing out of the ordinary.
    """

    def __init__(
        self,
        network: nn.Module,
        lattice: Lattice,
        input_shape: tuple[int, ...],
        kernels: NetworkKernels | None = None,
        places: PlacesFinder | None = None,
        anatomy: Anatomy | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.lattice = lattice
        self.input_shape = input_shape
        modules = list(network.named_modules())
        self._layers: dict[str, NestedLayer] = {
            path: module for path, module in modules if isinstance(module, NestedLayer)
        }
        # Optional blocks lie one deeper here than in the plain network, whose paths places have.
        deeper = {f"{path}.block": path for path, module in modules if isinstance(module, OptionalBlock)}
        self._placed = {
            _renamed(path, deeper): layer for path, layer in self._layers.items() if isinstance(layer, PlacedLayer)
        }
        self._elastic = [layer for layer in self._layers.values() if isinstance(layer, ElasticLayer)]
        self._attributes = list(attributes_of(network))
        self._optional = [module for _, module in modules if isinstance(module, OptionalBlock)]
        self._kernels, self._places = kernels, places
        self.anatomy = anatomy or Anatomy()
        self.training = network.training
        self._passes = Passes()
        self.activate(lattice.largest)

    def activate(self, sub_model: SubModel) -> None:
        for layer in self._layers.values():
            layer.activate(sub_model)
        for block in self._optional:
            block.activate(sub_model)
        for attribute in self._attributes:
            attribute.activate(sub_model)
        if self._places is not None:
            found = self._places.of(sub_model, next(self.parameters()).device)
            for path, layer in self._placed.items():
                layer.places = found.get(path)
        self.active = sub_model

    def forward(self, *inputs: Tensor) -> Any:
        if (kernels := self._suited(*inputs)) is not None:
            return kernels(*inputs)
        with self._passes.of((self.active, self.training)):
            return self.network(*inputs)

    def unchanged(self) -> AbstractContextManager[None]:
        """As the function of this name."""
        return self._passes.unchanged()

    def _suited(self, *inputs: Tensor) -> NetworkKernels | None:
        suited = self._kernels is not None and len(inputs) == 1 and self._kernels.suits(inputs[0])
        return self._kernels if suited else None

    def separable(self, *inputs: Tensor) -> bool:
        """Whether passes over `inputs` can be made `apart`."""
        return self._suited(*inputs) is not None

    def apart(self, lane: int) -> AbstractContextManager[Additions]:
        """A pass inside leaves gradients and running moments as they are; see `NetworkKernels.apart`."""
        assert self._kernels is not None
        return self._kernels.apart(lane)

    def signature(self) -> tuple[int, ...]:
        """The outputs of every layer and the blocks kept by the active sub-model: equal signatures, equal networks."""
        return *(layer.outputs for layer in self._elastic), *(block.runs for block in self._optional)

    def extract(self, sub_model: SubModel) -> nn.Module:
        """A stand-alone network of plain layers whose output equals the nested one's bit for bit.

        Where passes run fused (on CUDA, in bf16), up to bf16's rounding. Parameters that are tied here are tied there,
        unless the sub-model has parts of other shapes of them.
        """
        with active(self, sub_model):
            channels = self._incoming_channels()
            # deepcopy takes what the memo holds for a copy already made, so no nested layer is ever copied.
            memo: dict[int, Any] = {
                id(layer): layer.plain(channels[path]) for path, layer in self._layers.items() if path in channels
            }
            for block in self._optional:
                memo[id(block)] = copy.deepcopy(block.block, memo) if block.runs else nn.Identity()
            alone: nn.Module = copy.deepcopy(self.network, memo).train(self.training)
            settle(alone)
        self._tie(memo)
        return alone

    def _tie(self, plain: Mapping[int, Any]) -> None:
        """Makes parameters of plain layers one that are one in the layers, by whose ids they are given."""
        firsts: dict[tuple[int, torch.Size], nn.Parameter] = {}
        for layer in self._layers.values():
            assert isinstance(layer, nn.Module)
            if id(layer) not in plain:
                continue
            for name, parameter in layer.named_parameters(remove_duplicate=False):
                owner, _, local = name.rpartition(".")
                try:
                    module = plain[id(layer)].get_submodule(owner)
                    own = getattr(module, local)
                except AttributeError:  # called otherwise there: not tied, or `nest` would have refused it
                    continue
                if isinstance(own, nn.Parameter):
                    setattr(module, local, firsts.setdefault((id(parameter), own.shape), own))

    def _incoming_channels(self) -> dict[str, int]:
        channels: dict[str, int] = {}
        handles = []
        for path, layer in self._layers.items():
            assert isinstance(layer, nn.Module)

            def remember(_: nn.Module, inputs: tuple[Tensor, ...], path: str = path, axis: int = layer.axis) -> None:
                channels[path] = inputs[0].shape[axis]

            handles.append(layer.register_forward_pre_hook(remember))
        was_training = self.training
        like = next(self.parameters())
        try:
            self.eval()
            with torch.no_grad():
                self.network(torch.zeros(1, *self.input_shape, device=like.device, dtype=like.dtype))
        finally:
            self.train(was_training)
            for handle in handles:
                handle.remove()
        return channels


def _renamed(path: str, starts: Mapping[str, str]) -> str:
    """A path whose beginning, if it is among these, is exchanged for another."""
    return next((f"{to}{path[len(start) :]}" for start, to in starts.items() if path.startswith(f"{start}.")), path)


@contextmanager
def active(network: NestedNetwork, sub_model: SubModel) -> Iterator[None]:
    """Switches to a sub-model for a while, and back."""
    before = network.active
    network.activate(sub_model)
    try:
        yield
    finally:
        network.activate(before)


def unchanged(network: nn.Module) -> AbstractContextManager[None]:
    """No parameter or buffer of it is changed inside, as in an evaluation: its passes need not read them anew.

    Passes without gradients, one after another of one sub-model, whose weights lie in memory with gaps: they are copied
    for the first of them and not for every one. Of separate networks nothing is copied.
    """
    return network.unchanged() if isinstance(network, NestedNetwork) else nullcontext()


@contextmanager
def recalibrated(
    network: nn.Module, forward: Callable[..., object], batches: Iterator[tuple[Tensor, ...]]
) -> Iterator[None]:
    """BatchNorm statistics recomputed for the active sub-model, and put back afterwards; of separate networks, too.

    The cumulative average over the batches, as US recalibrates after training (Yu & Huang 2019, section 3.2).
    """
    norms = [module for module in network.modules() if isinstance(module, NestedBatchNorm | nn.BatchNorm2d)]
    saved = [(norm.momentum, [(buffer, buffer.clone()) for buffer in norm.buffers()]) for norm in norms]
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
        for norm, (momentum, buffers) in zip(norms, saved, strict=True):
            norm.momentum = momentum
            for buffer, before in buffers:
                buffer.copy_(before)
