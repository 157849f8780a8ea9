"""Which layer every channel comes from: which ones are added to or scaled by which, and where each is read.

Found as everything here, by running the network's own forward with stand-ins for its layers: a channel that is NaN
reaches whatever is computed from it, and nothing else. One run per source says which channels of every layer's input
come from it; two runs per binary digit say which of its channels each is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainers.nested.layers.convolution import NestedConv2d
from trainers.nested.tracing.search import missing
from trainers.nested.tracing.walk import StandIn, Visit, Walk, everything


@dataclass(frozen=True)
class Source:
    """What gives channels: a layer that is no follower, or a tensor beside layers.

    Attributes:
        name: path of the layer, or full name of the tensor.
        channels: how many.
        beside: whether it is a tensor beside layers.
        size: of a layer's output, without examples and channels, `(H, W)`; empty for a tensor.
    """

    name: str
    channels: int
    beside: bool
    size: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stream:
    """Channels that go together: the k-th of every source is added to, scales or is read with the k-th of the others.

    Attributes:
        sources: in the order in which they run; tensors beside layers last.
        block: how many side by side stay together, since a convolution takes them as a group.
    """

    sources: tuple[Source, ...]
    block: int = 1

    @property
    def channels(self) -> int:
        """How many it has; of sources that have unequally many, the most."""
        return max(source.channels for source in self.sources)


@dataclass(frozen=True)
class ChannelMap:
    """Where channels come from and go to.

    Attributes:
        streams: in the order in which their first layer runs.
        read: by path of a layer, `(2, inputs)` int64: of every channel of its whole input the number of its stream
            and which one it is of it; −1 where it comes from no layer, as those of images do. Of a channel that is made
            of several, −2.
        heads: paths of the layers whose outputs are the network's.
    """

    streams: tuple[Stream, ...]
    read: Mapping[str, Tensor]
    heads: frozenset[str]

    def stream_of(self, source: str) -> int:
        """The number of the stream that a source belongs to."""
        return next(n for n, stream in enumerate(self.streams) if any(each.name == source for each in stream.sources))


NOTHING, MIXED = -1, -2

_Lacking = Callable[[str, int], Tensor | None]  # (source, channels) → (c,) bool, which are NaN; None for none


class _Trace(Visit):
    """The whole network, some channels of some sources NaN.

    Attributes:
        met: in the order in which layers ran, path and which channels of the input were NaN.
        sources: by name, of layers.
    """

    watched = False  # as what was tried before

    def __init__(self, walk: Walk, lacking: _Lacking) -> None:
        super().__init__(walk)
        self._lacking = lacking
        self.met: list[tuple[str, Tensor]] = []
        self.sources: dict[str, Source] = {}

    def meet(self, layer: StandIn, x: Tensor) -> Tensor:
        gone: Tensor | None = missing(x, layer.axis)
        assert gone is not None
        self.met.append((layer.path, gone))
        y = torch.ones(layer.shape(x, everything), device=self.walk.device)
        if not layer.follows(x):
            channels = y.shape[layer.axis]
            sides = [side for axis, side in enumerate(y.shape) if axis not in (0, layer.axis % y.ndim)]
            self.sources[layer.path] = Source(layer.path, channels, beside=False, size=tuple(sides))
            gone = self._lacking(layer.path, channels)
        return y if gone is None else y.index_fill_(layer.axis, gone.nonzero().flatten(), torch.nan)

    def beside(self, name: str, whole: Any) -> Any:
        reach = self.walk.reaches.get(name)
        if reach is None or reach.axis is None:
            return whole
        gone = self._lacking(name, reach.full)
        return whole if gone is None else whole.detach().index_fill(reach.axis, gone.nonzero().flatten(), torch.nan)


def map_channels(walk: Walk) -> ChannelMap:
    """Traces all channels of a network.

    Args:
        walk: of which it is known what lies beside layers.

    Raises:
        ValueError: a network that does not run, or has no layers.
    """
    images = walk.images(1)

    def run(lacking: _Lacking) -> tuple[_Trace, bool]:
        visit = _Trace(walk, lacking)
        outputs = walk.run(visit, images)
        return visit, any(bool(out.isnan().any()) for out in outputs)

    first, _ = run(lambda name, channels: None)
    tensors = [Source(name, reach.full, beside=True) for name, reach in walk.reaches.items() if reach.axis is not None]
    sources = [*first.sources.values(), *tensors]
    if not sources:
        raise walk.refusal("", "it has no layers with channels of their own")
    reached, heads = [], set[str]()
    for source in sources:
        visit, ends = run(_all_of(source.name))
        reached.append(torch.cat([gone for _, gone in visit.met]))
        if ends and not source.beside:
            heads.add(source.name)
    together = torch.stack(reached)  # (sources, channels of all inputs)
    numbers = _components(together)
    digits = max(source.channels for source in sources).bit_length()
    index, mixed = torch.zeros(together.shape[1], dtype=torch.long), torch.zeros(together.shape[1], dtype=torch.bool)
    for digit in range(digits):
        one, zero = (torch.cat([gone for _, gone in run(_with_digit(digit, bit))[0].met]) for bit in (1, 0))
        index += one.cpu().long() << digit
        mixed |= (one & zero).cpu()
    belongs = torch.full_like(index, NOTHING)
    for number, row in zip(numbers, together.cpu(), strict=True):
        belongs[row] = number
    belongs[mixed] = MIXED
    index[belongs < 0] = 0
    read = _by_layer(first.met, torch.stack((belongs, index)))
    members: dict[int, list[Source]] = {}
    for number, source in zip(numbers, sources, strict=True):
        members.setdefault(number, []).append(source)
    streams = tuple(Stream(tuple(members[number]), _block(walk, read, number)) for number in sorted(members))
    return ChannelMap(streams, read, frozenset(heads))


def _all_of(name: str) -> _Lacking:
    return lambda source, channels: torch.ones(channels, dtype=torch.bool) if source == name else None


def _with_digit(digit: int, bit: int) -> _Lacking:
    """The channels whose number has this binary digit at that place."""
    return lambda source, channels: (torch.arange(channels) >> digit & 1) == bit


def _components(together: Tensor) -> list[int]:
    """Numbers of the sources' streams: sources that reach one channel are of one, and so on."""
    numbers = list(range(len(together)))
    patterns = {tuple(column.nonzero().flatten().tolist()) for column in together.unique(dim=1).T}
    for pattern in patterns:
        joined = {numbers[source] for source in pattern}
        numbers = [min(joined) if number in joined else number for number in numbers]
    dense = {number: place for place, number in enumerate(sorted(set(numbers)))}
    return [dense[number] for number in numbers]


def _by_layer(met: Sequence[tuple[str, Tensor]], columns: Tensor) -> dict[str, Tensor]:
    """What was found of every layer's input; of one that ran twice, what it met first, unless both differ."""
    read: dict[str, Tensor] = {}
    start = 0
    for path, gone in met:
        found = columns[:, start : start + len(gone)]
        start += len(gone)
        if not torch.equal(read.setdefault(path, found), found):
            read[path] = torch.where(read[path] == found, found, MIXED)
    return read


def _block(walk: Walk, read: Mapping[str, Tensor], number: int) -> int:
    """Of how many channels the groups are in which convolutions take those of a stream."""
    sizes = [
        form.per_group
        for path, form in walk.forms.items()
        if isinstance(form, NestedConv2d) and form.grouped and path in read and bool((read[path][0] == number).any())
    ]
    return max(sizes, default=1)
