"""The contract of nesting: a sub-model is the whole network with everything outside of its prefixes zero.

Layers keep it by giving prefixes. What lies between them may break it: behind a concatenation the channels of a
sub-model are the first ones of every branch and not the first of all, behind a split they may be none, and a sub-model
that takes them for others is another network, whose weights were made for something else. Such operations have no end,
so none is listed here. Instead the network is run with stand-ins for its layers, whose outputs are noise:

- with all channels, NaN outside of the prefixes: those that reach a layer as numbers are its places in the sub-model;
- with as many channels as the sub-model has;
- with all channels again, zero outside of the prefixes. At its places each layer must meet what it met in the
  sub-model, and elsewhere nothing but constants.

And nothing may be drawn from the generators of the process: a resumed trial has lost them.
"""

import copy
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from trainers.lattice import Lattice
from trainers.nested.beside import Reach, read_by
from trainers.nested.depth import DEPTH
from trainers.nested.layers.attention import NestedSelfAttention
from trainers.nested.layers.convolution import NestedConv2d
from trainers.nested.layers.layer import ElasticLayer, NestedLayer, PlacedLayer, Shape, SteppedLayer
from trainers.nested.prefix import prefix_length, whole_multiple
from trainers.nested.table import WIDTH, beside, place

_EXAMPLES = 2  # what differs between them came from a layer; what does not is a constant, like sigmoid(0)
_CLOSE = 1e-4  # of the largest number: operations round differently on another number of channels

Prefix = Callable[[str, int], int]  # (dimension, all outputs of a layer) → how many of them a sub-model keeps


@dataclass(frozen=True)
class Anatomy:
    """What is found out about a network by trying it, since its layers do not say.

    Attributes:
        prefixes: whether the channels of sub-models are the first ones everywhere, as far as was tried.
        multiples: by path, of layers whose outputs are taken in groups or heads: channels of a group, or of a head.
        reaches: by full name, how far along channels parameters, buffers and numbers beside layers go.
    """

    prefixes: bool = True
    multiples: Mapping[str, int] = field(default_factory=dict)
    reaches: Mapping[str, Reach] = field(default_factory=dict)


def set_multiples(forms: Mapping[str, nn.Module], multiples: Mapping[str, int]) -> None:
    """Has layers keep whole multiples of channels."""
    for path, multiple in multiples.items():
        form = forms[path]
        assert isinstance(form, SteppedLayer)
        form.multiple = multiple


def check_sub_models(
    network: nn.Module,
    forms: Mapping[str, nn.Module],
    lattice: Lattice,
    input_shape: tuple[int, ...],
    optional: tuple[str, ...],
) -> Anatomy:
    """Refuses a network whose sub-models would not be parts of it. It is neither changed nor are its layers run.

    It is tried at full depth in evaluation mode with prime numbers of channels, near half of each layer's, which
    nothing can split evenly; and at the smallest target in training mode.

    Args:
        network: plain, before the exchange.
        forms: by path, the nested layers that are to be exchanged for its own.
        lattice: the targets.
        input_shape: of one example.
        optional: paths of the blocks that depth leaves out, in the order in which it adds them.

    Returns:
        What was found out. The forms have their multiples.

    Raises:
        ValueError: the path of the first layer that does not meet what it must, and why.
    """
    walk = Walk(network, forms, input_shape)
    try:
        multiples = _anatomise(walk, forms, lattice)
        walk.check(_prime)
    except _Refused as error:
        raise _Refused(f"{error}{walk.hint()}") from error
    obeyed = sorted({form.dimension for form in forms.values() if isinstance(form, ElasticLayer) and form.dimension})
    if len(obeyed) > 1:
        for alone in obeyed:
            walk.check(_prime_in(alone))
    if optional:
        walk.leave_out(optional[int(lattice.smallest[DEPTH]) :])

    def smallest(dimension: str, full: int) -> int:
        return prefix_length(full, lattice.smallest[dimension])

    walk.check_modes(smallest)
    walk.network.train()
    walk.check(smallest)
    return Anatomy(walk.prefixes, multiples, dict(walk.reaches))


def _anatomise(walk: "Walk", forms: Mapping[str, nn.Module], lattice: Lattice) -> Mapping[str, int]:
    """What lies beside layers, and which layers keep multiples."""
    multiples = dict(walk.heads())
    for path, multiple in walk.groups().items():
        multiples[path] = math.lcm(multiples.get(path, 1), multiple)
    set_multiples(forms, multiples)
    if any(map(_in_groups, forms.values())):
        multiples.update(walk.find_multiples(_prime, multiples))
    if WIDTH in lattice.largest:
        walk.find_tensors(_prime)
        walk.find_numbers(_prime)
    return multiples


def _prime(dimension: str, full: int) -> int:
    """The largest prime number up to half of `full`; 1 where there is none."""
    return next((n for n in range(full // 2, 1, -1) if all(n % d for d in range(2, math.isqrt(n) + 1))), 1)


def _prime_in(alone: str) -> Prefix:
    """In one dimension only."""
    return lambda dimension, full: _prime(dimension, full) if dimension == alone else full


def _all(dimension: str, full: int) -> int:
    return full


class _Refused(ValueError):
    """Raised by a layer that does not meet what it must, out of a forward that we know nothing of."""


@dataclass(frozen=True)
class _Call:
    """What a layer met in a sub-model, and what it gave; the places of the former in the whole network."""

    layer: "_StandIn"
    x: Tensor
    y: Tensor
    places: Tensor


class _StandIn(nn.Module):
    """In place of a layer: hands over what it meets, gives what it is told to.

    Args:
        path: of the layer.
        form: the nested layer, whose attributes it has.
        meet: (stand-in, input) → output.
    """

    def __init__(self, path: str, form: nn.Module, meet: Callable[["_StandIn", Tensor], Tensor]) -> None:
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

    def forward(self, x: Tensor, *same: Tensor, **options: Any) -> Any:
        form, out = self.__dict__["form"], self.meet(self, x)
        if not isinstance(form, NestedSelfAttention):
            return out
        form.check_call(x, *same, **options)
        return form.answer(out)

    def shape(self, x: Tensor, prefix: Prefix) -> list[int]:
        """Of the output for `x`."""
        return self._shape(tuple(x.shape), prefix)

    def _shape(self, shape: Shape, prefix: Prefix) -> list[int]:
        form = self.__dict__["form"]
        assert isinstance(form, NestedLayer)
        dimension = form.dimension
        return list(form.output_shape(shape, lambda full: full if dimension is None else prefix(dimension, full)))

    def kept(self, x: Tensor, prefix: Prefix, places: Tensor) -> Tensor:
        """Which channels of its whole output for `x` a sub-model has, of which these arrive: these, or the first."""
        arriving = list(x.shape)
        arriving[self.axis] = len(places)
        form = self.__dict__["form"]
        assert isinstance(form, NestedLayer)
        kept = self._shape(tuple(arriving), prefix)[self.axis]
        if form.dimension is None and kept < self.shape(x, _all)[self.axis]:
            return places
        return torch.arange(kept, device=places.device)


class Walk:
    """Goes through a copy of a network from layer to layer, as a sub-model and whole.

    Attributes:
        prefixes: whether all places that were found so far are the first ones.
        reaches: by full name, of what lies beside layers.
    """

    def __init__(
        self,
        network: nn.Module,
        forms: Mapping[str, nn.Module],
        input_shape: tuple[int, ...],
        reaches: Mapping[str, Reach] | None = None,
    ) -> None:
        self._name, self._input_shape = type(network).__name__, input_shape
        self._device = _device(network)
        self._noise = torch.Generator().manual_seed(0)
        self._inside: list[str] = []  # paths of the modules that are running
        self._before = _generators()  # as a run starts
        self._prefix: Prefix = _all
        self.prefixes = True
        self._finding = False  # places, with the whole network
        self._marks: dict[str, Tensor] | None = None  # what reaches layers, each of whose outputs has a mark
        self._found: list[tuple[_StandIn, Tensor]] = []  # the layers and their places, in the order in which they ran
        self._calls: list[_Call] = []  # of the layers in the sub-model, in the order in which they ran
        self._steps: dict[int, int] = {}  # of how many channels layers with so many outputs keep a multiple
        self._place: int | None = None  # in the calls, when the whole network goes through them again
        self._forms = dict(forms)
        stand_ins: dict[int, Any] = {}  # deepcopy takes what the memo holds for a copy already made
        for path, form in forms.items():
            layer = network.get_submodule(path)
            stand_ins[id(layer)] = _StandIn(path, form, self._meet)
        self.network = copy.deepcopy(network, stand_ins).eval()
        self.reaches = dict(reaches or {})
        self._beside = beside(network, forms)
        for name in {*self._beside, *self.reaches}:
            self._read_beside(name)
        for path, module in self.network.named_modules():
            module.register_forward_pre_hook(lambda *_, path=path: self._enter(path))
            module.register_forward_hook(lambda *_: self._leave())

    def leave_out(self, blocks: tuple[str, ...]) -> None:
        """Passes by these blocks from now on."""
        for path in blocks:
            self.network.set_submodule(path, nn.Identity())

    def _read_beside(self, name: str) -> None:
        """Has noise read in place of a tensor beside layers, and of it or a number what a run is to have."""
        path, _, local = name.rpartition(".")
        module = self.network.get_submodule(path)
        if (parameter := module._parameters.get(local)) is not None:
            module._parameters[local] = nn.Parameter(self._random(*parameter.shape))
        elif (buffer := module._buffers.get(local)) is not None:
            module._buffers[local] = self._random(*buffer.shape)
        read_by(module, local, lambda whole: self._beside_layers(name, whole))

    def _beside_layers(self, name: str, whole: Any) -> Any:
        if self._marks is not None:
            return torch.ones_like(whole) if isinstance(whole, Tensor) else whole
        reach = self.reaches.get(name)
        if reach is None:
            return whole
        kept = whole_multiple(self._prefix(reach.dimension, reach.full), reach.multiple)
        sliced = self._place is None and not self._finding
        if reach.axis is None:
            return kept if sliced else whole
        if sliced:
            return whole.narrow(reach.axis, 0, kept)
        part = whole.detach().clone()
        part.narrow(reach.axis, kept, reach.full - kept).fill_(torch.nan if self._finding else 0)
        return part

    def find_tensors(self, prefix: Prefix) -> None:
        """Along which axis parameters and buffers beside layers follow the channels, if along any.

        That is the one along which NaN beyond the prefix reaches nothing of the sub-model.
        """
        sizes, guesses = self._sizes(), dict[str, list[Reach]]()
        for name in self._beside:
            owner, _, local = name.rpartition(".")
            shape = _tensor(self.network.get_submodule(owner), local).shape
            guesses[name] = [self._in_steps(Reach(WIDTH, n, axis)) for axis, n in enumerate(shape) if n in sizes]
        if not any(guesses.values()):
            return
        images = self._random(_EXAMPLES, *self._input_shape)
        without = self._pattern(prefix, images)
        self.reaches = {name: reaches[0] for name, reaches in guesses.items() if reaches}
        if self._pattern(prefix, images) == without:
            return
        self.reaches = {}
        for name, reaches in guesses.items():
            for reach in reaches:
                self.reaches[name] = reach
                if self._pattern(prefix, images) == without:
                    break
                del self.reaches[name]

    def _sizes(self) -> set[int]:
        """How many channels layers have of which sub-models have fewer."""
        return {form.outputs for form in self._forms.values() if isinstance(form, ElasticLayer) and form.dimension}

    def _pattern(self, prefix: Prefix, images: Tensor) -> "_Pattern":
        """What reaches layers in a sub-model, and of the output."""
        outputs = self._find(prefix, images)
        places = [(layer.path, *indices.tolist()) for layer, indices in self._found]
        return places, [out.isnan().flatten().nonzero().flatten().tolist() for out in outputs]

    def find_numbers(self, prefix: Prefix) -> None:
        """Which whole numbers that modules have for the number of channels their forward asks for.

        Where a sub-model does not run, those of the module in which it stops are tried.
        """
        sizes = self._sizes()
        while (stuck := self._stuck(prefix)) is not None:
            path, calls = stuck
            module = self.network.get_submodule(path)
            for local, value in list(vars(module).items()):
                name = f"{path}.{local}".lstrip(".")
                if type(value) is not int or value not in sizes or name in self.reaches:
                    continue
                self.reaches[name] = self._in_steps(Reach(WIDTH, value))
                self._read_beside(name)
                after = self._stuck(prefix)
                if after is None or after[1] > calls:
                    break
                del self.reaches[name]
            else:
                return

    def find_multiples(self, prefix: Prefix, known: Mapping[str, int]) -> dict[str, int]:
        """By path, multiples of layers whose outputs meet those of a convolution in groups, as gates of them do.

        Where a sub-model does not run, the layers of the module in which it stops are tried.

        Args:
            prefix: how many outputs of each layer are tried.
            known: by path, multiples that layers have already.
        """
        steps = {form.outputs: known[path] for path, form in self._forms.items() if path in known and _stepped(form)}
        found: dict[str, int] = {}
        stuck = self._stuck(prefix)
        while stuck is not None:
            module, calls = stuck
            for path, form in self._forms.items():
                if not _stepped(form) or not path.startswith(f"{module}.".lstrip(".")) or form.outputs not in steps:
                    continue
                before, form.multiple = form.multiple, steps[form.outputs]
                after = self._stuck(prefix)
                if after is None or after[1] > calls:
                    found[path] = form.multiple
                    stuck = after
                    break
                form.multiple = before
            else:
                return found
        return found

    def _stuck(self, prefix: Prefix) -> tuple[str, int] | None:
        """The module in which a sub-model does not run, and how many layers ran before."""
        images = self._random(_EXAMPLES, *self._input_shape)
        self._find(prefix, images)
        self._prefix, self._calls, self._place = prefix, [], None
        try:
            self._attempt(images)
        except _Refused:
            return None
        except Exception:  # of any kind: it is a stranger's forward
            return self._inside[-1], len(self._calls)
        return None

    def hint(self) -> str:
        """What else may be why a network is refused: parameters that follow nothing."""
        named = [name for name in self._beside if name not in self.reaches]
        owners = {name.rpartition(".")[0] for name, _ in self.network.named_parameters() if name in named}
        kinds = sorted({type(self.network.get_submodule(path)).__name__ for path in owners} - {self._name})
        if not kinds:
            return ""
        return f"; if it is since {', '.join(kinds)} has parameters of its own, add a row for it to the exchanges"

    def places(self, prefix: Prefix) -> dict[str, Tensor | None]:
        """By path, which channels of a layer's whole input reach it in a sub-model; None for the first ones.

        Raises:
            ValueError: a layer that runs twice, and is met by different ones.
        """
        self._find(prefix, self._random(_EXAMPLES, *self._input_shape))
        places: dict[str, Tensor | None] = {}
        for layer, indices in self._found:
            found = None if _first(indices) else indices
            if not _alike(places.setdefault(layer.path, found), found):
                raise self._refusal(layer.path, "it runs twice, and is met by other channels of a sub-model each time")
        return places

    def heads(self) -> dict[str, int]:
        """By path, the head size of self-attentions with as many features as a layer has outputs: it keeps whole heads.

        So does what is found beside layers from then on.
        """
        found: dict[str, int] = {}
        for form in self._forms.values():
            if isinstance(form, NestedSelfAttention):
                self._steps[form.inputs] = math.lcm(self._steps.get(form.inputs, 1), form.head_size)
        for path, form in self._forms.items():
            if _stepped(form) and form.outputs in self._steps:
                found[path] = self._steps[form.outputs]
        return found

    def _in_steps(self, reach: Reach) -> Reach:
        return replace(reach, multiple=self._steps.get(reach.full, 1))

    def groups(self) -> dict[str, int]:
        """By path, of which number the outputs of a layer must be a multiple, since a convolution parts them in groups.

        Raises:
            ValueError: groups of channels that are not the outputs of one convolution.
        """
        grouped = {path: form for path, form in self._forms.items() if _in_groups(form)}
        if not grouped:
            return {}
        self._marks = {}
        try:
            self._run(self._random(_EXAMPLES, *self._input_shape))
            marks = self._marks
        finally:
            self._marks = None
        whose, found = {self._mark_of(path): path for path in self._forms}, dict[str, int]()
        for path, form in grouped.items():
            if path not in marks:
                continue
            met = marks[path].unique().tolist()
            before = whose.get(met[0], "") if len(met) == 1 else ""
            producer = self._forms.get(before)
            if not isinstance(producer, NestedConv2d) or producer.dimension is None or producer.grouped:
                raise self._refusal(
                    path, "it is in groups, and the channels that reach it are not the outputs of one convolution"
                )
            found[before] = math.lcm(found.get(before, 1), form.per_group)
        return found

    def check_modes(self, prefix: Prefix) -> None:
        """Refuses a layer that other channels of the sub-model reach in training than in evaluation."""
        in_evaluation = self.places(prefix)
        self.network.train()
        in_training = self.places(prefix)
        self.network.eval()
        for path, places in in_evaluation.items():
            if path in in_training and not _alike(places, in_training[path]):
                raise self._refusal(path, "other channels of a sub-model reach it in training than in evaluation")

    def _find(self, prefix: Prefix, images: Tensor) -> list[Tensor]:
        """The outputs, NaN where the sub-model has nothing."""
        self._prefix, self._found, self._place, self._finding = prefix, [], None, True
        try:
            return self._run(images)
        finally:
            self._finding = False

    def check(self, prefix: Prefix) -> None:
        """Compares the sub-model that keeps so many outputs of each layer with the whole network."""
        images = self._random(_EXAMPLES, *self._input_shape)
        self.places(prefix)
        self._prefix, self._calls, self._place = prefix, [], None
        sliced = self._run(images)
        self._place = 0
        whole = self._run(images)
        if self._place != len(self._calls):
            raise self._refusal(self._calls[self._place].layer.path, _CONDITIONAL)
        for one, other in zip(sliced, whole, strict=True):
            if not _same(one, other, 1, torch.arange(one.shape[1], device=one.device)):
                raise self._refusal("", f"what it gives {_broken(one.shape[1], other.shape[1])}")

    def _run(self, images: Tensor) -> list[Tensor]:
        """The outputs: one, or those of a mapping or tuple."""
        try:
            out = self._attempt(images)
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

    def _attempt(self, images: Tensor) -> Any:
        self._inside.clear()
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices):
            self._before = _generators()
            return self.network(images.clone())

    def _failing(self, images: Tensor) -> str:
        """How a run fails: with fewer channels, unless with all of them, too."""
        if self._place is None and not self._finding and self._prefix is not _all:
            self._prefix, self._calls = _all, []
            self._run(images)
            return "it does not run with fewer channels"
        return f"it does not run on an input of shape {self._input_shape}"

    def _meet(self, layer: _StandIn, x: Tensor) -> Tensor:
        try:
            layer.shape(x, _all)
        except ValueError as error:
            raise self._refusal(layer.path, str(error)) from error
        whole = self._marks is not None or self._finding or self._place is not None or self._prefix is _all
        channels = x.shape[layer.axis]
        if not whole and not 0 < channels <= layer.inputs:
            raise RuntimeError(f"{channels} channels reach a layer that reads up to {layer.inputs}")
        if channels != layer.inputs and whole:
            shape = f"from an input of shape {self._input_shape}"
            raise self._refusal(layer.path, f"it reads {layer.inputs} channels, but {channels} reach it {shape}")
        if self._marks is not None:
            return self._marked(layer, x)
        if self._finding:
            return self._in_search(layer, x)
        return self._in_sub_model(layer, x) if self._place is None else self._in_whole(layer, x)

    def _marked(self, layer: _StandIn, x: Tensor) -> Tensor:
        """The layer's mark everywhere; of one that has as many outputs as channels arrive, theirs if it is one."""
        assert self._marks is not None
        self._marks[layer.path] = x
        shape, form = layer.shape(x, _all), layer.__dict__["form"]
        follows = form.dimension is None and shape[layer.axis] == x.shape[layer.axis]
        mark = self._mark_of(layer.path) if not follows else x.amin() if x.amin() == x.amax() else torch.nan
        return torch.full(shape, float(mark), device=self._device)

    def _mark_of(self, path: str) -> float:
        """Between 1 and 2, so that no sum of marks is one."""
        return float(torch.tensor(1 + (1 + list(self._forms).index(path)) / (2 + len(self._forms))))

    def _in_search(self, layer: _StandIn, x: Tensor) -> Tensor:
        """Noise, and NaN where the sub-model has nothing."""
        missing = x.isnan().transpose(0, layer.axis).flatten(1).any(1)
        places = missing.logical_not().nonzero().flatten()
        self._found.append((layer, places))
        if not _first(places):
            self.prefixes = False
            if not isinstance(form := layer.__dict__["form"], PlacedLayer):
                kind = type(form).__name__
                raise self._refusal(
                    layer.path,
                    f"what reaches it in a sub-model isn't the first {len(places)} of {layer.inputs} channels, and "
                    f"{kind} knows no others",
                )
        shape = layer.shape(x, _all)
        y = torch.full(shape, torch.nan, device=self._device)
        kept = layer.kept(x, self._prefix, places)
        return y.index_copy_(layer.axis, kept, self._noisy(layer, len(x), shape, len(kept)))

    def _in_sub_model(self, layer: _StandIn, x: Tensor) -> Tensor:
        shape, places = layer.shape(x, self._prefix), self._places_of(layer, x.shape[layer.axis])
        y = self._noisy(layer, len(x), shape, shape[layer.axis])
        self._calls.append(_Call(layer, x.clone(), y.clone(), places))  # what follows may change them in place
        return y

    def _places_of(self, layer: _StandIn, channels: int) -> Tensor:
        """Where those lie that reach a layer of the sub-model now."""
        if self._prefix is _all:
            return torch.arange(channels, device=self._device)
        number = len(self._calls)
        if number == len(self._found) or self._found[number][0] is not layer:
            raise self._refusal(layer.path, _CONDITIONAL)
        places = self._found[number][1]
        if len(places) != channels:
            raise self._refusal(layer.path, f"what reaches it {_broken(channels, layer.inputs)}")
        return places

    def _noisy(self, layer: _StandIn, examples: int, shape: list[int], outputs: int) -> Tensor:
        """Of each channel, of each place, and of both."""
        channels, places = [1] * len(shape), list(shape)
        channels[0], channels[layer.axis], places[layer.axis] = examples, outputs, 1
        return torch.addcmul(self._random(*channels), self._random(*channels), self._random(*places))

    def _in_whole(self, layer: _StandIn, x: Tensor) -> Tensor:
        """What the layer gave in the sub-model, and zeros."""
        assert self._place is not None
        if self._place == len(self._calls) or self._calls[self._place].layer is not layer:
            raise self._refusal(layer.path, _CONDITIONAL)
        call, axis = self._calls[self._place], layer.axis
        self._place += 1
        if not _same(call.x, x, axis, call.places):
            broken = _broken(call.x.shape[axis], layer.inputs)
            raise self._refusal(layer.path, f"what reaches it {broken}")
        shape = layer.shape(x, _all)
        y = torch.zeros(shape, device=self._device)
        return y.index_copy_(axis, layer.kept(x, self._prefix, call.places), call.y)

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


_Pattern: TypeAlias = tuple[list[tuple[str | int, ...]], list[list[int]]]


def _tensor(module: nn.Module, name: str) -> Tensor:
    """A parameter or buffer by its own name."""
    found = {**module._parameters, **module._buffers}[name]
    assert found is not None
    return found


def _generators() -> tuple[bytes, object, str]:
    """The states of torch's, Python's and NumPy's global ones."""
    numpys = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  # whoever draws from it shall be found out
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), f"{numpys['pos']} {numpys['key'].tobytes()!r}"


_CONDITIONAL = "whether it runs depends on how many channels there are: let every layer run at every width"


def _device(network: nn.Module) -> torch.device:
    """Of the network's parameters; the CPU if they are not there yet, since noise must be somewhere."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return torch.device("cpu") if device.type == "meta" else device


def _in_groups(form: nn.Module) -> TypeGuard[NestedConv2d]:
    return isinstance(form, NestedConv2d) and form.grouped and form.per_group > 1


def _stepped(form: nn.Module) -> TypeGuard[SteppedLayer]:
    return isinstance(form, SteppedLayer) and form.dimension is not None


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other is None or (one is not None and other is not None and torch.equal(one, other))


def _first(places: Tensor) -> bool:
    """Whether they are 0, 1, 2, …"""
    return torch.equal(places, torch.arange(len(places), device=places.device))


def _same(sliced: Tensor, whole: Tensor, axis: int, places: Tensor) -> bool:
    """Whether a tensor is another one at some places, outside of which there is nothing but constants."""
    shape = list(whole.shape)
    shape[axis] = len(places)
    if list(sliced.shape) != shape:
        return False
    others = torch.ones(whole.shape[axis], dtype=torch.bool, device=whole.device).index_fill_(0, places, False)
    inside, outside = whole.index_select(axis, places), whole.index_select(axis, others.nonzero().flatten())
    pairs = (sliced, inside), (outside[:1].expand_as(outside), outside)
    if all(torch.equal(one, other) for one, other in pairs):  # many times as fast as what follows
        return True
    tolerance = _CLOSE * float(whole.nan_to_num().abs().max())
    return all(torch.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True) for one, other in pairs)


def _broken(channels: int, whole: int) -> str:
    return (
        f"in a sub-model isn't {channels} of {whole} channels in their order: they are split, reordered or mixed "
        "before, outside of layers, and such networks aren't supported yet"
    )
