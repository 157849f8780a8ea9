"""Programs for convolutions of thin networks on CUDA, fused with the norms around them; in Triton, for bf16 maps.

cuDNN's convolutions are built for hundreds of channels. With 4 to 64 of them they spend their time on padding, on
transposing and on split sums, and choose their algorithms once per width anew. Here a program holds some pixels of one
image and some of its channels. A convolution normalises what it reads (InstanceNorm or BatchNorm, affine, ReLU) while
reading, adds the residual branch or projects it, and leaves mean and variance of what it writes for the norm that
follows: of a forward only the map before each norm is written, and what 3×3 kernels meet, which read it nine times.
Weights are prefixes of the fp32 parameters, read where they are, and their gradients are added where they belong.

How maps lie and what replicas are: `triton_parts`.
"""

import triton
import triton.language as tl

from trainers.accelerated.triton_parts import (
    distance,
    join_moments,
    product,
    rectified,
    scale_and_shift,
    whole_moments,
    write_part,
    write_per_channel,
)


@triton.jit  # type: ignore[untyped-decorator]
def _met_by(  # type: ignore[no-untyped-def]
    x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, tap,
    H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr, PAD: tl.constexpr,
):  # fmt: skip
    """What one weight of the kernel meets, and the weights."""
    kh, kw = tap // K, tap % K
    ih, iw = oh * STRIDE + kh - PAD, ow * STRIDE + kw - PAD
    met = real & (ih >= 0) & (ih < H) & (iw >= 0) & (iw < W)
    at, inside = ((image * H + ih) * W + iw) * cin_room, met[:, None] & (c < cin_room)[None, :]
    values = tl.load(x + at[:, None] + c[None, :], mask=inside, other=0.0)
    weights = w + c[:, None] * w_i + o[None, :] * w_o + kh * w_h + kw * w_w
    return values, tl.load(weights, mask=(c < cin)[:, None] & (o < cout)[None, :], other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def over_taps(  # type: ignore[no-untyped-def]
    x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, total,
    H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr, PAD: tl.constexpr,
):  # fmt: skip
    """Adds what all weights of the kernel make of the pixels that they meet, in some channels."""
    values, kernel = _met_by(
        x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, 0, H, W, K, STRIDE, PAD
    )
    for tap in range(1, K * K):
        following, weights = _met_by(
            x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, tap, H, W, K, STRIDE, PAD
        )
        total = product(values, kernel, total)
        values, kernel = following, weights
    return product(values, kernel, total)


@triton.jit  # type: ignore[untyped-decorator]
def _pixels_of(  # type: ignore[no-untyped-def]
    x, beside, image, p, c, o, b, cin_room, cout_room, beside_room, PIXELS: tl.constexpr, OW: tl.constexpr,
    BESIDE: tl.constexpr, BESIDE_STRIDE: tl.constexpr, BESIDE_H: tl.constexpr, BESIDE_W: tl.constexpr,
):  # fmt: skip
    """What a 1×1 kernel meets at some pixels, and what lies beside it."""
    real = (p < PIXELS)[:, None]
    values = tl.load(
        x + (image * PIXELS + p[:, None]) * cin_room + c[None, :], mask=real & (c < cin_room)[None, :], other=0.0
    )
    branch = values
    if BESIDE == "added":
        at = (image * PIXELS + p[:, None]) * cout_room + o[None, :]
        branch = tl.load(beside + at, mask=real & (o < cout_room)[None, :], other=0.0)
    if BESIDE == "projected":
        row = (image * BESIDE_H + p // OW * BESIDE_STRIDE) * BESIDE_W + p % OW * BESIDE_STRIDE
        at = row[:, None] * beside_room + b[None, :]
        branch = tl.load(beside + at, mask=real & (b < beside_room)[None, :], other=0.0)
    return values, branch


@triton.jit  # type: ignore[untyped-decorator]
def pointwise(  # type: ignore[no-untyped-def]
    x, w, beside, beside_w, y, mean, variance, gamma, beta, mean_whole, variance_whole, mean_out, variance_out, joined,
    running_mean, running_var, counters, cin, cin_room, cout, cout_room, moments_stride, w_o, w_i, beside_cin,
    beside_room, beside_o, beside_i, momentum, eps, replicas, EACH: tl.constexpr, JOIN: tl.constexpr,
    MOVE: tl.constexpr, AT_ONCE: tl.constexpr, SHARE: tl.constexpr, PIXELS: tl.constexpr, OW: tl.constexpr,
    NORM: tl.constexpr,
    PARTS: tl.constexpr, BESIDE: tl.constexpr, BESIDE_STRIDE: tl.constexpr, BESIDE_H: tl.constexpr,
    BESIDE_W: tl.constexpr, TILES: tl.constexpr, P: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr,
    BB: tl.constexpr,
):  # fmt: skip
    """A 1×1 convolution of few inputs: weights and norm are met once, and a tile is loaded while the last is done."""
    image, first = tl.program_id(0), tl.program_id(1) * TILES
    if EACH:
        apart = distance(replicas, image, EACH)
        w, beside_w, gamma, beta = w + apart, beside_w + apart, gamma + apart, beta + apart
    c, o, b = tl.arange(0, BI), tl.program_id(2) * BO + tl.arange(0, BO), tl.arange(0, BB)
    p = first * P + tl.arange(0, P)
    values, branch = _pixels_of(
        x, beside, image, p, c, o, b, cin_room, cout_room, beside_room, PIXELS, OW, BESIDE, BESIDE_STRIDE, BESIDE_H,
        BESIDE_W,
    )  # fmt: skip
    kernel = tl.load(w + c[:, None] * w_i + o[None, :] * w_o, mask=(c < cin)[:, None] & (o < cout)[None, :], other=0.0)
    if BESIDE == "projected":
        at = beside_w + b[:, None] * beside_i + o[None, :] * beside_o
        second = tl.load(at, mask=(b < beside_cin)[:, None] & (o < cout)[None, :], other=0.0)
    if NORM:
        alone, group = (first == 0) & (tl.program_id(2) == 0), image // SHARE
        centre, inverse = whole_moments(
            mean, variance, mean_whole, variance_whole, group, moments_stride, c, cin, cin_room, eps, alone, PARTS
        )
        scale, shift = scale_and_shift(centre, inverse, gamma, beta, c, cin)
    mean_y, spread_y = tl.zeros((BO,), tl.float32), tl.zeros((BO,), tl.float32)
    for tile in range(TILES):
        following, branch_following = _pixels_of(
            x, beside, image, p + tl.where(tile + 1 < TILES, P, PIXELS), c, o, b, cin_room, cout_room, beside_room,
            PIXELS, OW, BESIDE, BESIDE_STRIDE, BESIDE_H, BESIDE_W,
        )  # fmt: skip
        if NORM:
            total = product(rectified(values, scale, shift), kernel, tl.zeros((P, BO), tl.float32))
        else:
            total = product(values, kernel, tl.zeros((P, BO), tl.float32))
        if BESIDE == "added":
            total += branch.to(tl.float32)
        if BESIDE == "projected":
            total = product(branch, second, total)
        to, real = (image * PIXELS + p[:, None]) * cout_room + o[None, :], p < PIXELS
        of_tile, spread = write_part(total, y, to, real[:, None] & (o < cout_room)[None, :], real, P)
        away = of_tile - mean_y  # of as many pixels as each tile before
        mean_y += away / (tile + 1)
        spread_y += spread + away * away * (tile / (tile + 1))
        p, values, branch = p + P, following, branch_following
    row = image * tl.num_programs(1) + tl.program_id(1)
    write_per_channel(mean_out, variance_out, row, o, cout_room, mean_y, spread_y / TILES)
    if JOIN:
        join_moments(
            mean_out, variance_out, joined, running_mean, running_var, counters, image, tl.num_programs(1),
            tl.program_id(2), tl.num_programs(2), o, cout, cout_room, PIXELS, momentum, replicas, EACH, MOVE, AT_ONCE,
            BO,
        )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def convolve(  # type: ignore[no-untyped-def]
    x, w, beside, beside_w, y, mean, variance, gamma, beta, mean_whole, variance_whole, mean_out, variance_out, joined,
    running_mean, running_var, counters, cin, cin_room, cout, cout_room, moments_stride, w_o, w_i, w_h, w_w,
    beside_cin, beside_room, beside_o, beside_i, momentum, eps, replicas, EACH: tl.constexpr, JOIN: tl.constexpr,
    MOVE: tl.constexpr, AT_ONCE: tl.constexpr, SHARE: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr,
    PAD: tl.constexpr, NORM: tl.constexpr, PARTS: tl.constexpr, BESIDE: tl.constexpr, BESIDE_STRIDE: tl.constexpr,
    BESIDE_H: tl.constexpr, BESIDE_W: tl.constexpr, P: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    tl.static_assert(K == 1 or not NORM)  # larger kernels meet what `rectify` has written
    image, part = tl.program_id(0), tl.program_id(1)
    if EACH:
        apart = distance(replicas, image, EACH)
        w, beside_w, gamma, beta = w + apart, beside_w + apart, gamma + apart, beta + apart
    p, o = part * P + tl.arange(0, P), tl.program_id(2) * BO + tl.arange(0, BO)
    real, oh, ow = p < OH * OW, p // OW, p % OW
    to, written = (image * OH * OW + p[:, None]) * cout_room + o[None, :], real[:, None] & (o < cout_room)[None, :]
    # Whatever can be asked for early is: a program has little else to do while it waits.
    if BESIDE == "added":
        branch = tl.load(beside + to, mask=written, other=0.0)
    total = tl.zeros((P, BO), tl.float32)
    for start in range(0, cin_room, BI):
        c = start + tl.arange(0, BI)
        if NORM:
            values, kernel = _met_by(
                x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, 0, H, W, K, STRIDE, PAD
            )
            first, group = (part == 0) & (tl.program_id(2) == 0), image // SHARE
            centre, inverse = whole_moments(
                mean, variance, mean_whole, variance_whole, group, moments_stride, c, cin, cin_room, eps, first, PARTS
            )
            scale, shift = scale_and_shift(centre, inverse, gamma, beta, c, cin)
            values = rectified(values, scale, shift)
            if OH * OW % P != 0:
                values = tl.where(real[:, None], values, 0.0)
            total = product(values, kernel, total)
        else:
            total = over_taps(
                x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, total, H, W, K, STRIDE, PAD
            )
    if BESIDE == "added":
        total += branch.to(tl.float32)
    if BESIDE == "projected":
        for start in range(0, beside_room, BI):
            c = start + tl.arange(0, BI)
            row = (image * BESIDE_H + oh * BESIDE_STRIDE) * BESIDE_W + ow * BESIDE_STRIDE
            values = tl.load(
                beside + row[:, None] * beside_room + c[None, :], mask=real[:, None] & (c < beside_room)[None, :],
                other=0.0,
            )  # fmt: skip
            weights = beside_w + c[:, None] * beside_i + o[None, :] * beside_o
            kernel = tl.load(weights, mask=(c < beside_cin)[:, None] & (o < cout)[None, :], other=0.0)
            total = product(values, kernel, total)
    count = tl.minimum(P, OH * OW)  # of a part: all are full, or there is one
    centre, spread = write_part(total, y, to, written, real, count)
    write_per_channel(mean_out, variance_out, image * tl.num_programs(1) + part, o, cout_room, centre, spread)
    if JOIN:
        join_moments(
            mean_out, variance_out, joined, running_mean, running_var, counters, image, tl.num_programs(1),
            tl.program_id(2), tl.num_programs(2), o, cout, cout_room, OH * OW, momentum, replicas, EACH, MOVE, AT_ONCE,
            BO,
        )  # fmt: skip
