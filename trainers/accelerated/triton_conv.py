"""Programs for convolutions of thin networks on CUDA, fused with the norms around them; in Triton, for bf16 maps.

cuDNN's convolutions are built for hundreds of channels. With 4 to 64 of them they spend their time on padding, on
transposing and on split sums, and choose their algorithms once per width anew. Here a program holds some pixels of one
image and some of its channels. A convolution normalises what it reads (InstanceNorm or BatchNorm, affine, ReLU) while
reading, adds the residual branch or projects it, and leaves mean and variance of what it writes for the norm that
follows: of a forward only the map before each norm is written, and what 3×3 kernels meet, nine times. Weights are
prefixes of the fp32 parameters, read where they are, and their gradients are added where they belong. No sum depends on
the order in which programs run: equal inputs, equal bits.

Networks alike, as several seeds of one arm are, can share a launch: their images follow one another in every map, EACH
of them a replica's, and `replicas` says how far from the first one's its parameters lie. With EACH of 0 there is one,
and nothing of this in the machine code. SHARE images in a row are normalised by the same moments.

Maps are `(images, pixels, room)` with room for the channels up to the next multiple of 16, zero beyond them, so that
odd widths load as fast as even ones. Tested in Triton's interpreter, which runs the same programs on CPU, in fp32.
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
def _product(a, b, total):  # type: ignore[no-untyped-def]
    """`a @ b` added to `total`, with fp32 sums of bf16 products; in the interpreter of fp32 ones."""
    if not _INTERPRETED:
        a, b = a.to(tl.bfloat16), b.to(tl.bfloat16)
    return tl.dot(a, b, total)


@triton.jit
def _standard(mean, variance, at, c, channels, eps):  # type: ignore[no-untyped-def]
    """Mean and 1 / SD per channel; for channels that are none, anything finite."""
    known = c < channels
    centre = tl.load(mean + at + c, mask=known, other=0.0)
    return centre, tl.rsqrt(tl.load(variance + at + c, mask=known, other=0.0) + eps)


@triton.jit  # type: ignore[untyped-decorator]
def _joined(  # type: ignore[no-untyped-def]
    mean, variance, mean_whole, variance_whole, group, stride, c, channels, room, eps, first, PARTS: tl.constexpr
):
    """As `_standard`, from moments of parts of equal size; those of the whole are written down by its first program."""
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
def _affine(centre, inverse, gamma, beta, c, channels):  # type: ignore[no-untyped-def]
    """What normalisation and affine amount to: scale and shift per channel, zero for channels that are none."""
    known = c < channels
    scale = inverse * tl.load(gamma + c, mask=known, other=0.0)
    return scale, tl.load(beta + c, mask=known, other=0.0) - centre * scale


@triton.jit
def _rectified(values, scale, shift):  # type: ignore[no-untyped-def]
    """ReLU of the normalised values; a NaN passes. Of channels that are none: zero, since scale and shift are."""
    out = values.to(tl.float32) * scale[None, :] + shift[None, :]
    return tl.maximum(out, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def lift(x, y, channels, room, pixels, by_image, by_channel, by_pixel, P: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """The network's input as a map."""
    image, p, c = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P), tl.arange(0, C)
    inside = (p < pixels)[:, None] & (c < room)[None, :]
    at = x + image * by_image + p[:, None] * by_pixel + c[None, :] * by_channel
    values = tl.load(at, mask=inside & (c < channels)[None, :], other=0.0)
    tl.store(y + (image * pixels + p[:, None]) * room + c[None, :], values.to(y.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _apart(replicas, image, EACH: tl.constexpr):  # type: ignore[no-untyped-def]
    """How far an image's replica has its parameters from where the first one has them."""
    return tl.load(replicas + image // EACH) * _UNIT


@triton.jit  # type: ignore[untyped-decorator]
def _tap(  # type: ignore[no-untyped-def]
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


@triton.jit
def _per_channel(a, b, row, c, room, of_a, of_b):  # type: ignore[no-untyped-def]
    """Writes two numbers per channel."""
    tl.store(a + row * room + c, of_a, mask=c < room)
    tl.store(b + row * room + c, of_b, mask=c < room)


@triton.jit
def _written(total, y, to, written, real, count):  # type: ignore[no-untyped-def]
    """Writes a part of a map; gives its moments."""
    rounded = total.to(y.dtype.element_ty)
    tl.store(y + to, rounded, mask=written)
    values = rounded.to(tl.float32)
    centre = tl.sum(values, 0) / count
    away = tl.where(real[:, None], values - centre[None, :], 0.0)
    return centre, tl.sum(away * away, 0) / count


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
    x, w, beside, beside_w, y, mean, variance, gamma, beta, mean_whole, variance_whole, mean_out, variance_out, cin,
    cin_room, cout, cout_room, moments_stride, w_o, w_i, beside_cin, beside_room, beside_o, beside_i, eps, replicas,
    EACH: tl.constexpr, SHARE: tl.constexpr, PIXELS: tl.constexpr, OW: tl.constexpr, NORM: tl.constexpr,
    PARTS: tl.constexpr, BESIDE: tl.constexpr, BESIDE_STRIDE: tl.constexpr, BESIDE_H: tl.constexpr,
    BESIDE_W: tl.constexpr, TILES: tl.constexpr, P: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr,
    BB: tl.constexpr,
):  # fmt: skip
    """A 1×1 convolution of few inputs: weights and norm are met once, and a tile is loaded while the last is done."""
    image, first = tl.program_id(0), tl.program_id(1) * TILES
    if EACH:
        apart = _apart(replicas, image, EACH)
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
        centre, inverse = _joined(
            mean, variance, mean_whole, variance_whole, group, moments_stride, c, cin, cin_room, eps, alone, PARTS
        )
        scale, shift = _affine(centre, inverse, gamma, beta, c, cin)
    mean_y, spread_y = tl.zeros((BO,), tl.float32), tl.zeros((BO,), tl.float32)
    for tile in range(TILES):
        following, branch_following = _pixels_of(
            x, beside, image, p + tl.where(tile + 1 < TILES, P, PIXELS), c, o, b, cin_room, cout_room, beside_room,
            PIXELS, OW, BESIDE, BESIDE_STRIDE, BESIDE_H, BESIDE_W,
        )  # fmt: skip
        if NORM:
            total = _product(_rectified(values, scale, shift), kernel, tl.zeros((P, BO), tl.float32))
        else:
            total = _product(values, kernel, tl.zeros((P, BO), tl.float32))
        if BESIDE == "added":
            total += branch.to(tl.float32)
        if BESIDE == "projected":
            total = _product(branch, second, total)
        to, real = (image * PIXELS + p[:, None]) * cout_room + o[None, :], p < PIXELS
        of_tile, spread = _written(total, y, to, real[:, None] & (o < cout_room)[None, :], real, P)
        away = of_tile - mean_y  # of as many pixels as each tile before
        mean_y += away / (tile + 1)
        spread_y += spread + away * away * (tile / (tile + 1))
        p, values, branch = p + P, following, branch_following
    row = image * tl.num_programs(1) + tl.program_id(1)
    _per_channel(mean_out, variance_out, row, o, cout_room, mean_y, spread_y / TILES)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def rectify(  # type: ignore[no-untyped-def]
    x, y, mean, variance, gamma, beta, mean_whole, variance_whole, channels, room, moments_stride, eps, replicas,
    EACH: tl.constexpr, SHARE: tl.constexpr, PIXELS: tl.constexpr, PARTS: tl.constexpr, P: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    """A map normalised and rectified."""
    image, p = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P)
    if EACH:
        apart = _apart(replicas, image, EACH)
        gamma, beta = gamma + apart, beta + apart
    c = tl.program_id(2) * C + tl.arange(0, C)
    at, inside = (image * PIXELS + p[:, None]) * room + c[None, :], (p < PIXELS)[:, None] & (c < room)[None, :]
    values = tl.load(x + at, mask=inside, other=0.0)
    first, group = tl.program_id(1) == 0, image // SHARE
    centre, inverse = _joined(
        mean, variance, mean_whole, variance_whole, group, moments_stride, c, channels, room, eps, first, PARTS
    )
    scale, shift = _affine(centre, inverse, gamma, beta, c, channels)
    tl.store(y + at, _rectified(values, scale, shift).to(y.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def convolve(  # type: ignore[no-untyped-def]
    x, w, beside, beside_w, y, mean, variance, gamma, beta, mean_whole, variance_whole, mean_out, variance_out, cin,
    cin_room, cout, cout_room, moments_stride, w_o, w_i, w_h, w_w, beside_cin, beside_room, beside_o, beside_i, eps,
    replicas, EACH: tl.constexpr, SHARE: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr,
    PAD: tl.constexpr, NORM: tl.constexpr, PARTS: tl.constexpr, BESIDE: tl.constexpr, BESIDE_STRIDE: tl.constexpr,
    BESIDE_H: tl.constexpr, BESIDE_W: tl.constexpr, P: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    tl.static_assert(K == 1 or not NORM)  # larger kernels meet what `rectify` has written
    image, part = tl.program_id(0), tl.program_id(1)
    if EACH:
        apart = _apart(replicas, image, EACH)
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
        values, kernel = _tap(
            x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, 0, H, W, K, STRIDE, PAD
        )
        for tap in range(1, K * K):
            following, weights = _tap(
                x, w, image, oh, ow, real, c, o, cin, cin_room, cout, w_o, w_i, w_h, w_w, tap, H, W, K, STRIDE, PAD
            )
            total = _product(values, kernel, total)
            values, kernel = following, weights
        if NORM:
            first, group = (part == 0) & (tl.program_id(2) == 0), image // SHARE
            centre, inverse = _joined(
                mean, variance, mean_whole, variance_whole, group, moments_stride, c, cin, cin_room, eps, first, PARTS
            )
            scale, shift = _affine(centre, inverse, gamma, beta, c, cin)
            values = _rectified(values, scale, shift)
            if OH * OW % P != 0:
                values = tl.where(real[:, None], values, 0.0)
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
    count = tl.minimum(P, OH * OW)  # of a part: all are full, or there is one
    centre, spread = _written(total, y, to, written, real, count)
    _per_channel(mean_out, variance_out, image * tl.num_programs(1) + part, o, cout_room, centre, spread)


@triton.jit
def _through_relu(up, values, centre, inverse, scale, shift):  # type: ignore[no-untyped-def]
    """Takes a gradient through ReLU and affine, zero outside; gives the sums of the affine's gradients, too."""
    standard = values * inverse[None, :] - (centre * inverse)[None, :]
    up = tl.where(values * scale[None, :] + shift[None, :] <= 0, 0.0, up)
    return up, standard, tl.sum(up, 0), tl.sum(up * standard, 0)


@triton.jit
def _centred(up, standard, first, second, scale):  # type: ignore[no-untyped-def]
    """The gradient through a normalisation, from the means of it and of it times what came out."""
    return up * scale[None, :] - (first * scale)[None, :] - standard * (second * scale)[None, :]


@triton.jit  # type: ignore[untyped-decorator]
def convolve_back(  # type: ignore[no-untyped-def]
    dy, w, x, skip, dx, mean, variance, gamma, beta, by_gamma, by_beta, cin, cin_room, cout, cout_room, moments_stride,
    w_o, w_i, w_h, w_w, eps, replicas, EACH: tl.constexpr, SHARE: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr,
    PAD: tl.constexpr, NORM: tl.constexpr, WHOLE: tl.constexpr, SKIP: tl.constexpr,
    P: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    image, part = tl.program_id(0), tl.program_id(1)
    if EACH:
        apart = _apart(replicas, image, EACH)
        w, gamma, beta = w + apart, gamma + apart, beta + apart
    p, c = part * P + tl.arange(0, P), tl.program_id(2) * BI + tl.arange(0, BI)
    real, ih, iw = p < H * W, p // W, p % W
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
    if NORM:
        values = values.to(tl.float32)
        centre, inverse = _standard(mean, variance, image // SHARE * moments_stride, c, cin, eps)
        scale, shift = _affine(centre, inverse, gamma, beta, c, cin)
        total, standard, first, second = _through_relu(total, values, centre, inverse, scale, shift)
        _per_channel(by_beta, by_gamma, image * tl.num_programs(1) + part, c, cin_room, first, second)
        if WHOLE:
            total = _centred(total, standard, first / (H * W), second / (H * W), scale)
            if SKIP:
                total += beside.to(tl.float32)
    tl.store(dx + at, total.to(dx.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def pointwise_back(  # type: ignore[no-untyped-def]
    dy, w, x, dx, partial, mean, variance, gamma, beta, by_gamma, by_beta, cin, cin_room, cout, cout_room,
    moments_stride, w_o, w_i, eps, replicas,
    EACH: tl.constexpr, SHARE: tl.constexpr, PIXELS: tl.constexpr, TILES: tl.constexpr, P: tl.constexpr,
    BI: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    """The gradients of a 1×1 convolution's weight, and of its input behind the norm up to ReLU (see `through_norm`)."""
    image, first = tl.program_id(0), tl.program_id(1) * TILES
    if EACH:
        apart = _apart(replicas, image, EACH)
        w, gamma, beta = w + apart, gamma + apart, beta + apart
    c, o = tl.program_id(2) * BI + tl.arange(0, BI), tl.arange(0, BO)
    p = first * P + tl.arange(0, P)
    there, given = (c < cin_room)[None, :], (o < cout_room)[None, :]
    values = tl.load(x + (image * PIXELS + p[:, None]) * cin_room + c[None, :], mask=there, other=0.0)
    up = tl.load(dy + (image * PIXELS + p[:, None]) * cout_room + o[None, :], mask=given, other=0.0)
    kernel = tl.load(w + o[:, None] * w_o + c[None, :] * w_i, mask=(o < cout)[:, None] & (c < cin)[None, :], other=0.0)
    centre, inverse = _standard(mean, variance, image // SHARE * moments_stride, c, cin, eps)
    scale, shift = _affine(centre, inverse, gamma, beta, c, cin)
    by_shift, by_scale = tl.zeros((BI,), tl.float32), tl.zeros((BI,), tl.float32)
    by_weight = tl.zeros((BI, BO), tl.float32)
    for tile in range(TILES):
        q, more = p + P, tile + 1 < TILES
        following = tl.load(x + (image * PIXELS + q[:, None]) * cin_room + c[None, :], mask=there & more, other=0.0)
        up_following = tl.load(
            dy + (image * PIXELS + q[:, None]) * cout_room + o[None, :], mask=given & more, other=0.0
        )
        total = _product(up, kernel, tl.zeros((P, BI), tl.float32))
        by_weight = _product(tl.trans(_rectified(values, scale, shift)), up, by_weight)
        total, _, of_shift, of_scale = _through_relu(total, values.to(tl.float32), centre, inverse, scale, shift)
        to = dx + (image * PIXELS + p[:, None]) * cin_room + c[None, :]
        tl.store(to, total.to(dx.dtype.element_ty), mask=there)
        by_shift += of_shift
        by_scale += of_scale
        p, values, up = q, following, up_following
    row = image * tl.num_programs(1) + tl.program_id(1)
    _per_channel(by_beta, by_gamma, row, c, cin_room, by_shift, by_scale)
    at = partial + (row * cin_room + c[:, None]) * cout_room + o[None, :]
    tl.store(at, by_weight, mask=(c < cin_room)[:, None] & given)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def pool(  # type: ignore[no-untyped-def]
    x, pooled, mean, variance, gamma, beta, mean_whole, variance_whole, channels, room, moments_stride, eps, replicas,
    EACH: tl.constexpr, SHARE: tl.constexpr, PIXELS: tl.constexpr, PARTS: tl.constexpr, P: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    image, c, p = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C), tl.arange(0, P)
    if EACH:
        apart = _apart(replicas, image, EACH)
        gamma, beta = gamma + apart, beta + apart
    group = image // SHARE
    inside = (p < PIXELS)[:, None] & (c < room)[None, :]
    centre, inverse = _joined(
        mean, variance, mean_whole, variance_whole, group, moments_stride, c, channels, room, eps, True, PARTS
    )
    scale, shift = _affine(centre, inverse, gamma, beta, c, channels)
    values = tl.load(x + (image * PIXELS + p[:, None]) * room + c[None, :], mask=inside, other=0.0)
    values = _rectified(values, scale, shift)
    if P != PIXELS:
        values = tl.where((p < PIXELS)[:, None], values, 0.0)
    total = tl.sum(values, 0) / PIXELS
    tl.store(pooled + image * room + c, total.to(pooled.dtype.element_ty), mask=c < room)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def pool_back(  # type: ignore[no-untyped-def]
    by_pooled, x, dx, mean, variance, gamma, beta, by_gamma, by_beta, channels, room, moments_stride, eps, replicas,
    EACH: tl.constexpr, SHARE: tl.constexpr, PIXELS: tl.constexpr, WHOLE: tl.constexpr, P: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    image, c, p = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C), tl.arange(0, P)
    if EACH:
        apart = _apart(replicas, image, EACH)
        gamma, beta = gamma + apart, beta + apart
    at, inside = (image * PIXELS + p[:, None]) * room + c[None, :], (p < PIXELS)[:, None] & (c < room)[None, :]
    given = tl.load(by_pooled + image * room + c, mask=c < channels, other=0.0).to(tl.float32)
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    centre, inverse = _standard(mean, variance, image // SHARE * moments_stride, c, channels, eps)
    scale, shift = _affine(centre, inverse, gamma, beta, c, channels)
    up = tl.where((p < PIXELS)[:, None], (given / PIXELS)[None, :], 0.0)
    up, standard, first, second = _through_relu(up, values, centre, inverse, scale, shift)
    _per_channel(by_beta, by_gamma, image, c, room, first, second)
    if WHOLE:
        up = _centred(up, standard, first / PIXELS, second / PIXELS, scale)
    tl.store(dx + at, up.to(dx.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["channels"])  # type: ignore[untyped-decorator]
def through_norm(  # type: ignore[no-untyped-def]
    g, x, skip, dx, mean, variance, gamma, by_gamma, by_beta, count, channels, room, moments_stride, sums_stride, eps,
    replicas, EACH: tl.constexpr, SHARE: tl.constexpr, PIXELS: tl.constexpr, ROWS: tl.constexpr, SKIP: tl.constexpr,
    P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """The rest of a norm's backward, once all of its sums are there; `g` is behind ReLU already."""
    image, p = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P)
    if EACH:
        gamma += _apart(replicas, image, EACH)
    c, row = tl.program_id(2) * C + tl.arange(0, C), tl.arange(0, ROWS)
    at, inside = (image * PIXELS + p[:, None]) * room + c[None, :], (p < PIXELS)[:, None] & (c < room)[None, :]
    values, up = tl.load(x + at, mask=inside, other=0.0), tl.load(g + at, mask=inside, other=0.0)
    if SKIP:
        beside = tl.load(skip + at, mask=inside, other=0.0)
    sums, summed = image // SHARE * sums_stride + row[:, None] * room + c[None, :], (c < room)[None, :]
    first = tl.sum(tl.load(by_beta + sums, mask=summed, other=0.0), 0) / count
    second = tl.sum(tl.load(by_gamma + sums, mask=summed, other=0.0), 0) / count
    centre, inverse = _standard(mean, variance, image // SHARE * moments_stride, c, channels, eps)
    scale = inverse * tl.load(gamma + c, mask=c < channels, other=0.0)
    standard = values.to(tl.float32) * inverse[None, :] - (centre * inverse)[None, :]
    out = _centred(up.to(tl.float32), standard, first, second, scale)
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
    replicas, EACH: tl.constexpr, MOVE: tl.constexpr, N: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Moments over the batch from those of its parts; the running ones are moved, or what moves them is kept."""
    if EACH:
        replica = tl.program_id(1)
        means, variances = means + replica * rows * room, variances + replica * rows * room
        mean, variance, unbiased = mean + replica * room, variance + replica * room, unbiased + replica * room
        apart = _apart(replicas, replica, 1)
        running_mean, running_var = running_mean + apart, running_var + apart
    n, c = tl.arange(0, N), tl.program_id(0) * C + tl.arange(0, C)
    near = tl.load(means + c, mask=c < room, other=0.0)  # the first part's mean: squares of what is left cancel little
    total, spread = tl.zeros((C,), tl.float32), tl.zeros((C,), tl.float32)
    for start in range(0, rows, N):
        at, inside = (start + n)[:, None] * room + c[None, :], (start + n < rows)[:, None] & (c < room)[None, :]
        away = tl.where(inside, tl.load(means + at, mask=inside, other=0.0) - near[None, :], 0.0)
        total += tl.sum(away, 0)
        spread += tl.sum(tl.load(variances + at, mask=inside, other=0.0) + away * away, 0)
    beyond = total / rows
    centre, spread = near + beyond, spread / rows - beyond * beyond
    tl.store(mean + c, centre, mask=c < room)
    tl.store(variance + c, spread, mask=c < room)
    spread = spread * (count / (count - 1))
    if MOVE:
        move(running_mean, centre, momentum, c, c < channels)
        move(running_var, spread, momentum, c, c < channels)
    else:
        tl.store(unbiased + c, spread, mask=c < room)


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def batch_sums(sums, total, rows, size, room, EACH: tl.constexpr, N: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """Two sets of sums over all parts of a replica's batch, `size` apart."""
    n, c, which = tl.arange(0, N), tl.program_id(0) * C + tl.arange(0, C), tl.program_id(1)
    if EACH:
        sums += tl.program_id(2) * rows * room
        total += (which * (tl.num_programs(2) - 1) + tl.program_id(2)) * room
    out = tl.zeros((C,), tl.float32)
    for start in range(0, rows, N):
        at, inside = (start + n)[:, None] * room + c[None, :], (start + n < rows)[:, None] & (c < room)[None, :]
        out += tl.sum(tl.load(sums + which * size + at, mask=inside, other=0.0), 0)
    tl.store(total + which * room + c, out, mask=c < room)


@triton.jit(do_not_specialize=["cin", "per"])  # type: ignore[untyped-decorator]
def weight_gradient(  # type: ignore[no-untyped-def]
    x, dy, partial, mean, variance, gamma, beta, images, per, cin, cin_room, cout_room, moments_stride, eps,
    replicas, EACH: tl.constexpr, SHARE: tl.constexpr, H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr,
    OW: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr,
    PAD: tl.constexpr, NORM: tl.constexpr, PIECES: tl.constexpr, TAPS: tl.constexpr, BP: tl.constexpr,
    BI: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    """Some taps of a weight's gradient, summed over some images, or one of as many pieces of one."""
    tl.static_assert(K > 1 or PAD == 0)
    tl.static_assert(K == 1 or not NORM)
    GROUPS: tl.constexpr = (K * K + TAPS - 1) // TAPS
    SPAN: tl.constexpr = (OH * OW + PIECES * BP - 1) // (PIECES * BP) * BP
    first, piece = tl.program_id(0) // PIECES * per, tl.program_id(0) % PIECES
    if EACH:
        groups = (EACH + per - 1) // per  # of images, in every replica
        replica, group = tl.program_id(0) // PIECES // groups, tl.program_id(0) // PIECES % groups
        first, images = replica * EACH + group * per, replica * EACH + EACH
        apart = _apart(replicas, replica, 1)
        gamma, beta = gamma + apart, beta + apart
    column, o = tl.arange(0, TAPS * BI), tl.program_id(2) * BO + tl.arange(0, BO)
    tap, c = tl.program_id(1) % GROUPS * TAPS + column // BI, tl.program_id(1) // GROUPS * BI + column % BI
    down, right, known = tap // K - PAD, tap % K - PAD, (tap < K * K) & (c < cin_room)
    total = tl.zeros((TAPS * BI, BO), tl.float32)
    for image in range(first, tl.minimum(images, first + per)):
        if NORM:
            centre, inverse = _standard(mean, variance, image // SHARE * moments_stride, c, cin, eps)
            scale, shift = _affine(centre, inverse, gamma, beta, c, cin)
        for start in range(piece * SPAN, piece * SPAN + SPAN, BP):
            p = start + tl.arange(0, BP)
            real = p < OH * OW
            if K == 1:
                at, inside = (p // OW * STRIDE * W + p % OW * STRIDE)[:, None], real[:, None] & known[None, :]
            else:
                ih, iw = (p // OW * STRIDE)[:, None] + down[None, :], (p % OW * STRIDE)[:, None] + right[None, :]
                at, inside = ih * W + iw, real[:, None] & known[None, :] & (ih >= 0) & (ih < H) & (iw >= 0) & (iw < W)
            values = tl.load(x + (image * H * W + at) * cin_room + c[None, :], mask=inside, other=0.0)
            if NORM:  # of pixels beyond the last one whatever: their gradients are zero
                values = _rectified(values, scale, shift)
            at = (image * OH * OW + p) * cout_room
            up = tl.load(dy + at[:, None] + o[None, :], mask=real[:, None] & (o < cout_room)[None, :], other=0.0)
            total = _product(tl.trans(values), up, total)
    at = ((tl.program_id(0) * K * K + tap[:, None]) * cin_room + c[:, None]) * cout_room + o[None, :]
    tl.store(partial + at, total, mask=known[:, None] & (o < cout_room)[None, :])
