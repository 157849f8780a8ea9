"""What layers do not say of a network: what lies beside them and goes along channels, and which keep whole groups."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias, TypeGuard

import torch
from torch import Tensor, nn

from trainers.nested.beside import Reach, tensor_beside
from trainers.nested.layers.attention import NestedSelfAttention
from trainers.nested.layers.convolution import NestedConv2d
from trainers.nested.layers.layer import ElasticLayer, SteppedLayer
from trainers.nested.tracing.search import Search
from trainers.nested.tracing.sub_model import AsSubModel
from trainers.nested.tracing.walk import Prefix, Refused, StandIn, Visit, Walk, everything


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


def in_multiples(anatomy: Anatomy, forms: Mapping[str, nn.Module], multiple: int) -> Anatomy:
    """As it is if channels are kept in multiples of a number, too, wherever all of them are one."""
    if multiple == 1:
        return anatomy
    multiples, reaches = dict(anatomy.multiples), dict(anatomy.reaches)
    for path, form in forms.items():
        both = math.lcm(multiples.get(path, 1), multiple)
        if _stepped(form) and form.full % both == 0:
            multiples[path] = both
    for name, reach in reaches.items():
        both = math.lcm(reach.multiple, multiple)
        if reach.full % both == 0:
            reaches[name] = replace(reach, multiple=both)
    return replace(anatomy, multiples=multiples, reaches=reaches)


def anatomise(walk: Walk) -> dict[str, int]:
    """Finds which layers keep multiples, which are given, and what lies beside layers, which the walk knows then."""
    told_apart = _told_apart(walk)
    steps = _head_sizes(walk)
    multiples = {
        path: steps[form.outputs] for path, form in walk.forms.items() if _stepped(form) and form.outputs in steps
    }
    for path, multiple in _groups(walk).items():
        multiples[path] = math.lcm(multiples.get(path, 1), multiple)
    set_multiples(walk.forms, multiples)
    if any(map(_in_groups, walk.forms.values())):
        multiples.update(_gates(walk, told_apart[0], multiples))
    if lengths := _lengths(walk):
        guess = partial(_reaches, lengths, steps)
        _find_tensors(walk, told_apart, guess)
        _find_numbers(walk, told_apart[0], guess)
    return multiples


def obeyed(walk: Walk) -> list[str]:
    """The dimensions that layers obey."""
    forms = walk.forms.values()
    return sorted({form.dimension for form in forms if isinstance(form, ElasticLayer) and form.dimension})


def prime_prefix(dimension: str, full: int) -> int:
    """The largest prime number up to half of `full`, which nothing can split evenly; 1 where there is none."""
    return _prime(full // 2)


def _prime(most: int) -> int:
    return next((n for n in range(most, 1, -1) if all(n % d for d in range(2, math.isqrt(n) + 1))), 1)


def _told_apart(walk: Walk) -> list[Prefix]:
    """Prefixes of which each keeps something else of as many channels in every dimension, in rising and falling order.

    What follows the channels of one dimension is then not taken for what follows those of another.
    """
    names = obeyed(walk)
    if len(names) < 2:
        return [prime_prefix]
    return [partial(_prime_of_rank, order) for order in (names, names[::-1])]


def _prime_of_rank(order: Sequence[str], dimension: str, full: int) -> int:
    """Near half of all channels for the first dimension, and the fewer the later one comes."""
    return _prime(full * (2 * len(order) - order.index(dimension)) // (4 * len(order)))


def hint(walk: Walk) -> str:
    """What else may be why a network is refused: parameters that follow nothing."""
    named = [name for name in walk.lying_beside if name not in walk.reaches]
    owners = {name.rpartition(".")[0] for name, _ in walk.network.named_parameters() if name in named}
    kinds = sorted({type(walk.network.get_submodule(path)).__name__ for path in owners} - {walk.kind})
    if not kinds:
        return ""
    return f"; if it is since {', '.join(kinds)} has parameters of its own, add a row for it to the exchanges"


def _head_sizes(walk: Walk) -> dict[int, int]:
    """By how many features self-attentions read, of what number a sub-model's is a multiple: whole heads."""
    sizes: dict[int, int] = {}
    for form in walk.forms.values():
        if isinstance(form, NestedSelfAttention):
            sizes[form.inputs] = math.lcm(sizes.get(form.inputs, 1), form.head_size)
    return sizes


class _Marks(Visit):
    """The whole network, each layer of which gives a mark of its own everywhere.

    Attributes:
        met: by path, what reached a layer.
    """

    def __init__(self, walk: Walk) -> None:
        super().__init__(walk)
        self.met: dict[str, Tensor] = {}

    def meet(self, layer: StandIn, x: Tensor) -> Tensor:
        self.met[layer.path] = x
        mark = self.of(layer.path)
        if layer.follows(x):  # theirs, if it is one
            mark = float(x.amin()) if x.amin() == x.amax() else math.nan
        return torch.full(layer.shape(x, everything), mark, device=self.walk.device)

    def beside(self, name: str, whole: Any) -> Any:
        return torch.ones_like(whole) if isinstance(whole, Tensor) else whole

    def of(self, path: str) -> float:
        """Between 1 and 2, so that no sum of marks is one."""
        return float(torch.tensor(1 + (1 + list(self.walk.forms).index(path)) / (2 + len(self.walk.forms))))


def _groups(walk: Walk) -> dict[str, int]:
    """By path, of which number the outputs of a layer must be a multiple, since a convolution parts them in groups.

    Raises:
        ValueError: groups of channels that are not the outputs of one convolution.
    """
    grouped = {path: form for path, form in walk.forms.items() if _in_groups(form)}
    if not grouped:
        return {}
    marks = _Marks(walk)
    walk.run(marks, walk.images())
    whose, found = {marks.of(path): path for path in walk.forms}, dict[str, int]()
    for path, form in grouped.items():
        if path not in marks.met:
            continue
        met = marks.met[path].unique().tolist()
        before = whose.get(met[0], "") if len(met) == 1 else ""
        producer = walk.forms.get(before)
        if not isinstance(producer, NestedConv2d) or producer.dimension is None or producer.grouped:
            raise walk.refusal(
                path, "it is in groups, and the channels that reach it are not the outputs of one convolution"
            )
        found[before] = math.lcm(found.get(before, 1), form.per_group)
    return found


def _gates(walk: Walk, prefix: Prefix, known: Mapping[str, int]) -> dict[str, int]:
    """By path, multiples of layers whose outputs meet those of a convolution in groups, as gates of them do.

    Where a sub-model does not run, the layers of the module in which it stops are tried.

    Args:
        prefix: how many outputs of each layer are tried.
        known: by path, multiples that layers have already.
    """
    steps = {form.outputs: known[path] for path, form in walk.forms.items() if path in known and _stepped(form)}
    found: dict[str, int] = {}
    stuck = _stuck(walk, prefix)
    while stuck is not None:
        module, calls = stuck
        for path, form in walk.forms.items():
            if not _stepped(form) or not path.startswith(f"{module}.".lstrip(".")) or form.outputs not in steps:
                continue
            before, form.multiple = form.multiple, steps[form.outputs]
            after = _stuck(walk, prefix)
            if after is None or after[1] > calls:
                found[path] = form.multiple
                stuck = after
                break
            form.multiple = before
        else:
            return found
    return found


def _in_groups(form: nn.Module) -> TypeGuard[NestedConv2d]:
    return isinstance(form, NestedConv2d) and form.grouped and form.per_group > 1


def _stepped(form: nn.Module) -> TypeGuard[SteppedLayer]:
    return isinstance(form, SteppedLayer) and form.dimension is not None


def _lengths(walk: Walk) -> dict[int, list[str]]:
    """How many channels layers have of which sub-models have fewer, and in which dimensions."""
    lengths: dict[int, list[str]] = {}
    for form in walk.forms.values():
        if isinstance(form, ElasticLayer) and form.dimension is not None:
            dimensions = lengths.setdefault(form.outputs, [])
            if form.dimension not in dimensions:
                dimensions.append(form.dimension)
    return lengths


def _reaches(lengths: Mapping[int, list[str]], steps: Mapping[int, int], number: int, axis: int | None) -> list[Reach]:
    """What so many channels may be."""
    return [Reach(dimension, number, axis, steps.get(number, 1)) for dimension in lengths.get(number, [])]


_Guess: TypeAlias = Callable[[int, int | None], list[Reach]]  # (how many, along which axis) → what they may be


def _find_tensors(walk: Walk, prefixes: Sequence[Prefix], guess: _Guess) -> None:
    """Along which axis parameters and buffers beside layers follow the channels, if along any.

    That is the one along which NaN beyond the prefix reaches nothing of the sub-model, in any of these.
    """
    guesses: dict[str, list[Reach]] = {}
    for name in walk.lying_beside:
        shape = tensor_beside(walk.network, name).shape
        guesses[name] = [each for axis, n in enumerate(shape) for each in guess(n, axis)]
    if not any(guesses.values()):
        return
    images = walk.images()
    without = [_pattern(walk, prefix, images) for prefix in prefixes]

    def same() -> bool:
        return all(_pattern(walk, prefix, images) == was for prefix, was in zip(prefixes, without, strict=True))

    walk.reaches = {name: reaches[0] for name, reaches in guesses.items() if reaches}
    if len(prefixes) == 1 and same():
        return
    walk.reaches = {}
    for name, reaches in guesses.items():
        for reach in reaches:
            walk.reaches[name] = reach
            if same():
                break
            del walk.reaches[name]


_Pattern: TypeAlias = tuple[list[tuple[str | int, ...]], list[list[int]]]


def _pattern(walk: Walk, prefix: Prefix, images: Tensor) -> _Pattern:
    """What reaches layers in a sub-model, and of the output."""
    visit = Search(walk, prefix)
    outputs = walk.run(visit, images)
    places = [(layer.path, *indices.tolist()) for layer, indices in visit.found]
    return places, [out.isnan().flatten().nonzero().flatten().tolist() for out in outputs]


def _find_numbers(walk: Walk, prefix: Prefix, guess: _Guess) -> None:
    """Which whole numbers that modules have for the number of channels their forward asks for.

    Where a sub-model does not run, those of the module in which it stops are tried.
    """
    while (stuck := _stuck(walk, prefix)) is not None:
        path, calls = stuck
        for name, reach in _numbers(walk, path, guess):
            walk.reaches[name] = reach
            walk.read_beside(name)
            after = _stuck(walk, prefix)
            if after is None or after[1] > calls:
                break
            del walk.reaches[name]
        else:
            return


def _numbers(walk: Walk, path: str, guess: _Guess) -> list[tuple[str, Reach]]:
    """The whole numbers of a module that may be its number of channels, by full name."""
    named = [(f"{path}.{local}".lstrip("."), value) for local, value in vars(walk.network.get_submodule(path)).items()]
    whole = [(name, value) for name, value in named if type(value) is int and name not in walk.reaches]
    return [(name, reach) for name, value in whole for reach in guess(value, None)]


def _stuck(walk: Walk, prefix: Prefix) -> tuple[str, int] | None:
    """The module in which a sub-model does not run, and how many layers ran before."""
    images, places = walk.images(), Search(walk, prefix)
    walk.run(places, images)
    visit = AsSubModel(walk, prefix, places.found)
    try:
        walk.attempt(visit, images)
    except Refused:
        return None
    except Exception:  # of any kind: it is a stranger's forward
        return walk.where, len(visit.calls)
    return None
