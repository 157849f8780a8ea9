"""What a pass reads of small parameters, read at once before it, and their gradients added at once after it.

Between the large operations of a pass small ones find neither data nor code in the processor's caches: there the hook
of one parameter takes some 30 µs and the four vectors of one norm 50, ten times what they take one after the other.
"""

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor, nn

from trainers.devices.cuda import capturing
from trainers.nested.prefix import Read

_PASSES = 64  # kinds of them that a network knows: a distribution over all widths would bring thousands
_SMALL = 1 << 16  # numbers: layers that learn more read for themselves, since all gradients of what is read ahead wait
_now = threading.local()


class ReadsAhead:
    """Part of a layer that says what it will read: that is read ahead in passes through a `NestedNetwork`.

    What derives from it and from `nn.Module` has `reads(channels)`, what it reads of its parameters and buffers for so
    many incoming channels, and asks `read(channels)` for it.
    """

    _ahead: "_Ahead | None" = None

    def reads(self, channels: int) -> Sequence[Read | None]:
        raise NotImplementedError

    def read(self, channels: int) -> Sequence[Any]:
        """A tensor for each of `reads`, differentiable where it is learnt; None for None."""
        ahead = self._ahead
        if ahead is not None and ahead.channels == channels and ahead.of.thread == threading.get_ident():
            return ahead.values
        readers: dict[ReadsAhead, int] | None = getattr(_now, "readers", None)
        if readers is not None:
            readers[self] = channels
        return tuple(None if read is None else read.learnt() for read in self.reads(channels))


class _Turn:
    """Whose turn it is to be read.

    Attributes:
        thread: in which it is under way; None: it is over.
    """

    thread: int | None = None


_OVER = _Turn()


class _Ahead:
    """What was read ahead for a layer, for so many channels, in a pass."""

    __slots__ = ("channels", "of", "values")

    def __init__(self) -> None:
        self.put(_OVER, 0, ())

    def put(self, of: _Turn, channels: int, values: Sequence[Any]) -> None:
        self.of, self.channels, self.values = of, channels, values

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Ahead":
        return _Ahead()

    def __reduce__(self) -> tuple[type["_Ahead"], tuple[()]]:
        return _Ahead, ()


class Passes:
    """The passes of a network, by kind: each is looked at once, and from the next of its kind on read ahead."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Pass] = {}
        self._captured: set[_Pass] = set()  # that graphs were captured of, which read what these hold for ever
        self._standing: _Pass | None = None  # the last, if it was without gradients: layers keep what it has read
        self._unchanged, self._current = False, False

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Parameters and buffers stay as they are inside: passes without gradients read once where they are alike."""
        if self._unchanged:
            yield
            return
        self._unchanged, self._current = True, False
        try:
            yield
        finally:
            self._unchanged = False

    @contextmanager
    def of(self, kind: Hashable) -> Iterator[None]:
        """The pass inside is one of this kind.

        Args:
            kind: decides which layers run, and how many channels reach them.
        """
        known = self._known.get(kind)
        if known is None or not (self._is_current(known) or known.holds()):
            with _noted() as readers:
                yield
            if not capturing():  # what is made meanwhile is not there yet
                self._keep(kind, _Pass(readers))
            return
        learning = torch.is_grad_enabled()
        if self._standing is not None and (learning or self._standing is not known):
            self._standing.forget()
            self._standing = None
        if learning or capturing():
            self._read(known, learning)
        else:
            self._stand(known)
        try:
            yield
        finally:
            known.thread = None
            if self._standing is not known:
                known.forget()

    def _read(self, known: "_Pass", learning: bool) -> None:
        """For this pass alone. A graph has what is copied in memory of its own, as layers' copies may be given up."""
        known.read(learning)
        if capturing():
            self._captured.add(known)
            self._standing = None

    def _stand(self, known: "_Pass") -> None:
        """Has the layers keep what a pass without gradients reads."""
        if self._standing is not known:
            known.read(learning=False)
            self._standing = known
        elif self._is_current(known):
            known.begin()
        else:
            known.read_again()
        self._current = True

    def _is_current(self, known: "_Pass") -> bool:
        """Whether the layers have what a pass without gradients would read."""
        return self._unchanged and self._current and self._standing is known and not torch.is_grad_enabled()

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


class _Pass(_Turn):
    """What the layers of a pass read."""

    def __init__(self, readers: dict[ReadsAhead, int]) -> None:
        by_layer = [(layer, channels, layer.reads(channels)) for layer, channels in readers.items()]
        reads = [read for read in chain.from_iterable(reads for _, _, reads in by_layer) if read is not None]
        # Vectors at places are read together: every norm behind a concatenation has four of them.
        vectors = _alike([read for read in reads if read.view.ndim == 1 and read.part.places is not None])
        together = set(vectors)
        others = [read for read in reads if read not in together]
        self._reads = [*vectors, *others]
        self._together = _Together(vectors) if vectors else None
        self._held = [held for layer in readers for held in _held(layer)]
        copied = {read for read in others if read.dense() is not read.view}
        self._copied = [(place, read) for place, read in enumerate(self._reads) if read in copied]
        self._views: list[Tensor | None] = [read.view for read in self._reads]
        place: dict[Read | None, int] = {read: place for place, read in enumerate(self._reads)}
        place[None] = len(self._views)
        self._views.append(None)
        self._layers = [
            _Reader(layer, channels, [place[read] for read in reads]) for layer, channels, reads in by_layer
        ]
        large = {place for place, read in enumerate(self._reads) if read.view.numel() > _SMALL}
        self._learning = [reader for reader in self._layers if not large.intersection(reader.places)]
        self._small = sorted(
            {place for reader in self._learning for place in reader.places if place < len(self._reads)}
        )
        # Of a pass with gradients: copies of what lies there would be kept for the way back, 1.13 times the memory of
        # ResNet-18, and what large layers read they read themselves.
        learnt = set(self._small)
        self._gathered = [(place, read) for place, read in self._copied if read.part.places and place in learnt]
        self._copies: list[Any] = []  # of a pass without gradients
        self._anchor = torch.zeros((), requires_grad=True)

    def holds(self) -> bool:
        """Whether the layers have the parameters and buffers that they had, and those the memory."""
        return all(
            owner.get(name) is tensor and tensor.data_ptr() == address for owner, name, tensor, address in self._held
        )

    def begin(self) -> None:
        """What the layers have of it is for the pass that begins now, in this thread."""
        self.thread = threading.get_ident()

    def read(self, learning: bool) -> None:
        """Gives every layer what it will read, with `learning` differentiable as far as it is learnt."""
        self.begin()
        values = self._views.copy()
        with _plainly():
            if self._together is not None:
                together = self._together.values()
                values[: len(together)] = together
            for place, read in self._gathered if learning else self._copied:
                values[place] = read.values() if learning else read.dense()
        if learning:
            self._learn(values)
        else:
            self._copies = [values[place] for place, _ in self._copied]
        for reader in self._learning if learning else self._layers:
            reader.ahead.put(self, reader.channels, [values[place] for place in reader.places])

    def read_again(self) -> None:
        """As `read` for a pass without gradients after another such, into the memory that the layers have."""
        self.begin()
        with _plainly():
            if self._together is not None:
                self._together.read_again()
            for (_, read), copy in zip(self._copied, self._copies, strict=True):
                read.dense_again(copy)

    def _learn(self, values: list[Tensor | None]) -> None:
        """Makes what is learnt of it differentiable."""
        learnt = [place for place in self._small if self._reads[place].parameter.requires_grad]
        if learnt:
            reads = [self._reads[place] for place in learnt]
            found = _Learnt.apply(self._anchor, reads, [values[place] for place in learnt])
            for place, value in zip(learnt, found, strict=True):
                values[place] = value

    def forget(self) -> None:
        """Leaves the layers nothing of a pass."""
        self._copies = []
        if self._together is not None:
            self._together.forget()
        for reader in self._layers:
            reader.ahead.put(_OVER, 0, ())


def _alike(reads: Sequence[Read]) -> Sequence[Read]:
    """Those of the first's type and device."""
    return [
        read for read in reads if (read.view.dtype, read.view.device) == (reads[0].view.dtype, reads[0].view.device)
    ]


def _held(layer: ReadsAhead) -> Iterator[tuple[dict[str, Any], str, Tensor, int]]:
    """Where a layer has each of its parameters and buffers, its name there, itself, and its address."""
    assert isinstance(layer, nn.Module)
    for module in layer.modules():
        for owner in (module._parameters, module._buffers):
            for name, tensor in owner.items():
                if tensor is not None:
                    yield owner, name, tensor, tensor.data_ptr()


@contextmanager
def _plainly() -> Iterator[None]:
    """What is made inside has no gradient, and can be used in any mode."""
    with torch.inference_mode(False), torch.no_grad():
        yield


class _Reader:
    """A layer, and the places of what it reads among all that is read."""

    __slots__ = ("ahead", "channels", "places")

    def __init__(self, layer: ReadsAhead, channels: int, places: Sequence[int]) -> None:
        self.ahead: _Ahead = vars(layer).setdefault("_ahead", _Ahead())
        self.channels, self.places = channels, places


class _Together:
    """Entries at places of many vectors, read as of one."""

    def __init__(self, reads: Sequence[Read]) -> None:
        self._vectors = [read.view for read in reads]
        starts = accumulate(map(len, self._vectors), initial=0)
        indices = [read.part.places.indices for read in reads if read.part.places is not None]
        self._indices = torch.cat([each + start for each, start in zip(indices, starts, strict=False)])
        self._lengths = [len(each) for each in indices]
        self._whole, self._entries = torch.empty(0), torch.empty(0)

    def values(self) -> Sequence[Tensor]:
        self._whole = torch.cat(self._vectors)
        self._entries = self._whole.index_select(0, self._indices)
        entries: Sequence[Tensor] = self._entries.split(self._lengths)
        return entries

    def read_again(self) -> None:
        """Into the memory of the last `values`."""
        torch.cat(self._vectors, out=self._whole)
        torch.index_select(self._whole, 0, self._indices, out=self._entries)

    def forget(self) -> None:
        """Gives up that memory, as far as nobody else has it."""
        self._whole, self._entries = torch.empty(0), torch.empty(0)


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
