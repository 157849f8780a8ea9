"""What programs over maps are put together from, on CUDA; in Triton, inlined where it is called.

Maps are `(images, pixels, room)` bf16 with room for the channels up to the next multiple of 16, zero beyond them, so
that odd widths load as fast as even ones. Moments, sums and parameters are fp32. No sum depends on the order in which
programs run: equal inputs, equal bits.

Networks alike, as several seeds of one arm are, can share a launch: their images follow one another in every map, EACH
of them a replica's, and `replicas` says how far from the first one's its parameters lie. With EACH of 0 there is one,
and nothing of this in the machine code. SHARE images in a row are normalised by the same moments.

Tested in Triton's interpreter, which runs the same programs on CPU, in fp32.
"""

import os

import torch
import triton
import triton.language as tl

from trainers.accelerated.replicas import UNIT

_UNIT = tl.constexpr(UNIT)
_INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
NUMBERS = torch.float32 if _INTERPRETED else torch.bfloat16  # of maps; where logic is tested, nothing is rounded


@triton.jit
def product(a, b, total):  # type: ignore[no-untyped-def]
    """`a @ b` added to `total`, with fp32 sums of bf16 products; in the interpreter of fp32 ones."""
    if not _INTERPRETED:
        a, b = a.to(tl.bfloat16), b.to(tl.bfloat16)
    return tl.dot(a, b, total)


@triton.jit
def known_moments(mean, variance, at, c, channels, eps):  # type: ignore[no-untyped-def]
    """Mean and 1 / SD per channel; for channels that are none, anything finite."""
    known = c < channels
    centre = tl.load(mean + at + c, mask=known, other=0.0)
    return centre, tl.rsqrt(tl.load(variance + at + c, mask=known, other=0.0) + eps)


@triton.jit  # type: ignore[untyped-decorator]
def whole_moments(  # type: ignore[no-untyped-def]
    mean, variance, mean_whole, variance_whole, group, stride, c, channels, room, eps, first, PARTS: tl.constexpr
):
    """As `known_moments`, from moments of equal parts; those of the whole are written down by its first program."""
    at, known = group * stride, c < channels
    centre = tl.load(mean + at + c, mask=known, other=0.0)
    spread = tl.load(variance + at + c, mask=known, other=0.0)
    if PARTS > 1:
        beyond = tl.zeros_like(centre)  # the first part's mean
        for part in tl.static_range(1, PARTS):
            away = tl.load(mean + at + part * room + c, mask=known, other=0.0) - centre
            spread += tl.load(variance + at + part * room + c, mask=known, other=0.0) + away * away
            beyond += away
        beyond /= PARTS
        centre, spread = centre + beyond, spread / PARTS - beyond * beyond
        tl.store(mean_whole + group * room + c, centre, mask=known & first)
        tl.store(variance_whole + group * room + c, spread, mask=known & first)
    return centre, tl.rsqrt(spread + eps)


@triton.jit
def scale_and_shift(centre, inverse, gamma, beta, c, channels):  # type: ignore[no-untyped-def]
    """What normalisation and affine amount to: scale and shift per channel, zero for channels that are none."""
    known = c < channels
    scale = inverse * tl.load(gamma + c, mask=known, other=0.0)
    return scale, tl.load(beta + c, mask=known, other=0.0) - centre * scale


@triton.jit
def rectified(values, scale, shift):  # type: ignore[no-untyped-def]
    """ReLU of the normalised values; a NaN passes. Of channels that are none: zero, since scale and shift are."""
    out = values.to(tl.float32) * scale[None, :] + shift[None, :]
    return tl.maximum(out, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit  # type: ignore[untyped-decorator]
def distance(replicas, image, EACH: tl.constexpr):  # type: ignore[no-untyped-def]
    """How far an image's replica has its parameters from where the first one has them."""
    return tl.load(replicas + image // EACH) * _UNIT


@triton.jit
def write_per_channel(a, b, row, c, room, of_a, of_b):  # type: ignore[no-untyped-def]
    """Writes two numbers per channel."""
    tl.store(a + row * room + c, of_a, mask=c < room)
    tl.store(b + row * room + c, of_b, mask=c < room)


@triton.jit
def write_part(total, y, to, written, real, count):  # type: ignore[no-untyped-def]
    """Writes a part of a map; gives its moments."""
    rounded = total.to(y.dtype.element_ty)
    tl.store(y + to, rounded, mask=written)
    values = rounded.to(tl.float32)
    centre = tl.sum(values, 0) / count
    away = tl.where(real[:, None], values - centre[None, :], 0.0)
    return centre, tl.sum(away * away, 0) / count


@triton.jit
def through_relu(up, values, centre, inverse, scale, shift):  # type: ignore[no-untyped-def]
    """Takes a gradient through ReLU and affine, zero outside; gives the sums of the affine's gradients, too."""
    standard = values * inverse[None, :] - (centre * inverse)[None, :]
    up = tl.where(values * scale[None, :] + shift[None, :] <= 0, 0.0, up)
    return up, standard, tl.sum(up, 0), tl.sum(up * standard, 0)


@triton.jit
def centred(up, standard, first, second, scale):  # type: ignore[no-untyped-def]
    """The gradient through a normalisation, from the means of it and of it times what came out."""
    return up * scale[None, :] - (first * scale)[None, :] - standard * (second * scale)[None, :]


@triton.jit
def times(a, b):  # type: ignore[no-untyped-def]
    """`a * b`, rounded: never one instruction with an addition, so with the same bits wherever this is inlined."""
    if _INTERPRETED:
        out = a * b
    else:
        out = tl.inline_asm_elementwise("mul.rn.f32 $0, $1, $2;", "=f,f,f", [a, b], tl.float32, is_pure=True, pack=1)
    return out


@triton.jit
def move(running, towards, momentum, c, known):  # type: ignore[no-untyped-def]
    """Running moments move towards a batch's by a share of the way."""
    before = tl.load(running + c, mask=known, other=0.0)
    by = times(towards - before, momentum)
    tl.store(running + c, before + by, mask=known)


@triton.jit  # type: ignore[untyped-decorator]
def keep_moments(  # type: ignore[no-untyped-def]
    centre, spread, mean, variance, unbiased, running_mean, running_var, count, c, channels, room, momentum,
    MOVE: tl.constexpr,
):  # fmt: skip
    """Writes moments over a batch; moves the running ones, or keeps what the running variance is to move towards."""
    tl.store(mean + c, centre, mask=c < room)
    tl.store(variance + c, spread, mask=c < room)
    whole = tl.zeros_like(spread) + count  # rounded alike whether it is known when compiled, as with replicas, or not
    spread = times(spread, tl.div_rn(whole, whole - 1))
    if MOVE:
        move(running_mean, centre, momentum, c, c < channels)
        move(running_var, spread, momentum, c, c < channels)
    else:
        tl.store(unbiased + c, spread, mask=c < room)


@triton.jit  # type: ignore[untyped-decorator]
def moments_over(means, variances, rows, c, room, N: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """Mean and variance over rows, from those of equal parts in rows; N at once."""
    n = tl.arange(0, N)
    # The first part's mean: squares of what is left cancel little. Others may have written it: past this core's cache.
    near = tl.load(means + c, mask=c < room, other=0.0, cache_modifier=".cg")
    total, spread = tl.zeros((C,), tl.float32), tl.zeros((C,), tl.float32)
    for start in range(0, rows, N):
        at, inside = (start + n)[:, None] * room + c[None, :], (start + n < rows)[:, None] & (c < room)[None, :]
        mean = tl.load(means + at, mask=inside, other=0.0, cache_modifier=".cg")
        away = tl.where(inside, mean - near[None, :], 0.0)
        total += tl.sum(away, 0)
        spread += tl.sum(tl.load(variances + at, mask=inside, other=0.0, cache_modifier=".cg") + away * away, 0)
    beyond = total / rows
    return near + beyond, spread / rows - beyond * beyond


@triton.jit  # type: ignore[untyped-decorator]
def sum_over(sums, rows, c, room, N: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """The sum over rows; N at once."""
    n, out = tl.arange(0, N), tl.zeros((C,), tl.float32)
    for start in range(0, rows, N):
        at, inside = (start + n)[:, None] * room + c[None, :], (start + n < rows)[:, None] & (c < room)[None, :]
        out += tl.sum(tl.load(sums + at, mask=inside, other=0.0, cache_modifier=".cg"), 0)
    return out


@triton.jit
def is_last(counter, programs):  # type: ignore[no-untyped-def]
    """Whether all programs that count here have written what they write; for the next ones it is at zero again.

    The counts come behind what every thread of a program has written, and nothing is read before them.
    """
    tl.debug_barrier()
    last = tl.atomic_add(counter, 1) == programs - 1
    if last:
        tl.store(counter, 0)
    return last


@triton.jit  # type: ignore[untyped-decorator]
def join_moments(  # type: ignore[no-untyped-def]
    means, variances, joined, running_mean, running_var, counters, image, parts, block, blocks, c, channels, room,
    pixels, momentum, replicas, EACH: tl.constexpr, MOVE: tl.constexpr, N: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Moments over the batch, from those that all programs have written of their parts, by the last of them.

    `joined: (3, replicas, room)`: mean, variance, and what the running variance moves towards, if it does not here.
    """
    each, replica = tl.num_programs(0), 0
    if EACH:
        each, replica = EACH, image // EACH
        apart = distance(replicas, image, EACH)
        running_mean, running_var = running_mean + apart, running_var + apart
    rows, size, count = each * parts, tl.num_programs(0) // each * room, each * pixels
    if is_last(counters + replica * blocks + block, rows):
        at, mean = replica * rows * room, joined + replica * room
        centre, spread = moments_over(means + at, variances + at, rows, c, room, N, C)
        keep_moments(
            centre, spread, mean, mean + size, mean + 2 * size, running_mean, running_var, count, c, channels, room,
            momentum, MOVE,
        )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def join_sums(  # type: ignore[no-untyped-def]
    by_gamma, by_beta, joined, counters, image, parts, block, blocks, c, room, EACH: tl.constexpr, N: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    """The sums over the batch that a norm's way back needs, by the last program; `joined: (2, replicas, room)`."""
    each, replica = tl.num_programs(0), 0
    if EACH:
        each, replica = EACH, image // EACH
    rows, size = each * parts, tl.num_programs(0) // each * room
    if is_last(counters + replica * blocks + block, rows):
        at, there = replica * rows * room, joined + replica * room + c
        tl.store(there, sum_over(by_gamma + at, rows, c, room, N, C), mask=c < room)
        tl.store(there + size, sum_over(by_beta + at, rows, c, room, N, C), mask=c < room)
