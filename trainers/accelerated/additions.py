"""What a pass adds: partial sums of gradients, and moments, where a captured pass finds them; added by one kernel."""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from trainers.accelerated.replicas import Replicas
from trainers.accelerated.triton_parts import move

_WEIGHTS, _FEW, _CHANNELS = 128, 32, 16  # that a program adds up
_SPLITS, _MANY, _PARTS = 32, 128, 256  # partial sums of each that it adds at once
_FIELDS = 12  # what it must know of them
_BLOCKS = 64  # of channels, that a launch has at the most
_SPACE, _ALIGNED = 1 << 24, 64  # numbers: partial sums are given room in pieces of so many, each at such an address
_OF_WEIGHT, _OF_AFFINE, _OF_RUNNING = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)  # kinds of what is added
_OF_SPLIT = tl.constexpr(3)  # a weight of many partial sums


@triton.jit  # type: ignore[untyped-decorator]
def _add_weight(row, block, partial, g, count, cin, cin_room, S: tl.constexpr, B: tl.constexpr):  # type: ignore[no-untyped-def]
    """Adds the partial sums of B weights, S of each at once."""
    cout, cout_room = tl.load(row + 5).to(tl.int32), tl.load(row + 6).to(tl.int32)
    g_o, g_i = tl.load(row + 7).to(tl.int32), tl.load(row + 8).to(tl.int32)
    g_h, g_w = tl.load(row + 9).to(tl.int32), tl.load(row + 10).to(tl.int32)
    k = tl.load(row + 11).to(tl.int32)
    s, e, size = tl.arange(0, S), block * B + tl.arange(0, B), k * k * cin_room * cout_room
    o, c, tap = e % cout_room, (e // cout_room) % cin_room, e // (cout_room * cin_room)
    known, total = (e < size) & (o < cout) & (c < cin), tl.zeros((B,), tl.float32)
    for start in range(0, count, S):
        splits, inside = (start + s)[:, None] * size, (start + s < count)[:, None] & known[None, :]
        total += tl.sum(tl.load(partial + splits + e[None, :], mask=inside, other=0.0), 0)
    at = g + o * g_o + c * g_i + (tap // k) * g_h + (tap % k) * g_w
    tl.store(at, tl.load(at, mask=known, other=0.0) + total, mask=known)


@triton.jit  # type: ignore[untyped-decorator]
def _add_up(  # type: ignore[no-untyped-def]
    table, blocks, FIELDS: tl.constexpr, SPLITS: tl.constexpr, WEIGHTS: tl.constexpr, MANY: tl.constexpr,
    FEW: tl.constexpr, PARTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Adds all partial sums of a pass to the gradients that they belong to, and moves running moments."""
    row = table + tl.load(blocks + 3 * tl.program_id(0)) * FIELDS
    block, kind = tl.load(blocks + 3 * tl.program_id(0) + 1), tl.load(blocks + 3 * tl.program_id(0) + 2)
    partial, g = tl.load(row).to(tl.pointer_type(tl.float32)), tl.load(row + 1).to(tl.pointer_type(tl.float32))
    count, cin = tl.load(row + 2).to(tl.int32), tl.load(row + 3).to(tl.int32)
    cin_room = tl.load(row + 4).to(tl.int32)
    if kind == _OF_RUNNING:
        channel = block * CHANNELS + tl.arange(0, CHANNELS)
        momentum = tl.load(row + 5).to(tl.int32).to(tl.float32, bitcast=True)
        move(g, tl.load(partial + channel, mask=channel < cin, other=0.0), momentum, channel, channel < cin)
    elif kind == _OF_AFFINE:
        r, channel = tl.arange(0, PARTS), block * CHANNELS + tl.arange(0, CHANNELS)
        real, sums = channel < cin, tl.zeros((CHANNELS,), tl.float32)
        for first in range(0, count, PARTS):
            parts, there = (first + r)[:, None] * cin_room, (first + r < count)[:, None] & real[None, :]
            sums += tl.sum(tl.load(partial + parts + channel[None, :], mask=there, other=0.0), 0)
        tl.store(g + channel, tl.load(g + channel, mask=real, other=0.0) + sums, mask=real)
    elif kind == _OF_SPLIT:
        _add_weight(row, block, partial, g, count, cin, cin_room, MANY, FEW)
    else:
        _add_weight(row, block, partial, g, count, cin, cin_room, SPLITS, WEIGHTS)


class Additions:
    """What a pass adds to the parameters' gradients: partial sums at first, then all added where they belong at once.

    And, where they are not to move yet, the moments by which running ones will. Partial sums lie at the same addresses
    in every pass, and what belongs where is told to the device once per sub-model, so a pass that has been made once
    can be captured.
    """

    def __init__(self) -> None:
        self._spaces: list[Tensor] = []
        self._tables: dict[tuple[tuple[int, ...], ...], tuple[Tensor, Tensor]] = {}
        self._space, self._used = 0, 0
        self._counters: Tensor | None = None
        self._rows: list[tuple[int, ...]] = []
        self._blocks: list[tuple[int, int, int]] = []

    def begin(self) -> None:
        """A pass begins, and uses the memory of the one before."""
        self._space, self._used = 0, 0
        self._rows.clear()
        self._blocks.clear()

    def room(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Room for partial sums, as it comes."""
        size = -(-math.prod(shape) // _ALIGNED) * _ALIGNED
        while True:
            if self._space == len(self._spaces):
                self._spaces.append(torch.empty(max(size, _SPACE), device=device))
            space = self._spaces[self._space]
            if self._used + size <= len(space):
                break
            self._space, self._used = self._space + 1, 0
        self._used += size
        return space[self._used - size :][: math.prod(shape)].view(shape)

    def to_weight(self, partial: Tensor, parameter: Tensor, outputs: int, cin: int, replicas: Replicas | None) -> None:
        """`partial: (splits, K, K, input room, output room)` adds up to the gradient of `parameter[:outputs, :cin]`.

        Of replicas, here and below, there are as many partial sums each, in turn; the parameter is the first one's.
        """
        _, k, _, cin_room, cout_room = partial.shape
        for own, of_one in _of_each(partial, parameter, replicas):
            gradient, splits = _gradient(of_one), len(own)
            kind, each = (_OF_SPLIT, _FEW) if splits > 2 * _SPLITS else (_OF_WEIGHT, _WEIGHTS)
            self._row(
                (own.data_ptr(), gradient.data_ptr(), splits, cin, cin_room, outputs, cout_room,
                 *gradient.stride(), k), triton.cdiv(own[0].numel(), each), kind,
            )  # fmt: skip

    def to_affine(self, sums: Tensor, affine: tuple[Tensor, Tensor], channels: int, replicas: Replicas | None) -> None:
        """`sums: (2, parts, room)` add up to the gradients of an affine's weight and bias."""
        for partial, parameter in zip(sums, affine, strict=True):
            for own, of_one in _of_each(partial, parameter, replicas):
                rows, room = own.shape
                row = (own.data_ptr(), _gradient(of_one).data_ptr(), rows, channels, room)
                self._row(row, triton.cdiv(room, _CHANNELS), _OF_AFFINE)

    def to_running(
        self, moment: Tensor, running: Tensor, channels: int, momentum: float, replicas: Replicas | None
    ) -> None:
        """`running` moves towards `moment: (room,)`, by a share of `momentum` of the way."""
        (share,) = struct.unpack("<i", struct.pack("<f", momentum))
        for own, of_one in _of_each(moment.view(-1, moment.shape[-1]), running, replicas):
            row = (own.data_ptr(), of_one.data_ptr(), 1, channels, own.shape[-1], share)
            self._row(row, triton.cdiv(own.shape[-1], _CHANNELS), _OF_RUNNING)

    def counters(self, device: torch.device, replicas: int) -> Tensor:
        """Zeros, int32, which whoever counts leaves at zero: enough for the programs of any one launch of this lane."""
        if self._counters is None:
            self._counters = torch.zeros(replicas * _BLOCKS, dtype=torch.int32, device=device)
        return self._counters

    def _row(self, row: tuple[int, ...], blocks: int, kind: tl.constexpr) -> None:
        self._blocks += [(len(self._rows), block, kind.value) for block in range(blocks)]
        self._rows.append((*row, *(0,) * (_FIELDS - len(row))))

    def due(self) -> "Due":
        """What has been noted since this was asked last, fixed: it stays what it is when another pass begins."""
        key, device = tuple(self._rows), self._spaces[0].device
        if key not in self._tables:
            rows = torch.tensor(self._rows, dtype=torch.int64, device=device)
            self._tables[key] = rows, torch.tensor(self._blocks, dtype=torch.int32, device=device)
        self._rows.clear()
        self._blocks.clear()
        return Due(*self._tables[key])


@dataclass(frozen=True)
class Due:
    """What a pass, or a part of one, adds."""

    rows: Tensor
    blocks: Tensor

    def add_up(self) -> None:
        """Adds it, and moves what is to move: once."""
        sizes = _FIELDS, _SPLITS, _WEIGHTS, _MANY, _FEW, _PARTS, _CHANNELS
        _add_up[(len(self.blocks),)](self.rows, self.blocks, *sizes, num_warps=4)


def _of_each(parts: Tensor, parameter: Tensor, replicas: Replicas | None) -> Iterable[tuple[Tensor, Tensor]]:
    """Every replica's parts, and its own parameter."""
    if replicas is None:
        return [(parts, parameter)]
    return zip(parts.chunk(len(replicas)), replicas.alike[parameter], strict=True)


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
