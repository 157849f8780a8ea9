"""Launches the programs of `triton_conv`: convolutions behind their norms, forward and back, on maps of a batch.

How much of a map one program holds follows from the shape of the map and from how many images there are.
"""

import math
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from trainers.accelerated import triton_conv as programs
from trainers.accelerated.additions import Additions
from trainers.accelerated.norm import EPS
from trainers.accelerated.replicas import Replicas

_ROOM = 16  # channels: the least a matrix unit takes
_WIDEST = 64  # channels of a program
_TILE = 8192  # numbers of a program, in its registers
_SUMMED, _FEW = 1024, 8  # rows that are added up at once, of so many channels: there are few programs to do it
_WARPS, _STAGES, _LONG = 4, 1, 8  # per program; loops of more turns than _LONG are pipelined
_ROWS = 64  # channels times taps: what matrix units take at once
_LARGE = 256  # pixels, of images that have enough of them for a weight's partial sums of their own
_FILLING = 256  # programs, that occupy a device: with more of them each does several tiles
_PROGRAMS, _PARTIAL = 512, 1 << 18  # of a weight's gradient: about so many, and at most so many numbers written


@dataclass(frozen=True)
class Map:
    """Activations of a batch, and what the norm behind them needs.

    Attributes:
        data: (images, height · width, room) bf16, zero beyond `channels`.
        channels: that mean something.
        height, width: in pixels.
        replicas: whose images they are, as many of each in turn; None: of one network.
        mean, variance: (images, parts, room) fp32, of parts of equal size of every image's channels.
    """

    data: Tensor
    channels: int
    height: int
    width: int
    replicas: Replicas | None
    mean: Tensor | None = None
    variance: Tensor | None = None

    @property
    def count(self) -> int:
        """Of replicas."""
        return 1 if self.replicas is None else len(self.replicas)

    @property
    def each(self) -> int:
        """Images of a replica: the only number of images on which tiles and sums may depend."""
        return self.images // self.count

    @property
    def whose(self) -> tuple[Tensor | None, int]:
        """What programs find their image's replica by."""
        return (None, 0) if self.replicas is None else (self.replicas.apart, self.each)

    @property
    def images(self) -> int:
        return self.data.shape[0]

    @property
    def room(self) -> int:
        return self.data.shape[2]

    @property
    def pixels(self) -> int:
        return self.height * self.width


@dataclass(frozen=True)
class Norm:
    """How a map is normalised.

    Attributes:
        weight, bias: (≥ channels,) fp32, the parameters themselves; of replicas the first one's.
        mean, variance: (images, parts, room) per image; (≥ channels,) for all of them; (replicas, room) for each's.
        whole: the same of whole images, (images, 1, room); written by the first that normalises, where there are parts.
        share: images in a row that are normalised by the same moments; 1, too, where all are.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor
    whole: tuple[Tensor, Tensor]
    share: int = 1

    @classmethod
    def of_images(cls, weight: Tensor, bias: Tensor, x: Map) -> "Norm":
        """InstanceNorm of `x`."""
        assert x.mean is not None
        assert x.variance is not None
        whole = x.mean, x.variance
        if x.mean.shape[1] > 1:
            mean, variance = torch.empty(2, x.images, 1, x.room, device=x.mean.device)
            whole = mean, variance
        return cls(weight, bias, x.mean, x.variance, whole)

    @classmethod
    def of_batch(cls, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, share: int = 1) -> "Norm":
        """BatchNorm by these moments."""
        return cls(weight, bias, mean, variance, (mean, variance), share)

    @property
    def instance(self) -> bool:
        """Whether every image has moments of its own."""
        return self.mean.ndim == 3

    @property
    def stride(self) -> int:
        """From one image's, or replica's, moments to the next one's."""
        return self.mean.stride(0) if self.mean.ndim > 1 else 0

    @property
    def whole_stride(self) -> int:
        """The same of the moments of whole images."""
        return self.whole[0].stride(0) if self.mean.ndim > 1 else 0

    @property
    def parts(self) -> int:
        return self.mean.shape[1] if self.instance else 1

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """What normalising takes."""
        return self.mean, self.variance, self.weight, self.bias, *self.whole

    @property
    def operands_back(self) -> tuple[Tensor, ...]:
        """What the way back takes, once it has been normalised."""
        return *self.whole, self.weight, self.bias


@dataclass(frozen=True)
class Weight:
    """A convolution's prefix of a parameter, and how it is applied.

    Attributes:
        full: (outputs, inputs, K, K) fp32, the parameter itself.
        outputs: that are kept; inputs follow the map.
    """

    full: Tensor
    outputs: int
    stride: int
    padding: int


def lift(x: Tensor, replicas: Replicas | None) -> Map:
    """The network's input `(images, channels, height, width)` as a map; of replicas one after another."""
    images, channels, height, width = x.shape
    room, pixels = _room(channels), height * width
    data = torch.empty(images, pixels, room, device=x.device, dtype=programs.NUMBERS)
    by_image, by_channel, by_row, by_column = x.stride()
    if by_row != width * by_column:
        raise ValueError("the rows of an image must follow one another")
    p = min(_power(pixels), 256)
    programs.lift[(images, triton.cdiv(pixels, p))](
        x, data, channels, room, pixels, by_image, by_channel, by_column, p, _power(room), num_warps=_WARPS
    )
    return Map(data, channels, height, width, replicas)


def convolve(
    x: Map,
    weight: Weight,
    norm: Norm | None,
    add: Map | None = None,
    project: tuple[Map, Weight] | None = None,
) -> tuple[Map, Map | None]:
    """The convolution of `x`, normalised and rectified if there is a norm, plus another branch.

    Args:
        add: the other branch, or
        project: what becomes it by a 1×1 convolution.

    Returns:
        the convolution; and `x` normalised and rectified, where that is done once and not anew for every tap.
    """
    k, w, source, rectified = weight.full.shape[2], weight.full, x, None
    if norm is not None and k > 1:
        source, norm = (rectified := rectify(x, norm)), None
    height, width = ((side + 2 * weight.padding - k) // weight.stride + 1 for side in (x.height, x.width))
    pixels, room = height * width, _room(weight.outputs)
    y = torch.empty(x.images, pixels, room, device=x.data.device, dtype=programs.NUMBERS)
    p, bo = _tiles(pixels, room)
    parts, blocks, tiles = triton.cdiv(pixels, p), triton.cdiv(room, bo), 1
    if k == 1 and weight.stride == 1 and max(x.room, project[0].room if project else 0) <= _WIDEST:
        tiles = _in_turn(x.each, parts, blocks)
    mean, variance = torch.empty(2, x.images, parts // tiles, room, device=x.data.device).unbind()
    branch, how, beside, side, geometry = x.data, "none", (0, 0, 0, 0), w, (1, 1, 1)
    if add is not None:
        branch, how = add.data, "added"
    if project is not None:
        (projected, second), how = project, "projected"
        branch, side, geometry = projected.data, second.full, (second.stride, projected.height, projected.width)
        beside = projected.channels, projected.room, second.full.stride(0), second.full.stride(1)
    tensors = source.data, w, branch, side, y, *(norm.operands if norm else (x.data,) * 6), mean, variance
    sizes = x.channels, x.room, weight.outputs, room, norm.stride if norm else 0
    normed, share = (norm is not None, norm.parts if norm else 1), norm.share if norm else 1
    out = Map(y, weight.outputs, height, width, x.replicas, mean, variance)
    if tiles > 1:
        programs.pointwise[(x.images, parts // tiles, blocks)](
            *tensors, *sizes, w.stride(0), w.stride(1), *beside, EPS, *x.whose, share, pixels, width, *normed, how,
            *geometry, tiles, p, _channels(x.room), bo, _channels(project[0].room) if project else _ROOM,
            num_warps=_WARPS, num_stages=_STAGES,
        )  # fmt: skip
        return out, rectified
    programs.convolve[(x.images, parts, blocks)](
        *tensors, *sizes, *w.stride(), *beside, EPS, *x.whose, share, x.height, x.width, height, width, k,
        weight.stride, weight.padding, *normed, how, *geometry, p, _channels(x.room), bo, num_warps=_WARPS,
        num_stages=_STAGES,
    )  # fmt: skip
    return out, rectified


def rectify(x: Map, norm: Norm) -> Map:
    """`x` normalised and rectified."""
    y, (p, c) = torch.empty_like(x.data), _tiles(x.pixels, x.room)
    programs.rectify[(x.images, triton.cdiv(x.pixels, p), triton.cdiv(x.room, c))](
        x.data, y, *norm.operands, x.channels, x.room, norm.stride, EPS, *x.whose, norm.share, x.pixels, norm.parts,
        p, c, num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    return Map(y, x.channels, x.height, x.width, x.replicas)


def convolve_back(
    dy: Tensor, y: Map, x: Map, weight: Weight, norm: Norm | None, additions: Additions, skip: Tensor | None = None
) -> Tensor:
    """The gradient of `x` from that of `y = convolve(x, …)`, plus that of a branch around it; and the affine's.

    And the weight's, if it `carries_weight`.
    """
    if norm is not None and carries_weight(y, x, weight, norm):
        return _pointwise_back(dy, y, x, weight, norm, additions, skip)
    k, dx = weight.full.shape[2], torch.empty_like(x.data)
    whole = norm is not None and norm.instance and _fits(x)
    p, bi = (_power(x.pixels), _held(x)) if whole else _tiles(x.pixels, x.room)
    parts = triton.cdiv(x.pixels, p)
    sums = additions.room((2, x.images * parts, x.room), dx.device) if norm else None
    programs.convolve_back[(x.images, parts, triton.cdiv(x.room, bi))](
        dy, weight.full, x.data, dy if skip is None else skip, dx, *(norm.operands_back if norm else (dy,) * 4),
        *(dy, dy) if sums is None else sums, x.channels, x.room, y.channels, y.room, norm.whole_stride if norm else 0,
        *weight.full.stride(), EPS, *x.whose, norm.share if norm else 1, x.height, x.width, y.height, y.width, k,
        weight.stride, weight.padding, norm is not None, whole, skip is not None, p, bi,
        max(_ROOM, min(_channels(y.room), _TILE // p)),
        num_warps=_WARPS if p * bi <= _TILE else 2 * _WARPS, num_stages=_STAGES,
    )  # fmt: skip
    if norm is None or sums is None:
        return dx
    if whole:
        additions.to_affine(sums, (norm.weight, norm.bias), x.channels, x.replicas)
        return dx
    return _behind_norm(dx, x, norm, sums, parts, additions, skip)


def carries_weight(y: Map, x: Map, weight: Weight, norm: Norm | None) -> bool:
    """Whether the weight's gradient comes with that of `x`: of 1×1 kernels on images that are held in parts."""
    if norm is None or weight.full.shape[2] > 1 or weight.stride > 1 or (norm.instance and _fits(x)):
        return False
    few = y.room <= 2 * _WIDEST and x.room * y.room <= _WIDEST**2
    return few and x.pixels == _power(x.pixels) >= _LARGE


def _pointwise_back(
    dy: Tensor, y: Map, x: Map, weight: Weight, norm: Norm, additions: Additions, skip: Tensor | None
) -> Tensor:
    bi, bo, dx = _channels(x.room), _power(y.room), torch.empty_like(x.data)
    p, blocks = min(x.pixels, max(64, _TILE // (2 * max(bi, bo))), 128), triton.cdiv(x.room, bi)
    tiles = _in_turn(x.each, x.pixels // p, blocks)
    parts = x.pixels // (p * tiles)
    sums = additions.room((2, x.images * parts, x.room), dx.device)
    partial = additions.room((x.images * parts, 1, 1, x.room, y.room), dx.device)
    programs.pointwise_back[(x.images, parts, blocks)](
        dy, weight.full, x.data, dx, partial, *norm.operands_back, *sums, x.channels, x.room, y.channels, y.room,
        norm.whole_stride, weight.full.stride(0), weight.full.stride(1), EPS, *x.whose, norm.share, x.pixels, tiles, p,
        bi, bo, num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    additions.to_weight(partial, weight.full, weight.outputs, x.channels, x.replicas)
    return _behind_norm(dx, x, norm, sums, parts, additions, skip)


def pool(x: Map, norm: Norm) -> Map:
    """The mean over all pixels of `x`, normalised and rectified; a few images become the pixels of one of the map's."""
    pooled = torch.empty(x.images, x.room, device=x.data.device, dtype=programs.NUMBERS)
    c = _held(x)
    programs.pool[(x.images, triton.cdiv(x.room, c))](
        x.data, pooled, *norm.operands, x.channels, x.room, norm.stride, EPS, *x.whose, norm.share, x.pixels,
        norm.parts, _power(x.pixels), c, num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    pixels = math.gcd(x.each, _ROOM)
    return Map(pooled.view(-1, pixels, x.room), x.channels, pixels, 1, x.replicas)


def pool_back(by_pooled: Tensor, x: Map, norm: Norm, additions: Additions) -> Tensor:
    """The gradient of `x` from that of the data of `pool(x, norm)`; and the affine's."""
    dx, sums = torch.empty_like(x.data), additions.room((2, x.images, x.room), x.data.device)
    c = _held(x)
    programs.pool_back[(x.images, triton.cdiv(x.room, c))](
        by_pooled, x.data, dx, *norm.operands_back, *sums, x.channels, x.room, norm.whole_stride, EPS, *x.whose,
        norm.share, x.pixels, norm.instance, _power(x.pixels), c, num_warps=_WARPS,
    )  # fmt: skip
    if norm.instance:
        additions.to_affine(sums, (norm.weight, norm.bias), x.channels, x.replicas)
        return dx
    return _behind_norm(dx, x, norm, sums, 1, additions, None)


def _behind_norm(
    g: Tensor, x: Map, norm: Norm, sums: Tensor, parts: int, additions: Additions, skip: Tensor | None
) -> Tensor:
    """The gradient of `x` from that behind its norm; and the affine's."""
    count, dx = x.pixels, torch.empty_like(g)
    if not norm.instance:
        total, rows = additions.room((2, x.count, x.room), g.device), sums.shape[1] // x.count
        programs.batch_sums[(triton.cdiv(x.room, _FEW), 2, x.count)](
            sums, total, rows, sums.stride(0), x.room, x.whose[1], min(_power(rows), _SUMMED), _FEW, num_warps=_WARPS
        )
        sums, parts, count = total, 1, x.each * x.pixels
    additions.to_affine(sums, (norm.weight, norm.bias), x.channels, x.replicas)
    p, c = _tiles(x.pixels, x.room)
    sums_stride = parts * x.room if norm.mean.ndim > 1 else 0
    programs.through_norm[(x.images, triton.cdiv(x.pixels, p), triton.cdiv(x.room, c))](
        g, x.data, g if skip is None else skip, dx, *norm.whole, norm.weight, *sums, count,
        x.channels, x.room, norm.whole_stride, sums_stride, EPS, *x.whose, norm.share, x.pixels, parts,
        skip is not None, p, c, num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    return dx


def batch_moments(
    x: Map, running: tuple[Tensor, Tensor], momentum: float, later: Additions | None
) -> tuple[Tensor, Tensor]:
    """Mean and variance of the batch, (room,) each; the `running` ones move in place, or with what is added later.

    Of replicas (replicas, room) each.
    """
    assert x.mean is not None
    device, rows = x.data.device, x.each * x.mean.shape[1]
    size = (3, x.room) if x.replicas is None else (3, x.count, x.room)
    own = torch.empty(size, device=device) if later is None else later.room(size, device)
    mean, variance, unbiased = own.unbind()
    programs.batch_moments[(triton.cdiv(x.room, _FEW), x.count)](
        x.mean, x.variance, mean, variance, unbiased, *running, rows, x.each * x.pixels, x.channels, x.room, momentum,
        *x.whose, later is None, min(_power(rows), _SUMMED), _FEW, num_warps=_WARPS, num_stages=_STAGES,
        enable_fp_fusion=False,  # or running moments would be rounded otherwise here than where they move later
    )  # fmt: skip
    if later is not None:
        for moment, moved in zip((mean, unbiased), running, strict=True):
            later.to_running(moment, moved, x.channels, momentum, x.replicas)
    return mean, variance


def weight_gradient(dy: Tensor, y: Map, x: Map, weight: Weight, norm: Norm | None, additions: Additions) -> None:
    """The gradient of a convolution's weight from that of `y = convolve(x, …)`."""
    k, images = weight.full.shape[2], x.each
    bi, bo = _channels(x.room), _channels(y.room)
    taps = max(1, _ROWS // bi) if k > 1 else 1
    blocks = triton.cdiv(k * k, taps) * triton.cdiv(x.room, bi), triton.cdiv(y.room, bo)
    bp = min(_power(y.pixels), max(_ROOM, _TILE // max(taps * bi, bo)), 256)
    wanted = min(_PROGRAMS // (blocks[0] * blocks[1]), _PARTIAL // (k * k * x.room * y.room))
    pieces = max(1, min(wanted // images, y.pixels // bp))
    per = triton.cdiv(images, max(1, min(images, wanted)))
    splits = x.count * triton.cdiv(images, per) * pieces
    partial = additions.room((splits, k, k, x.room, y.room), dy.device)
    programs.weight_gradient[(splits, *blocks)](
        x.data, dy, partial, *(norm.operands_back if norm else (dy,) * 4), images, per, x.channels, x.room, y.room,
        norm.whole_stride if norm else 0, EPS, *x.whose, norm.share if norm else 1, x.height, x.width, y.height,
        y.width, k, weight.stride, weight.padding, norm is not None, pieces, taps, bp, bi, bo, num_warps=_WARPS,
        num_stages=3 if per * triton.cdiv(y.pixels, bp * pieces) > _LONG else _STAGES,
    )  # fmt: skip
    additions.to_weight(partial, weight.full, weight.outputs, x.channels, x.replicas)


def _power(count: int) -> int:
    return max(_ROOM, 1 << (count - 1).bit_length())


def _room(channels: int) -> int:
    return -(-channels // _ROOM) * _ROOM


def _channels(room: int) -> int:
    return min(_power(room), _WIDEST)


def _held(x: Map) -> int:
    """Channels of a program that holds all pixels of an image."""
    return max(_ROOM, min(_channels(x.room), _TILE // _power(x.pixels)))


def _fits(x: Map) -> bool:
    """Whether a program can hold all pixels of an image, so that InstanceNorm's way back needs no second kernel."""
    return _power(x.pixels) * _held(x) <= _TILE


def _tiles(pixels: int, room: int) -> tuple[int, int]:
    """Pixels and channels of a program. The pixels divide the image's, or are all of them."""
    if _power(pixels) != pixels:
        return _power(pixels), max(_ROOM, min(_channels(room), _TILE // _power(pixels)))
    channels = _channels(room)
    return min(pixels, _TILE // channels, 256), channels


def _in_turn(images: int, parts: int, blocks: int) -> int:
    """Tiles that a program does one after the other."""
    tiles = 1
    while parts % (2 * tiles) == 0 and images * (parts // (2 * tiles)) * blocks >= _FILLING:
        tiles *= 2
    return tiles
