"""Goes through a network from layer to layer, with stand-ins for its layers that give whatever a visit says.

What lies between layers is the network's own forward, of which nothing is known and nothing assumed: it is run.
"""

import copy
import random
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from trainers.nested.beside import Reach, read_by
from trainers.nested.layers.attention import NestedSelfAttention
from trainers.nested.layers.layer import NestedLayer, Shape
from trainers.nested.table import beside, place

_EXAMPLES = 2  # what differs between them came from a layer; what does not is a constant, like sigmoid(0)

Prefix: TypeAlias = Callable[[str, int], int]
"""(dimension, all outputs of a layer) → how many of them a sub-model keeps."""


def everything(dimension: str, full: int) -> int:
    """The prefix of the whole network."""
    return full


class Refused(ValueError):
    """Raised by a layer that does not meet what it must, out of a forward that we know nothing of."""


class StandIn(nn.Module):
    """In place of a layer: hands over what it meets, gives what it is told to.

    Args:
        path: of the layer.
        form: the nested layer, whose attributes it has.
        meet: (stand-in, input) → output.
    """

    def __init__(self, path: str, form: nn.Module, meet: Callable[["StandIn", Tensor], Tensor]) -> None:
        super().__init__()
        assert isinstance(form, NestedLayer)
        self.path, self.meet = path, meet
        self.__dict__["form"] = form  # no part of the network, whose mode and hooks are none of a layer's
        self.inputs, self.axis = form.inputs, form.axis

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["form"], name)

    @property
    def nested(self) -> NestedLayer:
        """The layer that it stands for."""
        form: NestedLayer = self.__dict__["form"]  # asking of what protocol takes longer than the rest of a run
        return form

    def forward(self, x: Tensor, *same: Tensor, **options: Any) -> Any:
        form, out = self.nested, self.meet(self, x)
        if not isinstance(form, NestedSelfAttention):
            return out
        form.check_call(x, *same, **options)
        return form.answer(out)

    def shape(self, x: Tensor, prefix: Prefix) -> list[int]:
        """Of the output for `x`."""
        return self._shape(tuple(x.shape), prefix)

    def _shape(self, shape: Shape, prefix: Prefix) -> list[int]:
        dimension = self.nested.dimension
        kept = everything if dimension is None else prefix
        return list(self.nested.output_shape(shape, lambda full: kept(dimension or "", full)))

    def follows(self, x: Tensor) -> bool:
        """Whether its outputs are its inputs' channels: a norm's, a convolution's in groups, self-attention's."""
        return self.nested.dimension is None and self.shape(x, everything)[self.axis] == x.shape[self.axis]

    def kept(self, x: Tensor, prefix: Prefix, places: Tensor) -> Tensor:
        """Which channels of its whole output for `x` a sub-model has, of which these arrive: these, or the first."""
        arriving = list(x.shape)
        arriving[self.axis] = len(places)
        kept = self._shape(tuple(arriving), prefix)[self.axis]
        if self.nested.dimension is None and kept < self.shape(x, everything)[self.axis]:
            return places
        return torch.arange(kept, device=places.device)


class Visit:
    """What is asked of a network in one run.

    Attributes:
        whole: whether all channels are there.
        watched: whether it is seen to that nothing draws from the generators of the process.
    """

    whole = watched = True

    def __init__(self, walk: "Walk") -> None:
        self.walk = walk

    def meet(self, layer: StandIn, x: Tensor) -> Tensor:
        """What a layer gives for what it meets."""
        raise NotImplementedError

    def beside(self, name: str, whole: Any) -> Any:
        """What is read of an attribute beside layers, of which so much is there."""
        return whole


class Walk:
    """A copy of a network with stand-ins for its layers, which visits go through.

    Args:
        network: plain, before the exchange. It is neither changed nor are its layers run.
        forms: by path, the nested layers that are to be exchanged for its own.
        input_shape: of one example.
        reaches: by full name, how far along channels parameters, buffers and numbers beside layers go.
    """

    def __init__(
        self,
        network: nn.Module,
        forms: Mapping[str, nn.Module],
        input_shape: tuple[int, ...],
        reaches: Mapping[str, Reach] | None = None,
    ) -> None:
        self.kind = type(network).__name__
        self.forms, self.input_shape, self.device = dict(forms), input_shape, _device(network)
        self._noise = torch.Generator().manual_seed(0)
        self._inside: list[str] = []  # paths of the modules that are running
        self._before = _generators()  # as a run starts
        self._visit = Visit(self)
        stand_ins: dict[int, Any] = {}  # deepcopy takes what the memo holds for a copy already made
        for path, form in forms.items():
            stand_ins[id(network.get_submodule(path))] = StandIn(path, form, self._meet)
        self.network = copy.deepcopy(network, stand_ins).eval()
        self.reaches = dict(reaches or {})
        self.lying_beside = beside(network, forms)
        for name in {*self.lying_beside, *self.reaches}:
            self.read_beside(name)
        for path, module in self.network.named_modules():
            module.register_forward_pre_hook(lambda *_, path=path: self._enter(path))
            module.register_forward_hook(lambda *_: self._leave())

    def leave_out(self, blocks: tuple[str, ...]) -> None:
        """Passes by these blocks from now on."""
        for path in blocks:
            self.network.set_submodule(path, nn.Identity())

    def read_beside(self, name: str) -> None:
        """Has noise read in place of a tensor beside layers, and of it or a number what a visit says."""
        path, _, local = name.rpartition(".")
        module = self.network.get_submodule(path)
        if (parameter := module._parameters.get(local)) is not None:
            module._parameters[local] = nn.Parameter(self.random(*parameter.shape))
        elif (buffer := module._buffers.get(local)) is not None:
            module._buffers[local] = self.random(*buffer.shape)
        read_by(module, local, lambda whole: self._visit.beside(name, whole))

    def run(self, visit: Visit, images: Tensor) -> list[Tensor]:
        """The outputs: one, or those of a mapping or tuple.

        Raises:
            Refused: it does not run, or its outputs are none.
        """
        try:
            out = self.attempt(visit, images)
        except Refused:
            raise
        except Exception as error:  # of any kind: it is a stranger's forward
            where, said = self.where, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            raise self.refusal(where, f"{self._failing(visit, images)} ({said})") from error
        outputs = tree_leaves(out)
        for each in outputs:
            if not isinstance(each, Tensor) or each.ndim < 2:
                kind = f"tensor of {each.ndim} dimensions" if isinstance(each, Tensor) else type(each).__name__
                raise self.refusal("", f"its output is a {kind}: make it a tensor, examples first, then channels")
        return outputs

    def attempt(self, visit: Visit, images: Tensor) -> Any:
        """What the network gives, whatever that is."""
        self._inside.clear()
        self._visit = visit
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices):
            if visit.watched:
                self._before = _generators()
            return self.network(images.clone())

    @property
    def where(self) -> str:
        """The path of the module that is running, or in which the last run stopped."""
        return self._inside[-1]

    def _failing(self, visit: Visit, images: Tensor) -> str:
        """How a run fails: with fewer channels, unless with all of them, too."""
        if not visit.whole:
            self.run(Noise(self), images)
            return "it does not run with fewer channels"
        return f"it does not run on an input of shape {self.input_shape}"

    def _meet(self, layer: StandIn, x: Tensor) -> Tensor:
        try:
            layer.shape(x, everything)
        except ValueError as error:
            raise self.refusal(layer.path, str(error)) from error
        channels = x.shape[layer.axis]
        if not self._visit.whole and not 0 < channels <= layer.inputs:
            raise RuntimeError(f"{channels} channels reach a layer that reads up to {layer.inputs}")
        if channels != layer.inputs and self._visit.whole:
            shape = f"from an input of shape {self.input_shape}"
            raise self.refusal(layer.path, f"it reads {layer.inputs} channels, but {channels} reach it {shape}")
        return self._visit.meet(layer, x)

    def masked(self, name: str, whole: Any, prefix: Prefix, value: float) -> Any:
        """A tensor beside layers, beyond a sub-model's channels filled with a value; what has none as it is."""
        reach = self.reaches.get(name)
        if reach is None or reach.axis is None:
            return whole
        kept, part = reach.kept(prefix), whole.detach().clone()
        part.narrow(reach.axis, kept, reach.full - kept).fill_(value)
        return part

    def images(self, examples: int = _EXAMPLES) -> Tensor:
        """Noise to run on."""
        return self.random(examples, *self.input_shape)

    def noisy(self, layer: StandIn, examples: int, shape: list[int], outputs: int) -> Tensor:
        """Noise of each channel, of each place, and of both: a layer's output of so many channels."""
        channels, places = [1] * len(shape), list(shape)
        channels[0], channels[layer.axis], places[layer.axis] = examples, outputs, 1
        return torch.addcmul(self.random(*channels), self.random(*channels), self.random(*places))

    def random(self, *shape: int) -> Tensor:
        """Noise on the network's device, from a generator of its own."""
        return torch.randn(shape, generator=self._noise).to(self.device)

    def _enter(self, path: str) -> None:
        if self._inside:
            self._check_generators()
        self._inside.append(path)

    def _leave(self) -> None:
        self._check_generators()
        self._inside.pop()

    def _check_generators(self) -> None:
        if self._visit.watched and _generators() != self._before:
            raise self.refusal(
                self.where,
                "it draws random numbers from a generator that a resumed trial would have lost: build it without "
                "dropout and stochastic depth (p=0)",
            )

    def refusal(self, path: str, reason: str) -> Refused:
        """Says of a layer, or of the network where the path is empty, why it can't be nested."""
        return Refused(f"cannot nest {place(self.kind, path)}: {reason}")


class Noise(Visit):
    """The whole network, each layer of which gives noise."""

    def meet(self, layer: StandIn, x: Tensor) -> Tensor:
        shape = layer.shape(x, everything)
        return self.walk.noisy(layer, len(x), shape, shape[layer.axis])


def _generators() -> tuple[bytes, object, int, bytes]:
    """The states of torch's, Python's and NumPy's global ones."""
    numpys = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  # whoever draws from it shall be found out
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), numpys["pos"], numpys["key"].tobytes()


def _device(network: nn.Module) -> torch.device:
    """Of the network's parameters; the CPU if they are not there yet, since noise must be somewhere."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return torch.device("cpu") if device.type == "meta" else device
