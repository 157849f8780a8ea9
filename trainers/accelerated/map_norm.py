"""Launches the programs of `triton_map_norm`: maps lifted, normalised, pooled, and back."""

import math

import torch
import triton
from torch import Tensor

from trainers.accelerated import tiles
from trainers.accelerated import triton_map_norm as programs
from trainers.accelerated.additions import Additions
from trainers.accelerated.maps import Behind, Map, Norm
from trainers.accelerated.norm import EPS
from trainers.accelerated.replicas import Replicas
from trainers.accelerated.triton_parts import NUMBERS

_SUMMED, _FEW = 1024, 8  # rows that are added up at once, of so many channels: there are few programs to do it


def lift(x: Tensor, replicas: Replicas | None) -> Map:
    """The network's input `(images, channels, height, width)` as a map; of replicas one after another."""
    images, channels, height, width = x.shape
    room, pixels = tiles.room(channels), height * width
    data = torch.empty(images, pixels, room, device=x.device, dtype=NUMBERS)
    by_image, by_channel, by_row, by_column = x.stride()
    if by_row != width * by_column:
        raise ValueError("the rows of an image must follow one another")
    p = min(tiles.power(pixels), 256)
    programs.lift[(images, triton.cdiv(pixels, p))](
        x, data, channels, room, pixels, by_image, by_channel, by_column, p, tiles.power(room), num_warps=tiles.WARPS
    )
    return Map(data, channels, height, width, replicas)


def rectify(x: Map, norm: Norm) -> Map:
    """`x` normalised and rectified."""
    y, (p, c) = torch.empty_like(x.data), tiles.tile(x.pixels, x.room)
    programs.rectify[(x.images, triton.cdiv(x.pixels, p), triton.cdiv(x.room, c))](
        x.data, y, *norm.operands, x.channels, x.room, norm.stride, EPS, *x.whose, norm.share, x.pixels, norm.parts,
        p, c, num_warps=tiles.WARPS, num_stages=tiles.STAGES,
    )  # fmt: skip
    return Map(y, x.channels, x.height, x.width, x.replicas)


def pool(x: Map, norm: Norm) -> Map:
    """The mean over all pixels of `x`, normalised and rectified; a few images become the pixels of one of the map's."""
    pooled = torch.empty(x.images, x.room, device=x.data.device, dtype=NUMBERS)
    c = tiles.held(x)
    programs.pool[(x.images, triton.cdiv(x.room, c))](
        x.data, pooled, *norm.operands, x.channels, x.room, norm.stride, EPS, *x.whose, norm.share, x.pixels,
        norm.parts, tiles.power(x.pixels), c, num_warps=tiles.WARPS, num_stages=tiles.STAGES,
    )  # fmt: skip
    pixels = math.gcd(x.each, tiles.LEAST)
    return Map(pooled.view(-1, pixels, x.room), x.channels, pixels, 1, x.replicas)


def pool_back(by_pooled: Tensor, x: Map, norm: Norm, additions: Additions) -> Tensor:
    """The gradient of `x` from that of the data of `pool(x, norm)`; and the affine's."""
    dx, sums = torch.empty_like(x.data), additions.room((2, x.images, x.room), x.data.device)
    c, (joined, counters) = tiles.held(x), room_for_sums(x, norm, additions)
    programs.pool_back[(x.images, triton.cdiv(x.room, c))](
        by_pooled, x.data, dx, *norm.operands_back, *sums, joined, counters, x.channels, x.room, norm.whole_stride, EPS,
        *x.whose, joined is not None, tiles.AT_ONCE // c, norm.share, x.pixels, norm.instance, tiles.power(x.pixels), c,
        num_warps=tiles.WARPS,
    )  # fmt: skip
    if norm.instance:
        additions.to_affine(sums, (norm.weight, norm.bias), x.channels, x.replicas)
        return dx
    return behind_norm(dx, x, norm, sums, joined, 1, additions, None)


def room_for_sums(x: Map, norm: Norm | None, additions: Additions) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Where BatchNorm's sums go if the last program that makes parts of them joins them, and what it counts with."""
    if norm is None or norm.counters is None:
        return None, None
    return additions.room((2, x.count, x.room), x.data.device), norm.counters


def behind_norm(
    g: Tensor,
    x: Map,
    norm: Norm,
    sums: Tensor,
    joined: Tensor | None,
    parts: int,
    additions: Additions,
    skip: Tensor | None,
) -> Tensor:
    """The gradient of `x` from that behind its norm; and the affine's.

    Args:
        sums: (2, images · parts, room), of the affine's gradients.
        joined: what they come to over the batch, (2, replicas, room), where that is known; None where it is not.
        skip: the gradient of a branch around it.
    """
    count, dx = x.pixels, torch.empty_like(g)
    if not norm.instance:
        if joined is None:
            joined, rows = additions.room((2, x.count, x.room), g.device), sums.shape[1] // x.count
            programs.batch_sums[(triton.cdiv(x.room, _FEW), 2, x.count)](
                sums, joined, rows, sums.stride(0), x.room, x.whose[1], min(tiles.power(rows), _SUMMED), _FEW,
                num_warps=tiles.WARPS,
            )  # fmt: skip
        sums, parts, count = joined, 1, x.each * x.pixels
    additions.to_affine(sums, (norm.weight, norm.bias), x.channels, x.replicas)
    p, c = tiles.tile(x.pixels, x.room)
    sums_stride = parts * x.room if norm.mean.ndim > 1 else 0
    programs.through_norm[(x.images, triton.cdiv(x.pixels, p), triton.cdiv(x.room, c))](
        g, x.data, g if skip is None else skip, dx, *norm.whole, norm.weight, *sums, count,
        x.channels, x.room, norm.whole_stride, sums_stride, EPS, *x.whose, norm.share, x.pixels, parts,
        skip is not None, p, c, num_warps=tiles.WARPS, num_stages=tiles.STAGES,
    )  # fmt: skip
    return dx


def batch_moments(x: Map, behind: Behind) -> tuple[Tensor, Tensor]:
    """Mean and variance of the batch, (room,) each; the running ones move in place, or with what is added later.

    Of replicas (replicas, room) each.
    """
    assert x.mean is not None
    place, rows = behind.place(x), x.each * x.mean.shape[1]
    programs.batch_moments[(triton.cdiv(x.room, _FEW), x.count)](
        x.mean, x.variance, *place.unbind(), *behind.running, rows, x.each * x.pixels, x.channels, x.room,
        behind.momentum, *x.whose, behind.later is None, min(tiles.power(rows), _SUMMED), _FEW, num_warps=tiles.WARPS,
        num_stages=tiles.STAGES,
    )  # fmt: skip
    return behind.moments(x, place)
