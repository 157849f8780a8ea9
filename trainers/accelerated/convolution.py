"""Launches the programs of `triton_conv` and `triton_conv_back`: convolutions of maps, behind their norms."""

from dataclasses import replace

import torch
import triton
from torch import Tensor

from trainers.accelerated import tiles
from trainers.accelerated import triton_conv as programs
from trainers.accelerated import triton_conv_back as programs_back
from trainers.accelerated.additions import Additions
from trainers.accelerated.map_norm import behind_norm, rectify, room_for_sums
from trainers.accelerated.maps import Behind, Map, Norm, Weight
from trainers.accelerated.norm import EPS
from trainers.accelerated.triton_parts import NUMBERS

_LONG = 8  # turns of a loop: longer ones are pipelined
_ROWS = 64  # channels times taps: what matrix units take at once
_LARGE = 256  # pixels, of images that have enough of them for a weight's partial sums of their own
_PROGRAMS, _PARTIAL = 512, 1 << 18  # of a weight's gradient: about so many, and at most so many numbers written


def convolve(
    x: Map,
    weight: Weight,
    norm: Norm | None,
    add: Map | None = None,
    project: tuple[Map, Weight] | None = None,
    behind: Behind | None = None,
) -> tuple[Map, Map | None]:
    """The convolution of `x`, normalised and rectified if there is a norm, plus another branch.

    Args:
        add: the other branch, or
        project: what becomes it by a 1×1 convolution.
        behind: the BatchNorm whose moments are joined along with it, if it has counters.

    Returns:
        the convolution; and `x` normalised and rectified, where that is done once and not anew for every tap.
    """
    k, w, source, rectified = weight.full.shape[2], weight.full, x, None
    if norm is not None and k > 1:
        source, norm = (rectified := rectify(x, norm)), None
    height, width = ((side + 2 * weight.padding - k) // weight.stride + 1 for side in (x.height, x.width))
    pixels, room = height * width, tiles.room(weight.outputs)
    y = torch.empty(x.images, pixels, room, device=x.data.device, dtype=NUMBERS)
    p, bo = tiles.tile(pixels, room)
    parts, blocks, turns = triton.cdiv(pixels, p), triton.cdiv(room, bo), 1
    if k == 1 and weight.stride == 1 and max(x.room, project[0].room if project else 0) <= tiles.WIDEST:
        turns = tiles.in_turn(x.each, parts, blocks)
    mean, variance = torch.empty(2, x.images, parts // turns, room, device=x.data.device).unbind()
    branch, how, beside, side, geometry = x.data, "none", (0, 0, 0, 0), w, (1, 1, 1)
    if add is not None:
        branch, how = add.data, "added"
    if project is not None:
        (projected, second), how = project, "projected"
        branch, side, geometry = projected.data, second.full, (second.stride, projected.height, projected.width)
        beside = projected.channels, projected.room, second.full.stride(0), second.full.stride(1)
    out = Map(y, weight.outputs, height, width, x.replicas, mean, variance)
    joined: tuple[Tensor | None, ...] = (None,) * 4
    momentum, joining = 0.0, (False, False, 0)
    if behind is not None and behind.counters is not None:
        place, momentum = behind.place(out), behind.momentum
        joined, joining = (place, *behind.running, behind.counters), (True, behind.later is None, tiles.AT_ONCE // bo)
        out = replace(out, batch=behind.moments(out, place))
    tensors = source.data, w, branch, side, y, *(norm.operands if norm else (x.data,) * 6), mean, variance, *joined
    sizes = x.channels, x.room, weight.outputs, room, norm.stride if norm else 0
    normed, share = (norm is not None, norm.parts if norm else 1), norm.share if norm else 1
    if turns > 1:
        programs.pointwise[(x.images, parts // turns, blocks)](
            *tensors, *sizes, w.stride(0), w.stride(1), *beside, momentum, EPS, *x.whose, *joining, share, pixels,
            width, *normed, how, *geometry, turns, p, tiles.channels(x.room), bo,
            tiles.channels(project[0].room) if project else tiles.LEAST, num_warps=tiles.WARPS, num_stages=tiles.STAGES,
        )  # fmt: skip
        return out, rectified
    programs.convolve[(x.images, parts, blocks)](
        *tensors, *sizes, *w.stride(), *beside, momentum, EPS, *x.whose, *joining, share, x.height, x.width, height,
        width, k, weight.stride, weight.padding, *normed, how, *geometry, p, tiles.channels(x.room), bo,
        num_warps=tiles.WARPS, num_stages=tiles.STAGES,
    )  # fmt: skip
    return out, rectified


def convolve_back(
    dy: Tensor, y: Map, x: Map, weight: Weight, norm: Norm | None, additions: Additions, skip: Tensor | None = None
) -> Tensor:
    """The gradient of `x` from that of `y = convolve(x, …)`, plus that of a branch around it; and the affine's.

    And the weight's, if it `carries_weight`.
    """
    if norm is not None and carries_weight(y, x, weight, norm):
        return _pointwise_back(dy, y, x, weight, norm, additions, skip)
    k, dx = weight.full.shape[2], torch.empty_like(x.data)
    whole = norm is not None and norm.instance and tiles.fits(x)
    p, bi = (tiles.power(x.pixels), tiles.held(x)) if whole else tiles.tile(x.pixels, x.room)
    parts = triton.cdiv(x.pixels, p)
    sums = additions.room((2, x.images * parts, x.room), dx.device) if norm else None
    joined, counters = room_for_sums(x, norm, additions)
    programs_back.convolve_back[(x.images, parts, triton.cdiv(x.room, bi))](
        dy, weight.full, x.data, dy if skip is None else skip, dx, *(norm.operands_back if norm else (dy,) * 4),
        *(dy, dy) if sums is None else sums, joined, counters, x.channels, x.room, y.channels, y.room,
        norm.whole_stride if norm else 0, *weight.full.stride(), EPS, *x.whose, joined is not None, tiles.AT_ONCE // bi,
        norm.share if norm else 1, x.height, x.width, y.height, y.width, k, weight.stride, weight.padding,
        norm is not None, whole, skip is not None, p, bi,
        max(tiles.LEAST, min(tiles.channels(y.room), tiles.TILE // p)),
        num_warps=tiles.WARPS if p * bi <= tiles.TILE else 2 * tiles.WARPS, num_stages=tiles.STAGES,
    )  # fmt: skip
    if norm is None or sums is None:
        return dx
    if whole:
        additions.to_affine(sums, (norm.weight, norm.bias), x.channels, x.replicas)
        return dx
    return behind_norm(dx, x, norm, sums, joined, parts, additions, skip)


def carries_weight(y: Map, x: Map, weight: Weight, norm: Norm | None) -> bool:
    """Whether the weight's gradient comes with that of `x`: of 1×1 kernels on images that are held in parts."""
    if norm is None or weight.full.shape[2] > 1 or weight.stride > 1 or (norm.instance and tiles.fits(x)):
        return False
    few = y.room <= 2 * tiles.WIDEST and x.room * y.room <= tiles.WIDEST**2
    return few and x.pixels == tiles.power(x.pixels) >= _LARGE


def _pointwise_back(
    dy: Tensor, y: Map, x: Map, weight: Weight, norm: Norm, additions: Additions, skip: Tensor | None
) -> Tensor:
    bi, bo, dx = tiles.channels(x.room), tiles.power(y.room), torch.empty_like(x.data)
    p, blocks = min(x.pixels, max(64, tiles.TILE // (2 * max(bi, bo))), 128), triton.cdiv(x.room, bi)
    turns = tiles.in_turn(x.each, x.pixels // p, blocks)
    parts = x.pixels // (p * turns)
    sums = additions.room((2, x.images * parts, x.room), dx.device)
    partial = additions.room((x.images * parts, 1, 1, x.room, y.room), dx.device)
    joined, counters = room_for_sums(x, norm, additions)
    programs_back.pointwise_back[(x.images, parts, blocks)](
        dy, weight.full, x.data, dx, partial, *norm.operands_back, *sums, joined, counters, x.channels, x.room,
        y.channels, y.room, norm.whole_stride, weight.full.stride(0), weight.full.stride(1), EPS, *x.whose,
        joined is not None, tiles.AT_ONCE // bi, norm.share, x.pixels, turns, p,
        bi, bo, num_warps=tiles.WARPS, num_stages=tiles.STAGES,
    )  # fmt: skip
    additions.to_weight(partial, weight.full, weight.outputs, x.channels, x.replicas)
    return behind_norm(dx, x, norm, sums, joined, parts, additions, skip)


def weight_gradient(dy: Tensor, y: Map, x: Map, weight: Weight, norm: Norm | None, additions: Additions) -> None:
    """The gradient of a convolution's weight from that of `y = convolve(x, …)`."""
    k, images = weight.full.shape[2], x.each
    bi, bo = tiles.channels(x.room), tiles.channels(y.room)
    taps = max(1, _ROWS // bi) if k > 1 else 1
    blocks = triton.cdiv(k * k, taps) * triton.cdiv(x.room, bi), triton.cdiv(y.room, bo)
    bp = min(tiles.power(y.pixels), max(tiles.LEAST, tiles.TILE // max(taps * bi, bo)), 256)
    wanted = min(_PROGRAMS // (blocks[0] * blocks[1]), _PARTIAL // (k * k * x.room * y.room))
    pieces = max(1, min(wanted // images, y.pixels // bp))
    per = triton.cdiv(images, max(1, min(images, wanted)))
    splits = x.count * triton.cdiv(images, per) * pieces
    partial = additions.room((splits, k, k, x.room, y.room), dy.device)
    programs_back.weight_gradient[(splits, *blocks)](
        x.data, dy, partial, *(norm.operands_back if norm else (dy,) * 4), images, per, x.channels, x.room, y.room,
        norm.whole_stride if norm else 0, EPS, *x.whose, norm.share if norm else 1, x.height, x.width, y.height,
        y.width, k, weight.stride, weight.padding, norm is not None, pieces, taps, bp, bi, bo, num_warps=tiles.WARPS,
        num_stages=3 if per * triton.cdiv(y.pixels, bp * pieces) > _LONG else tiles.STAGES,
    )  # fmt: skip
    additions.to_weight(partial, weight.full, weight.outputs, x.channels, x.replicas)
