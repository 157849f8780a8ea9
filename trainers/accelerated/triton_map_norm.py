"""Programs for maps on CUDA that are not convolved: lifted, normalised, pooled, and back; in Triton.

How maps lie and what replicas are: `triton_parts`.
"""

import triton
import triton.language as tl

from trainers.accelerated.triton_parts import (
    centred,
    distance,
    join_sums,
    keep_moments,
    known_moments,
    moments_over,
    rectified,
    scale_and_shift,
    sum_over,
    through_relu,
    whole_moments,
    write_per_channel,
)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def lift(x, y, channels, room, pixels, by_image, by_channel, by_pixel, P: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """The network's input as a map."""
    image, p, c = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P), tl.arange(0, C)
    inside = (p < pixels)[:, None] & (c < room)[None, :]
    at = x + image * by_image + p[:, None] * by_pixel + c[None, :] * by_channel
    values = tl.load(at, mask=inside & (c < channels)[None, :], other=0.0)
    tl.store(y + (image * pixels + p[:, None]) * room + c[None, :], values.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def rectify(  # type: ignore[no-untyped-def]
    x, y, mean, variance, gamma, beta, mean_whole, variance_whole, channels, room, moments_stride, eps, replicas,
    EACH: tl.constexpr, SHARE: tl.constexpr, PIXELS: tl.constexpr, PARTS: tl.constexpr, P: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    """A map normalised and rectified."""
    image, p = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P)
    if EACH:
        apart = distance(replicas, image, EACH)
        gamma, beta = gamma + apart, beta + apart
    c = tl.program_id(2) * C + tl.arange(0, C)
    at, inside = (image * PIXELS + p[:, None]) * room + c[None, :], (p < PIXELS)[:, None] & (c < room)[None, :]
    values = tl.load(x + at, mask=inside, other=0.0)
    first, group = tl.program_id(1) == 0, image // SHARE
    centre, inverse = whole_moments(
        mean, variance, mean_whole, variance_whole, group, moments_stride, c, channels, room, eps, first, PARTS
    )
    scale, shift = scale_and_shift(centre, inverse, gamma, beta, c, channels)
    tl.store(y + at, rectified(values, scale, shift).to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def pool(  # type: ignore[no-untyped-def]
    x, pooled, mean, variance, gamma, beta, mean_whole, variance_whole, channels, room, moments_stride, eps, replicas,
    EACH: tl.constexpr, SHARE: tl.constexpr, PIXELS: tl.constexpr, PARTS: tl.constexpr, P: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    image, c, p = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C), tl.arange(0, P)
    if EACH:
        apart = distance(replicas, image, EACH)
        gamma, beta = gamma + apart, beta + apart
    group = image // SHARE
    inside = (p < PIXELS)[:, None] & (c < room)[None, :]
    centre, inverse = whole_moments(
        mean, variance, mean_whole, variance_whole, group, moments_stride, c, channels, room, eps, True, PARTS
    )
    scale, shift = scale_and_shift(centre, inverse, gamma, beta, c, channels)
    values = tl.load(x + (image * PIXELS + p[:, None]) * room + c[None, :], mask=inside, other=0.0)
    values = rectified(values, scale, shift)
    if P != PIXELS:
        values = tl.where((p < PIXELS)[:, None], values, 0.0)
    total = tl.sum(values, 0) / PIXELS
    tl.store(pooled + image * room + c, total.to(pooled.dtype.element_ty), mask=c < room)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def pool_back(  # type: ignore[no-untyped-def]
    by_pooled, x, dx, mean, variance, gamma, beta, by_gamma, by_beta, joined, counters, channels, room, moments_stride,
    eps, replicas, EACH: tl.constexpr, JOIN: tl.constexpr, AT_ONCE: tl.constexpr, SHARE: tl.constexpr,
    PIXELS: tl.constexpr, WHOLE: tl.constexpr, P: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    image, c, p = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C), tl.arange(0, P)
    if EACH:
        apart = distance(replicas, image, EACH)
        gamma, beta = gamma + apart, beta + apart
    at, inside = (image * PIXELS + p[:, None]) * room + c[None, :], (p < PIXELS)[:, None] & (c < room)[None, :]
    given = tl.load(by_pooled + image * room + c, mask=c < channels, other=0.0).to(tl.float32)
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    centre, inverse = known_moments(mean, variance, image // SHARE * moments_stride, c, channels, eps)
    scale, shift = scale_and_shift(centre, inverse, gamma, beta, c, channels)
    up = tl.where((p < PIXELS)[:, None], (given / PIXELS)[None, :], 0.0)
    up, standard, first, second = through_relu(up, values, centre, inverse, scale, shift)
    write_per_channel(by_beta, by_gamma, image, c, room, first, second)
    if WHOLE:
        up = centred(up, standard, first / PIXELS, second / PIXELS, scale)
    tl.store(dx + at, up.to(dx.dtype.element_ty), mask=inside)
    if JOIN:
        join_sums(
            by_gamma, by_beta, joined, counters, image, 1, tl.program_id(1), tl.num_programs(1), c, room, EACH, AT_ONCE,
            C,
        )  # fmt: skip


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def through_norm(  # type: ignore[no-untyped-def]
    g, x, skip, dx, mean, variance, gamma, by_gamma, by_beta, count, channels, room, moments_stride, sums_stride, eps,
    replicas, EACH: tl.constexpr, SHARE: tl.constexpr, PIXELS: tl.constexpr, ROWS: tl.constexpr, SKIP: tl.constexpr,
    P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """The rest of a norm's backward, once all of its sums are there; `g` is behind ReLU already."""
    image, p = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P)
    if EACH:
        gamma += distance(replicas, image, EACH)
    c, row = tl.program_id(2) * C + tl.arange(0, C), tl.arange(0, ROWS)
    at, inside = (image * PIXELS + p[:, None]) * room + c[None, :], (p < PIXELS)[:, None] & (c < room)[None, :]
    values, up = tl.load(x + at, mask=inside, other=0.0), tl.load(g + at, mask=inside, other=0.0)
    if SKIP:
        beside = tl.load(skip + at, mask=inside, other=0.0)
    sums, summed = image // SHARE * sums_stride + row[:, None] * room + c[None, :], (c < room)[None, :]
    first = tl.sum(tl.load(by_beta + sums, mask=summed, other=0.0), 0) / count
    second = tl.sum(tl.load(by_gamma + sums, mask=summed, other=0.0), 0) / count
    centre, inverse = known_moments(mean, variance, image // SHARE * moments_stride, c, channels, eps)
    scale = inverse * tl.load(gamma + c, mask=c < channels, other=0.0)
    standard = values.to(tl.float32) * inverse[None, :] - (centre * inverse)[None, :]
    out = centred(up.to(tl.float32), standard, first, second, scale)
    if SKIP:
        out += beside.to(tl.float32)
    tl.store(dx + at, out.to(dx.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows", "channels"])  # type: ignore[untyped-decorator]
def batch_moments(  # type: ignore[no-untyped-def]
    means, variances, mean, variance, unbiased, running_mean, running_var, rows, count, channels, room, momentum,
    replicas, EACH: tl.constexpr, MOVE: tl.constexpr, N: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Moments over the batch from those of its parts; the running ones are moved, or what moves them is kept."""
    if EACH:
        replica = tl.program_id(1)
        means, variances = means + replica * rows * room, variances + replica * rows * room
        mean, variance, unbiased = mean + replica * room, variance + replica * room, unbiased + replica * room
        apart = distance(replicas, replica, 1)
        running_mean, running_var = running_mean + apart, running_var + apart
    c = tl.program_id(0) * C + tl.arange(0, C)
    centre, spread = moments_over(means, variances, rows, c, room, N, C)
    keep_moments(
        centre, spread, mean, variance, unbiased, running_mean, running_var, count, c, channels, room, momentum, MOVE
    )


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def batch_sums(sums, total, rows, size, room, EACH: tl.constexpr, N: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """Two sets of sums over all parts of a replica's batch, `size` apart."""
    c, which = tl.program_id(0) * C + tl.arange(0, C), tl.program_id(1)
    if EACH:
        sums += tl.program_id(2) * rows * room
        total += (which * (tl.num_programs(2) - 1) + tl.program_id(2)) * room
    tl.store(total + which * room + c, sum_over(sums + which * size, rows, c, room, N, C), mask=c < room)
