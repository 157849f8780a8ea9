"""Launches the programs of `triton_bottleneck`: whole bottlenecks under InstanceNorm, forward and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.accelerated import tiles
from trainers.accelerated import triton_bottleneck as programs
from trainers.accelerated.additions import Additions
from trainers.accelerated.map_norm import rectify
from trainers.accelerated.maps import Convolved, Map, Norm, Weight
from trainers.accelerated.norm import EPS
from trainers.accelerated.triton_parts import NUMBERS


@dataclass(frozen=True)
class Parameters:
    """A bottleneck's.

    Attributes:
        weights: of its three convolutions, 1×1, 3×3 and 1×1.
        affines: weight and bias of the norms before each; of replicas the first one's.
        projection: of the branch around them; None: it is added as it is.
    """

    weights: tuple[Weight, Weight, Weight]
    affines: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
    projection: Weight | None


def suits(x: Map, weights: Sequence[Weight]) -> bool:
    """Whether a program can hold an image behind the 3×3 convolution; its pixels are a power of two."""
    pixels, room = x.pixels // weights[1].stride ** 2, tiles.room(weights[0].outputs)
    return pixels == tiles.power(pixels) and room <= tiles.WIDEST and pixels * tiles.channels(room) <= tiles.TILE


def convolve(x: Map, norm: Norm, first: Convolved | None, parameters: Parameters, warps: int) -> tuple[Convolved, ...]:
    """All three convolutions of `x`.

    Args:
        norm: of `x`, per image and channel.
        first: the first convolution, if it is done; it must be where the second one has a stride.
        warps: of a program.
    """
    one, two, three = parameters.weights
    stride, projection = two.stride, parameters.projection
    height, width, mid = x.height // stride, x.width // stride, one.outputs
    p, room, cout_room = height * width, tiles.room(mid), tiles.room(three.outputs)
    if first is None:
        y1 = _map(x, x.height, x.width, mid)
        norm2 = Norm.of_images(*parameters.affines[1], y1)
        met = Map(torch.empty_like(y1.data), mid, x.height, x.width, x.replicas)
    else:
        y1, norm2 = first.y, Norm.of_images(*parameters.affines[1], first.y)
        met = rectify(y1, norm2)
    y2, y3 = _map(x, height, width, mid), _map(x, height, width, three.outputs)
    norm3, beside = Norm.of_images(*parameters.affines[2], y2), projection or one
    programs.bottleneck[(x.images,)](
        x.data, one.full, norm.weight, norm.bias, norm.mean, norm.variance, *norm.whole, y1.data, y1.mean, y1.variance,
        norm2.weight, norm2.bias, met.data, two.full, y2.data, y2.mean, y2.variance, norm3.weight, norm3.bias,
        three.full, x.data, beside.full, y3.data, y3.mean, y3.variance, x.channels, x.room, mid, room, three.outputs,
        cout_room, norm.stride, *one.full.stride()[:2], *two.full.stride(), *three.full.stride()[:2], x.channels,
        x.room, *beside.full.stride()[:2], EPS, *x.whose, x.height, x.width, width, stride, first is None, norm.parts,
        projection is not None, projection.stride if projection else 1, x.height, x.width, p, tiles.channels(x.room),
        tiles.channels(room), _block(cout_room, p), num_warps=warps, num_stages=tiles.STAGES,
    )  # fmt: skip
    return (
        first or Convolved(x, norm, one, y1),
        Convolved(y1, norm2, two, y2, met),
        Convolved(y2, norm3, three, y3),
    )


def convolve_back(
    dy: Tensor, skip: Tensor, convolved: Sequence[Convolved], additions: Additions, warps: int
) -> list[Tensor]:
    """The gradients of what the three convolutions have met, the last one's first; to that of `x` goes `skip`."""
    (x, norm, one), (y1, norm2, two), (y2, norm3, three) = ((c.x, c.norm, c.weight) for c in convolved)
    assert norm is not None
    assert norm2 is not None
    assert norm3 is not None
    dy2, dy1, dx = (torch.empty_like(of.data) for of in (y2, y1, x))
    sums = [additions.room((2, of.images, of.room), dy.device) for of in (y2, y1, x)]
    cout_room = convolved[2].y.room
    programs.bottleneck_back[(x.images,)](
        dy, skip, three.full, y2.data, *norm3.operands_back, *sums[0], dy2, two.full, y1.data, *norm2.operands_back,
        *sums[1], dy1, one.full, x.data, *norm.operands_back, *sums[2], dx, x.channels, x.room, y1.channels, y1.room,
        three.outputs, cout_room, *one.full.stride()[:2], *two.full.stride(), *three.full.stride()[:2], EPS, *x.whose,
        x.height, x.width, x.pixels, _block(x.room, x.pixels), tiles.channels(y1.room), _block(cout_room, x.pixels),
        num_warps=warps, num_stages=tiles.STAGES,
    )  # fmt: skip
    for of, normed, summed in zip((y2, y1, x), (norm3, norm2, norm), sums, strict=True):
        additions.to_affine(summed, (normed.weight, normed.bias), of.channels, of.replicas)
    return [dy2, dy1, dx]


def _map(like: Map, height: int, width: int, channels: int) -> Map:
    """An empty one, whose images are of one part each."""
    room, device = tiles.room(channels), like.data.device
    data = torch.empty(like.images, height * width, room, device=device, dtype=NUMBERS)
    mean, variance = torch.empty(2, like.images, 1, room, device=device).unbind()
    return Map(data, channels, height, width, like.replicas, mean, variance)


def _block(room: int, pixels: int) -> int:
    """Channels of a program that holds so many pixels."""
    return max(tiles.LEAST, min(tiles.channels(room), tiles.TILE // pixels))
