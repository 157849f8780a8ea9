"""What a pass reads of parameters, read at once before it, and its gradients added at once after it.

Between the large operations of a pass small ones find neither data nor code in the processor's caches: there the hook
of one parameter takes some 30 µs and the four vectors of one norm 50, ten times what they take one after the other.
"""

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor, nn

from trainers.devices.cuda import capturing
from trainers.nested.prefix import Read

_PASSES = 64  # kinds of them that a network knows: a distribution over all widths would bring thousands
_now = threading.local()


class ReadsAhead:
    """Part of a layer that says what it will read: that is read ahead in passes through a `NestedNetwork`.

    What derives from it and from `nn.Module` has `reads(channels)`, what it reads of its parameters and buffers for so
    many incoming channels, and asks `read(channels)` for it.
    """

    _ahead: "tuple[_Pass, int, Sequence[Any]] | None" = None

    def reads(self, channels: int) -> Sequence[Read | None]:
        raise NotImplementedError

    def read(self, channels: int) -> Sequence[Any]:
        """A tensor for each of `reads`, differentiable where it is learnt; None for None."""
        if self._ahead is not None:
            ahead, expected, values = self._ahead
            if expected == channels and ahead.thread == threading.get_ident():
                return values
        readers: dict[ReadsAhead, int] | None = getattr(_now, "readers", None)
        if readers is not None:
            readers[self] = channels
        return tuple(None if read is None else read.learnt() for read in self.reads(channels))


class Passes:
    """The passes of a network, by kind: each is looked at once, and from the next of its kind on read ahead."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Pass] = {}

    @contextmanager
    def of(self, kind: Hashable) -> Iterator[None]:
        """The pass inside is one of this kind.

        Args:
            kind: decides which layers run, and how many channels reach them.
        """
        known = self._known.get(kind)
        if known is None or not known.holds():
            with _noted() as readers:
                yield
            if not capturing():  # what is made meanwhile is not there yet
                self._keep(kind, _Pass(readers))
            return
        known.read()
        try:
            yield
        finally:
            known.forget()

    def _keep(self, kind: Hashable, noted: "_Pass") -> None:
        self._known.pop(kind, None)
        while len(self._known) >= _PASSES:
            del self._known[next(iter(self._known))]
        self._known[kind] = noted

    def __deepcopy__(self, memo: dict[int, Any]) -> "Passes":
        return Passes()

    def __reduce__(self) -> tuple[type["Passes"], tuple[()]]:
        return Passes, ()


@contextmanager
def _noted() -> Iterator[dict[ReadsAhead, int]]:
    """Notes which layers read in this thread, and for how many channels."""
    before = getattr(_now, "readers", None)
    readers: dict[ReadsAhead, int] = {}
    _now.readers = readers
    try:
        yield readers
    finally:
        _now.readers = before


class _Pass:
    """What the layers of a pass read.

    Attributes:
        thread: in which it is run.
    """

    def __init__(self, readers: dict[ReadsAhead, int]) -> None:
        self.thread = threading.get_ident()
        by_layer = [(layer, channels, layer.reads(channels)) for layer, channels in readers.items()]
        reads = [read for read in chain.from_iterable(reads for _, _, reads in by_layer) if read is not None]
        # Vectors at places are read together: every norm behind a concatenation has four of them.
        vectors = [read for read in reads if read.view.ndim == 1 and read.part.places is not None]
        others = [read for read in reads if read not in set(vectors)]
        self._reads = [*vectors, *others]
        self._together = _Together(vectors) if vectors else None
        self._held = [held for layer in readers for held in _held(layer)]
        copied = {read for read in others if read.dense() is not read.view}
        self._copied = [(place, read) for place, read in enumerate(self._reads) if read in copied]
        self._views: list[Tensor | None] = [read.view for read in self._reads]
        place: dict[Read | None, int] = {read: place for place, read in enumerate(self._reads)}
        place[None] = len(self._views)
        self._views.append(None)
        copied.update(vectors)
        self._layers = [
            _Reader(vars(layer), channels, [place[read] for read in reads]) for layer, channels, reads in by_layer
        ]
        self._copying = [
            reader for reader, (_, _, reads) in zip(self._layers, by_layer, strict=True) if copied.intersection(reads)
        ]
        steady = [reader for reader in self._layers if reader not in self._copying]
        self._steady = [(reader.layer, (self, reader.channels, reader.of(self._views))) for reader in steady]
        self._anchor = torch.zeros((), requires_grad=True)

    def holds(self) -> bool:
        """Whether the layers have the parameters and buffers that they had, and those the memory."""
        return all(
            owner.get(name) is tensor and tensor.data_ptr() == address for owner, name, tensor, address in self._held
        )

    def read(self) -> None:
        """Gives every layer what it will read."""
        self.thread = threading.get_ident()
        values, readers = self._values(), self._copying
        if torch.is_grad_enabled():
            self._learn(values)
            readers = self._layers
        else:
            for layer, ahead in self._steady:
                layer["_ahead"] = ahead
        for reader in readers:
            reader.layer["_ahead"] = self, reader.channels, reader.of(values)

    def _values(self) -> list[Tensor | None]:
        """What is read, not differentiable, and None."""
        values = self._views.copy()
        with torch.no_grad():
            if self._together is not None:
                together = self._together.values()
                values[: len(together)] = together
            for place, read in self._copied:
                values[place] = read.dense()
        return values

    def _learn(self, values: list[Tensor | None]) -> None:
        """Makes what is learnt of it differentiable."""
        learnt = [place for place, read in enumerate(self._reads) if read.parameter.requires_grad]
        if learnt:
            reads = [self._reads[place] for place in learnt]
            found = _Learnt.apply(self._anchor, reads, [values[place] for place in learnt])
            for place, value in zip(learnt, found, strict=True):
                values[place] = value

    def forget(self) -> None:
        """Leaves the layers nothing of a pass."""
        for reader in self._layers:
            reader.layer["_ahead"] = None


def _held(layer: ReadsAhead) -> Iterator[tuple[dict[str, Any], str, Tensor, int]]:
    """Where a layer has each of its parameters and buffers, its name there, itself, and its address."""
    assert isinstance(layer, nn.Module)
    for module in layer.modules():
        for owner in (module._parameters, module._buffers):
            for name, tensor in owner.items():
                if tensor is not None:
                    yield owner, name, tensor, tensor.data_ptr()


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    """A layer, by its namespace, and the places of what it reads among all that is read."""

    layer: dict[str, Any]
    channels: int
    places: Sequence[int]

    def of(self, values: Sequence[Tensor | None]) -> list[Tensor | None]:
        return [values[place] for place in self.places]


class _Together:
    """Entries at places of many vectors, read as of one."""

    def __init__(self, reads: Sequence[Read]) -> None:
        self._vectors = [read.view for read in reads]
        starts = accumulate(map(len, self._vectors), initial=0)
        indices = [read.part.places.indices for read in reads if read.part.places is not None]
        self._indices = torch.cat([each + start for each, start in zip(indices, starts, strict=False)])
        self._lengths = [len(each) for each in indices]

    def values(self) -> Sequence[Tensor]:
        entries: Sequence[Tensor] = torch.cat(self._vectors).index_select(0, self._indices).split(self._lengths)
        return entries


class _Learnt(torch.autograd.Function):
    """Values as a function of nothing, whose gradients go to the parameters that they were read of."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, reads: Sequence[Read], values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.reads = reads
        return tuple(value.detach() for value in values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, None, None]:
        for read, gradient in zip(reversed(ctx.reads), reversed(gradients), strict=True):
            if gradient is not None:
                read.add(gradient)
        return None, None, None
