"""Programs for convolutions of thin networks on CUDA, fused with the norms around them; in Triton, for bf16 maps.

cuDNN's convolutions are built for hundreds of channels. With 4 to 64 of them they spend their time on padding, on
transposing and on split sums, and choose their algorithms once per width anew. Here a program holds some pixels of one
image and some of its channels. A convolution normalises what it reads (InstanceNorm or BatchNorm, affine, ReLU) while
reading, adds the residual branch or projects it, and leaves mean and variance of what it writes for the norm that
follows: of a forward only the map before each norm is written, and in training what 3×3 kernels met. Weights are
prefixes of the fp32 parameters, read where they are, and their gradients are added where they belong. No sum depends on
the order in which programs run: equal inputs, equal bits.

Maps are `(images, pixels, room)` with room for the channels up to the next multiple of 16, zero beyond them, so that
odd widths load as fast as even ones. Tested in Triton's interpreter, which runs the same programs on CPU, in fp32.
"""

import os

import torch
import triton
import triton.language as tl

_INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
NUMBERS = torch.float32 if _INTERPRETED else torch.bfloat16  # of maps; where logic is tested, nothing is rounded


@triton.jit
def _product(a, b, total):  # type: ignore[no-untyped-def]
    """`a @ b` added to `total`, with fp32 sums of bf16 products; in the interpreter of fp32 ones."""
    if not _INTERPRETED:
        a, b = a.to(tl.bfloat16), b.to(tl.bfloat16)
    return tl.dot(a, b, total)


@triton.jit  # type: ignore[untyped-decorator]
def _standard(mean, variance, at, c, channels, room, eps, PARTS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Mean and 1 / SD per channel, from those of parts of equal size; for channels that are none, anything finite."""
    known = c < channels
    first = tl.load(mean + at + c, mask=known, other=0.0)
    spread = tl.load(variance + at + c, mask=known, other=0.0)
    beyond = tl.zeros_like(first)  # the first part's mean
    for part in tl.static_range(1, PARTS):
        away = tl.load(mean + at + part * room + c, mask=known, other=0.0) - first
        spread += tl.load(variance + at + part * room + c, mask=known, other=0.0) + away * away
        beyond += away
    beyond /= PARTS
    centre, spread = first + beyond, spread / PARTS - beyond * beyond
    return centre, 1 / tl.sqrt(spread + eps)


@triton.jit
def _affine(centre, inverse, gamma, beta, c, channels):  # type: ignore[no-untyped-def]
    """What normalisation and affine amount to: scale and shift per channel, zero for channels that are none."""
    known = c < channels
    scale = inverse * tl.load(gamma + c, mask=known, other=0.0)
    return scale, tl.load(beta + c, mask=known, other=0.0) - centre * scale


@triton.jit
def _rectified(values, scale, shift, inside):  # type: ignore[no-untyped-def]
    """ReLU of the normalised values, zero outside of the image; a NaN passes."""
    out = values.to(tl.float32) * scale[None, :] + shift[None, :]
    return tl.where(inside & ~(out <= 0), out, 0.0)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def lift(x, y, channels, room, pixels, by_image, by_channel, by_pixel, P: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """The network's input as a map."""
    image, p, c = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P), tl.arange(0, C)
    inside = (p < pixels)[:, None] & (c < room)[None, :]
    at = x + image * by_image + p[:, None] * by_pixel + c[None, :] * by_channel
    values = tl.load(at, mask=inside & (c < channels)[None, :], other=0.0)
    tl.store(y + (image * pixels + p[:, None]) * room + c[None, :], values.to(y.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _tap(  # type: ignore[no-untyped-def]
    x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, tap,
    H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr, PAD: tl.constexpr,
):  # fmt: skip
    """What one weight of the kernel meets: pixels, which of them lie in the image, and the weights."""
    kh, kw = tap // K, tap % K
    ih, iw = oh * STRIDE + kh - PAD, ow * STRIDE + kw - PAD
    inside = (real & (ih >= 0) & (ih < H) & (iw >= 0) & (iw < W))[:, None] & (c < cin_room)[None, :]
    values = tl.load(x + (((image * H + ih) * W + iw) * cin_room)[:, None] + c[None, :], mask=inside, other=0.0)
    weights = w + c[:, None] * w_i + o[None, :] * w_o + kh * w_h + kw * w_w
    return values, inside, tl.load(weights, mask=(c < cin)[:, None] & (o < cout)[None, :], other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _tap_back(  # type: ignore[no-untyped-def]
    dy, w, image, ih, iw, real, c, o, cin, cout, cout_room, w_o, w_i, w_h, w_w, tap,
    OH: tl.constexpr, OW: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr, PAD: tl.constexpr,
):  # fmt: skip
    """The gradients of the outputs that one weight of the kernel has sent these pixels to, and the weights."""
    kh, kw = tap // K, tap % K
    th, tw = ih + PAD - kh, iw + PAD - kw
    oh, ow = th // STRIDE, tw // STRIDE
    met = real & (th >= 0) & (oh < OH) & (tw >= 0) & (ow < OW) & (th % STRIDE == 0) & (tw % STRIDE == 0)
    at = ((image * OH + oh) * OW + ow) * cout_room
    values = tl.load(dy + at[:, None] + o[None, :], mask=met[:, None] & (o < cout_room)[None, :], other=0.0)
    weights = w + o[:, None] * w_o + c[None, :] * w_i + kh * w_h + kw * w_w
    return values, tl.load(weights, mask=(o < cout)[:, None] & (c < cin)[None, :], other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def convolve(  # type: ignore[no-untyped-def]
    x, w, beside, beside_w, y, rectified, mean, variance, gamma, beta, mean_out, variance_out, cin, cin_room, cout,
    cout_room, moments_stride, w_o, w_i, w_h, w_w, beside_cin, beside_room, beside_o, beside_i, eps,
    H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr,
    PAD: tl.constexpr, NORM: tl.constexpr, PARTS: tl.constexpr, BESIDE: tl.constexpr, BESIDE_STRIDE: tl.constexpr,
    BESIDE_H: tl.constexpr, BESIDE_W: tl.constexpr, KEEP: tl.constexpr, P: tl.constexpr, BI: tl.constexpr,
    BO: tl.constexpr,
):  # fmt: skip
    image, part = tl.program_id(0), tl.program_id(1)
    p, o = part * P + tl.arange(0, P), tl.program_id(2) * BO + tl.arange(0, BO)
    real, oh, ow = p < OH * OW, p // OW, p % OW
    to, written = (image * OH * OW + p[:, None]) * cout_room + o[None, :], real[:, None] & (o < cout_room)[None, :]
    # Whatever can be asked for early is: a program has little else to do while it waits.
    if BESIDE == "added":
        branch = tl.load(beside + to, mask=written, other=0.0)
    total = tl.zeros((P, BO), tl.float32)
    for start in range(0, cin_room, BI):
        c = start + tl.arange(0, BI)
        values, inside, kernel = _tap(
            x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, 0, H, W, K, STRIDE, PAD
        )
        if NORM:
            centre, inverse = _standard(mean, variance, image * moments_stride, c, cin, cin_room, eps, PARTS)
            scale, shift = _affine(centre, inverse, gamma, beta, c, cin)
        for tap in range(1, K * K):
            following, there, weights = _tap(
                x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, tap, H, W, K, STRIDE, PAD
            )
            if NORM:
                values = _rectified(values, scale, shift, inside)
            if KEEP:  # the kernel's middle meets every pixel once
                middle = inside & (tap - 1 == K * K // 2) & (tl.program_id(2) == 0)
                at = (image * H * W + p[:, None]) * cin_room + c[None, :]
                tl.store(rectified + at, values.to(rectified.dtype.element_ty), mask=middle)
            total = _product(values, kernel, total)
            values, inside, kernel = following, there, weights
        if NORM:
            values = _rectified(values, scale, shift, inside)
        total = _product(values, kernel, total)
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
            total = _product(values, kernel, total)
    rounded = total.to(y.dtype.element_ty)
    tl.store(y + to, rounded, mask=written)
    count = tl.minimum(P, OH * OW)  # of a part: all are full, or there is one
    values = rounded.to(tl.float32)
    centre = tl.sum(values, 0) / count
    away = tl.where(real[:, None], values - centre[None, :], 0.0)
    row = (image * tl.num_programs(1) + part) * cout_room + o
    tl.store(mean_out + row, centre, mask=o < cout_room)
    tl.store(variance_out + row, tl.sum(away * away, 0) / count, mask=o < cout_room)


@triton.jit
def _through_relu(  # type: ignore[no-untyped-def]
    up, values, centre, inverse, scale, shift, inside, by_gamma, by_beta, row, c, room,
):  # fmt: skip
    """Takes a gradient through ReLU and affine; leaves the sums of the affine's gradients."""
    standard = (values - centre[None, :]) * inverse[None, :]
    up = tl.where(inside & ~(values * scale[None, :] + shift[None, :] <= 0), up, 0.0)
    first, second = tl.sum(up, 0), tl.sum(up * standard, 0)
    tl.store(by_beta + row * room + c, first, mask=c < room)
    tl.store(by_gamma + row * room + c, second, mask=c < room)
    return up, standard, first, second


@triton.jit  # type: ignore[untyped-decorator]
def convolve_back(  # type: ignore[no-untyped-def]
    dy, w, x, skip, dx, mean, variance, gamma, beta, by_gamma, by_beta, cin, cin_room, cout, cout_room, moments_stride,
    w_o, w_i, w_h, w_w, eps,
    H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr,
    PAD: tl.constexpr, NORM: tl.constexpr, PARTS: tl.constexpr, WHOLE: tl.constexpr, SKIP: tl.constexpr,
    AHEAD: tl.constexpr, P: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    image, part = tl.program_id(0), tl.program_id(1)
    p, c = part * P + tl.arange(0, P), tl.program_id(2) * BI + tl.arange(0, BI)
    real, ih, iw = p < H * W, p // W, p % W
    if AHEAD:  # asked for early, where there are registers to keep it in
        at, inside = (image * H * W + p[:, None]) * cin_room + c[None, :], real[:, None] & (c < cin_room)[None, :]
        if NORM:
            values = tl.load(x + at, mask=inside, other=0.0)
        if SKIP and WHOLE:
            beside = tl.load(skip + at, mask=inside, other=0.0)
    total = tl.zeros((P, BI), tl.float32)
    for start in range(0, cout_room, BO):
        o = start + tl.arange(0, BO)
        up, kernel = _tap_back(
            dy, w, image, ih, iw, real, c, o, cin, cout, cout_room, w_o, w_i, w_h, w_w, 0, OH, OW, K, STRIDE, PAD
        )
        for tap in range(1, K * K):
            following, weights = _tap_back(
                dy, w, image, ih, iw, real, c, o, cin, cout, cout_room, w_o, w_i, w_h, w_w, tap, OH, OW, K, STRIDE, PAD
            )
            total = _product(up, kernel, total)
            up, kernel = following, weights
        total = _product(up, kernel, total)
    if not AHEAD:
        at, inside = (image * H * W + p[:, None]) * cin_room + c[None, :], real[:, None] & (c < cin_room)[None, :]
        if NORM:
            values = tl.load(x + at, mask=inside, other=0.0)
    if NORM:
        values = values.to(tl.float32)
        centre, inverse = _standard(mean, variance, image * moments_stride, c, cin, cin_room, eps, PARTS)
        scale, shift = _affine(centre, inverse, gamma, beta, c, cin)
        row = image * tl.num_programs(1) + part
        total, standard, first, second = _through_relu(
            total, values, centre, inverse, scale, shift, inside, by_gamma, by_beta, row, c, cin_room
        )
        if WHOLE:
            total = (total - (first / (H * W))[None, :] - standard * (second / (H * W))[None, :]) * scale[None, :]
            if SKIP:
                if not AHEAD:
                    beside = tl.load(skip + at, mask=inside, other=0.0)
                total += beside.to(tl.float32)
    tl.store(dx + at, total.to(dx.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def pool(  # type: ignore[no-untyped-def]
    x, pooled, mean, variance, gamma, beta, channels, room, moments_stride, eps,
    PIXELS: tl.constexpr, PARTS: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    image, c, p = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C), tl.arange(0, P)
    inside = (p < PIXELS)[:, None] & (c < room)[None, :]
    centre, inverse = _standard(mean, variance, image * moments_stride, c, channels, room, eps, PARTS)
    scale, shift = _affine(centre, inverse, gamma, beta, c, channels)
    values = tl.load(x + (image * PIXELS + p[:, None]) * room + c[None, :], mask=inside, other=0.0)
    total = tl.sum(_rectified(values, scale, shift, inside), 0) / PIXELS
    tl.store(pooled + image * room + c, total.to(pooled.dtype.element_ty), mask=c < room)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def pool_back(  # type: ignore[no-untyped-def]
    by_pooled, x, dx, mean, variance, gamma, beta, by_gamma, by_beta, channels, room, moments_stride, eps,
    PIXELS: tl.constexpr, PARTS: tl.constexpr, WHOLE: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    image, c, p = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C), tl.arange(0, P)
    at, inside = (image * PIXELS + p[:, None]) * room + c[None, :], (p < PIXELS)[:, None] & (c < room)[None, :]
    given = tl.load(by_pooled + image * room + c, mask=c < channels, other=0.0).to(tl.float32)
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    centre, inverse = _standard(mean, variance, image * moments_stride, c, channels, room, eps, PARTS)
    scale, shift = _affine(centre, inverse, gamma, beta, c, channels)
    up, standard, first, second = _through_relu(
        tl.zeros((P, C), tl.float32) + (given / PIXELS)[None, :], values, centre, inverse, scale, shift, inside,
        by_gamma, by_beta, image, c, room,
    )  # fmt: skip
    if WHOLE:
        up = (up - (first / PIXELS)[None, :] - standard * (second / PIXELS)[None, :]) * scale[None, :]
    tl.store(dx + at, up.to(dx.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def through_norm(  # type: ignore[no-untyped-def]
    g, x, skip, dx, mean, variance, gamma, by_gamma, by_beta, count, channels, room, moments_stride, sums_stride, eps,
    PIXELS: tl.constexpr, PARTS: tl.constexpr, ROWS: tl.constexpr, SKIP: tl.constexpr, P: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    """The rest of a norm's backward, once all of its sums are there; `g` is behind ReLU already."""
    image, p = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P)
    c, row = tl.program_id(2) * C + tl.arange(0, C), tl.arange(0, ROWS)
    at, inside = (image * PIXELS + p[:, None]) * room + c[None, :], (p < PIXELS)[:, None] & (c < room)[None, :]
    values, up = tl.load(x + at, mask=inside, other=0.0), tl.load(g + at, mask=inside, other=0.0)
    if SKIP:
        beside = tl.load(skip + at, mask=inside, other=0.0)
    sums, summed = image * sums_stride + row[:, None] * room + c[None, :], (c < room)[None, :]
    first = tl.sum(tl.load(by_beta + sums, mask=summed, other=0.0), 0) / count
    second = tl.sum(tl.load(by_gamma + sums, mask=summed, other=0.0), 0) / count
    centre, inverse = _standard(mean, variance, image * moments_stride, c, channels, room, eps, PARTS)
    scale = inverse * tl.load(gamma + c, mask=c < channels, other=0.0)
    standard = (values.to(tl.float32) - centre[None, :]) * inverse[None, :]
    out = (up.to(tl.float32) - first[None, :] - standard * second[None, :]) * scale[None, :]
    if SKIP:
        out += beside.to(tl.float32)
    tl.store(dx + at, out.to(dx.dtype.element_ty), mask=inside)


@triton.jit
def move(running, towards, momentum, c, known):  # type: ignore[no-untyped-def]
    """Running moments move towards a batch's by a share of the way."""
    before = tl.load(running + c, mask=known, other=0.0)
    tl.store(running + c, before + momentum * (towards - before), mask=known)


@triton.jit(do_not_specialize=["rows", "channels"])  # type: ignore[untyped-decorator]
def batch_moments(  # type: ignore[no-untyped-def]
    means, variances, mean, variance, unbiased, running_mean, running_var, rows, count, channels, room, momentum,
    MOVE: tl.constexpr, N: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Moments over the batch from those of its parts; the running ones are moved, or what moves them is kept."""
    n, c = tl.arange(0, N), tl.program_id(0) * C + tl.arange(0, C)
    total = tl.zeros((C,), tl.float32)
    for start in range(0, rows, N):
        inside = (start + n < rows)[:, None] & (c < room)[None, :]
        total += tl.sum(tl.load(means + (start + n)[:, None] * room + c[None, :], mask=inside, other=0.0), 0)
    centre = total / rows
    total = tl.zeros((C,), tl.float32)
    for start in range(0, rows, N):
        at, inside = (start + n)[:, None] * room + c[None, :], (start + n < rows)[:, None] & (c < room)[None, :]
        away = tl.where(inside, tl.load(means + at, mask=inside, other=0.0) - centre[None, :], 0.0)
        total += tl.sum(tl.load(variances + at, mask=inside, other=0.0) + away * away, 0)
    spread = total / rows
    tl.store(mean + c, centre, mask=c < room)
    tl.store(variance + c, spread, mask=c < room)
    spread = spread * (count / (count - 1))
    if MOVE:
        move(running_mean, centre, momentum, c, c < channels)
        move(running_var, spread, momentum, c, c < channels)
    else:
        tl.store(unbiased + c, spread, mask=c < room)


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def batch_sums(sums, total, rows, size, room, N: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """Two sets of sums over all parts of the batch, `size` apart."""
    n, c, which = tl.arange(0, N), tl.program_id(0) * C + tl.arange(0, C), tl.program_id(1)
    out = tl.zeros((C,), tl.float32)
    for start in range(0, rows, N):
        at, inside = (start + n)[:, None] * room + c[None, :], (start + n < rows)[:, None] & (c < room)[None, :]
        out += tl.sum(tl.load(sums + which * size + at, mask=inside, other=0.0), 0)
    tl.store(total + which * room + c, out, mask=c < room)


@triton.jit(do_not_specialize=["cin", "per"])  # type: ignore[untyped-decorator]
def weight_gradient(  # type: ignore[no-untyped-def]
    x, dy, partial, mean, variance, gamma, beta, images, per, cin, cin_room, cout_room, moments_stride, eps,
    H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr,
    PAD: tl.constexpr, NORM: tl.constexpr, PARTS: tl.constexpr, BP: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    """One tap of a weight's gradient, summed over some of the images."""
    split, tap = tl.program_id(0), tl.program_id(1) % (K * K)
    c, o = (tl.program_id(1) // (K * K)) * BI + tl.arange(0, BI), tl.program_id(2) * BO + tl.arange(0, BO)
    kh, kw = tap // K, tap % K
    total = tl.zeros((BI, BO), tl.float32)
    for image in range(split * per, tl.minimum(images, split * per + per)):
        if NORM:
            centre, inverse = _standard(mean, variance, image * moments_stride, c, cin, cin_room, eps, PARTS)
            scale, shift = _affine(centre, inverse, gamma, beta, c, cin)
        for start in range(0, OH * OW, BP):
            p = start + tl.arange(0, BP)
            real, ih, iw = p < OH * OW, (p // OW) * STRIDE + kh - PAD, (p % OW) * STRIDE + kw - PAD
            inside = (real & (ih >= 0) & (ih < H) & (iw >= 0) & (iw < W))[:, None] & (c < cin_room)[None, :]
            at = ((image * H + ih) * W + iw) * cin_room
            values = tl.load(x + at[:, None] + c[None, :], mask=inside, other=0.0)
            if NORM:
                values = _rectified(values, scale, shift, inside)
            at = (image * OH * OW + p) * cout_room
            up = tl.load(dy + at[:, None] + o[None, :], mask=real[:, None] & (o < cout_room)[None, :], other=0.0)
            total = _product(tl.trans(values), up, total)
    at = ((split * K * K + tap) * cin_room + c[:, None]) * cout_room + o[None, :]
    tl.store(partial + at, total, mask=(c < cin_room)[:, None] & (o < cout_room)[None, :])
