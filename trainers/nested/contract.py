"""The contract of nesting: a sub-model is the whole network with everything outside of its prefixes zero.

Layers keep it by reading prefixes. What lies between them may break it: behind a concatenation or a channel shuffle
the first channels are no longer the first channels of the layers before it, and a sub-model that reads them is another
network, whose weights were made for something else. Such operations have no end, so none is listed here. Instead the
network is run with stand-ins for its layers, whose outputs are noise, once with as many channels as a sub-model has
and once with all of them, zero outside of the prefixes. Each layer must meet the same both times. And nothing may be
drawn from the generators of the process: a resumed trial has lost them.
"""

import copy
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from trainers.lattice import Lattice
from trainers.nested.forms import place
from trainers.nested.layers.convolution import NestedConv2d, NestedLinear, kept, reached

_EXAMPLES = 2  # what differs between them came from a layer; what does not is a constant, like sigmoid(0)
_CLOSE = 1e-4  # of the largest number: operations round differently on another number of channels

Outputs = Callable[[int], int]  # all outputs of a layer → how many of them a sub-model keeps


def check_prefixes(
    network: nn.Module,
    forms: Mapping[str, nn.Module],
    lattice: Lattice,
    input_shape: tuple[int, ...],
    optional: tuple[str, ...],
) -> None:
    """Refuses a network whose sub-models would not be prefixes of it. It is neither changed nor are its layers run.

    It is tried at full depth in evaluation mode with prime numbers of channels, near half of each layer's, which
    nothing can split evenly; and at the smallest target in training mode.

    Args:
        network: plain, before the exchange.
        forms: by path, the nested layers that are to be exchanged for its own.
        lattice: the targets.
        input_shape: of one example.
        optional: paths of the blocks that depth leaves out, in the order in which it adds them.

    Raises:
        ValueError: the path of the first layer that does not meet what it must, and why.
    """
    walk = _Walk(network, forms, input_shape)
    walk.check(_prime)
    if optional:
        walk.leave_out(optional[int(lattice.smallest["depth"]) :])
    walk.network.train()
    walk.check(lambda full: kept(full, lattice.smallest["width"]))


def _prime(full: int) -> int:
    """The largest prime number up to half of `full`; 1 where there is none."""
    return next((n for n in range(full // 2, 1, -1) if all(n % d for d in range(2, math.isqrt(n) + 1))), 1)


def _all(full: int) -> int:
    return full


class _Refused(ValueError):
    """Raised by a layer that does not meet what it must, out of a forward that we know nothing of."""


@dataclass(frozen=True)
class _Call:
    """What a layer met in a sub-model, and what it gave."""

    layer: "_StandIn"
    x: Tensor
    y: Tensor


class _StandIn(nn.Module):
    """In place of a layer: hands over what it meets, gives what it is told to.

    Args:
        path: of the layer.
        form: the nested layer, whose attributes it has.
        inputs: channels or features that it reads at full width.
        meet: (stand-in, input) → output.
    """

    def __init__(self, path: str, form: nn.Module, inputs: int, meet: Callable[["_StandIn", Tensor], Tensor]) -> None:
        super().__init__()
        self.path, self.form, self.inputs, self.meet = path, form, inputs, meet
        self.dimension = -1 if isinstance(form, NestedLinear) else 1

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("form"), name)

    def forward(self, x: Tensor) -> Tensor:
        return self.meet(self, x)

    def shape(self, x: Tensor, keep: Outputs) -> list[int]:
        """Of the output for `x`."""
        form, size = self.form, list(x.shape)
        if isinstance(form, NestedLinear) or (isinstance(form, NestedConv2d) and not form.depthwise):
            full = len(form.weight)
            size[self.dimension] = keep(full) if form.elastic else full
        if isinstance(form, NestedConv2d):
            size[2:] = map(reached, size[2:], form.kernel_size, form.stride, form.padding, form.dilation)
        return size


class _Walk:
    """Goes through a copy of a network from layer to layer, as a sub-model and then whole."""

    def __init__(self, network: nn.Module, forms: Mapping[str, nn.Module], input_shape: tuple[int, ...]) -> None:
        self._name, self._input_shape = type(network).__name__, input_shape
        self._device = _device(network)
        self._noise = torch.Generator().manual_seed(0)
        self._inside: list[str] = []  # paths of the modules that are running
        self._before = _generators()  # as a run starts
        self._keep: Outputs = _all
        self._calls: list[_Call] = []  # of the layers in the sub-model, in the order in which they ran
        self._place: int | None = None  # in the calls, when the whole network goes through them again
        stand_ins: dict[int, Any] = {}  # deepcopy takes what the memo holds for a copy already made
        for path, form in forms.items():
            layer = network.get_submodule(path)
            stand_ins[id(layer)] = _StandIn(path, form, _inputs(layer), self._meet)
        self.network = copy.deepcopy(network, stand_ins).eval()
        for path, module in self.network.named_modules():
            module.register_forward_pre_hook(lambda *_, path=path: self._enter(path))
            module.register_forward_hook(lambda *_: self._leave())

    def leave_out(self, blocks: tuple[str, ...]) -> None:
        """Passes by these blocks from now on."""
        for path in blocks:
            self.network.set_submodule(path, nn.Identity())

    def check(self, keep: Outputs) -> None:
        """Compares the sub-model that keeps so many outputs of each layer with the whole network."""
        self._keep, self._calls, self._place = keep, [], None
        images = self._random(_EXAMPLES, *self._input_shape)
        sliced = self._run(images)
        self._place = 0
        whole = self._run(images)
        if self._place != len(self._calls):
            raise self._refusal(self._calls[self._place].layer.path, _CONDITIONAL)
        for one, other in zip(sliced, whole, strict=True):
            if not _same(one, other, 1):
                raise self._refusal("", f"what it gives {_broken(one.shape[1], other.shape[1])}")

    def _run(self, images: Tensor) -> list[Tensor]:
        """The outputs: one, or those of a mapping or tuple."""
        self._inside.clear()
        devices = [self._device] if self._device.type == "cuda" else []
        try:
            with torch.no_grad(), torch.random.fork_rng(devices):
                self._before = _generators()
                out = self.network(images.clone())
        except _Refused:
            raise
        except Exception as error:  # of any kind: it is a stranger's forward
            where, said = self._inside[-1], f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            raise self._refusal(where, f"{self._failing(images)} ({said})") from error
        outputs = tree_leaves(out)
        for each in outputs:
            if not isinstance(each, Tensor) or each.ndim < 2:
                kind = f"tensor of {each.ndim} dimensions" if isinstance(each, Tensor) else type(each).__name__
                raise self._refusal("", f"its output is a {kind}: make it a tensor, examples first, then channels")
        return outputs

    def _failing(self, images: Tensor) -> str:
        """How a run fails: with fewer channels, unless with all of them, too."""
        if self._place is None and self._keep is not _all:
            self._keep, self._calls = _all, []
            self._run(images)
            return "it does not run with fewer channels"
        return f"it does not run on an input of shape {self._input_shape}"

    def _meet(self, layer: _StandIn, x: Tensor) -> Tensor:
        if x.ndim != 4 and not isinstance(layer.form, NestedLinear):
            raise self._refusal(layer.path, f"it meets a tensor of {x.ndim} dimensions rather than (N, C, H, W)")
        channels, whole = x.shape[layer.dimension], self._place is not None or self._keep is _all
        if not whole and not 0 < channels <= layer.inputs:
            raise RuntimeError(f"{channels} channels reach a layer that reads up to {layer.inputs}")
        if channels != layer.inputs and whole:
            shape = f"from an input of shape {self._input_shape}"
            raise self._refusal(layer.path, f"it reads {layer.inputs} channels, but {channels} reach it {shape}")
        return self._in_sub_model(layer, x) if self._place is None else self._in_whole(layer, x)

    def _in_sub_model(self, layer: _StandIn, x: Tensor) -> Tensor:
        """Noise: of each channel, of each place, and of both."""
        shape = layer.shape(x, self._keep)
        channels, places = [1] * len(shape), list(shape)
        channels[0], channels[layer.dimension], places[layer.dimension] = len(x), shape[layer.dimension], 1
        y = torch.addcmul(self._random(*channels), self._random(*channels), self._random(*places))
        self._calls.append(_Call(layer, x.clone(), y.clone()))  # what follows may change them in place
        return y

    def _in_whole(self, layer: _StandIn, x: Tensor) -> Tensor:
        """What the layer gave in the sub-model, and zeros."""
        assert self._place is not None
        if self._place == len(self._calls) or self._calls[self._place].layer is not layer:
            raise self._refusal(layer.path, _CONDITIONAL)
        call, dimension = self._calls[self._place], layer.dimension
        self._place += 1
        if not _same(call.x, x, dimension):
            broken = _broken(call.x.shape[dimension], layer.inputs)
            raise self._refusal(layer.path, f"what reaches it {broken}")
        y = torch.zeros(layer.shape(x, _all), device=self._device)
        y.narrow(dimension, 0, call.y.shape[dimension]).copy_(call.y)
        return y

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._noise).to(self._device)

    def _enter(self, path: str) -> None:
        if self._inside:
            self._check_generators()
        self._inside.append(path)

    def _leave(self) -> None:
        self._check_generators()
        self._inside.pop()

    def _check_generators(self) -> None:
        if _generators() != self._before:
            raise self._refusal(
                self._inside[-1],
                "it draws random numbers from a generator that a resumed trial would have lost: build it without "
                "dropout and stochastic depth (p=0)",
            )

    def _refusal(self, path: str, reason: str) -> _Refused:
        return _Refused(f"cannot nest {place(self._name, path)}: {reason}")


def _generators() -> tuple[bytes, object, str]:
    """The states of torch's, Python's and NumPy's global ones."""
    numpys = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  # whoever draws from it shall be found out
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), f"{numpys['pos']} {numpys['key'].tobytes()!r}"


_CONDITIONAL = "whether it runs depends on how many channels there are: let every layer run at every width"


def _device(network: nn.Module) -> torch.device:
    """Of the network's parameters; the CPU if they are not there yet, since noise must be somewhere."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return torch.device("cpu") if device.type == "meta" else device


def _inputs(layer: nn.Module) -> int:
    """Channels or features that a plain layer reads."""
    if isinstance(layer, nn.Sequential):
        layer = layer[0]
    if isinstance(layer, nn.BatchNorm2d):
        return layer.num_features
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


def _same(sliced: Tensor, whole: Tensor, dimension: int) -> bool:
    """Whether a tensor is the prefix of another one, outside of which there is nothing but constants."""
    channels, all_channels = sliced.shape[dimension], whole.shape[dimension]
    shape = list(whole.shape)
    shape[dimension] = channels
    if list(sliced.shape) != shape:
        return False
    inside = whole.narrow(dimension, 0, channels)
    outside = whole.narrow(dimension, channels, all_channels - channels)
    pairs = (sliced, inside), (outside[:1].expand_as(outside), outside)
    if all(torch.equal(one, other) for one, other in pairs):  # many times as fast as what follows
        return True
    tolerance = _CLOSE * float(whole.nan_to_num().abs().max())
    return all(torch.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True) for one, other in pairs)


def _broken(channels: int, whole: int) -> str:
    return (
        f"in a sub-model isn't the first {channels} of {whole} channels: they are concatenated, reordered or mixed "
        "before, outside of layers, and such networks aren't supported yet"
    )
