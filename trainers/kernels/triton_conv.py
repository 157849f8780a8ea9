"""Convolutions of thin networks on CUDA, fused with the norms around them; in Triton, for bf16 activations.

cuDNN's convolutions are built for hundreds of channels. With 4 to 64 of them they spend their time on padding, on
transposing and on split sums, and choose their algorithms once per width anew. Here a program holds some pixels of one
image and some of its channels. A convolution normalises what it reads (InstanceNorm or BatchNorm, affine, ReLU) while
reading, adds the residual branch or projects it, and leaves mean and variance of what it writes for the norm that
follows: the map before each norm is all that is written. Weights are prefixes of the fp32 parameters, read where they
are, and their gradients are added where they belong. No sum depends on the order in which programs run: equal inputs,
equal bits.

Maps are `(images, pixels, room)` with room for the channels up to the next multiple of 16, zero beyond them, so that
odd widths load as fast as even ones. Tested in Triton's interpreter, which runs the same programs on CPU, in fp32.
"""

import math
import os
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

EPS = 1e-5
_INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
_NUMBERS = torch.float32 if _INTERPRETED else torch.bfloat16  # of maps; where logic is tested, nothing is rounded
_ROOM = 16  # channels: the least a matrix unit takes
_WIDEST = 64  # channels of a program
_TILE = 8192  # numbers of a program, in its registers
_WHOLE = 1024  # pixels: an image of so many is held whole on the way back, so that InstanceNorm needs no second kernel
_SUMMED = 512  # rows that are added up at once
_WARPS, _STAGES, _LONG = 4, 1, 8  # per program; loops of more turns than _LONG are pipelined
_ADDED, _FIELDS = 64, 12  # weights of a program that adds up; what it must know of them
_SPACE, _ALIGNED = 1 << 24, 64  # numbers: partial sums are given room in pieces of so many, each at such an address
_PROGRAMS, _PARTIAL = 512, 1 << 20  # of a weight's gradient: about so many, and at most so many numbers written


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
def _lift(x, y, channels, room, pixels, by_image, by_channel, by_pixel, P: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
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
def _convolve(  # type: ignore[no-untyped-def]
    x, w, beside, beside_w, y, rectified, mean, variance, gamma, beta, mean_out, variance_out, cin, cin_room, cout,
    cout_room,
    moments_stride, w_o, w_i, w_h, w_w, beside_cin, beside_room, beside_o, beside_i, eps,
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
def _convolve_back(  # type: ignore[no-untyped-def]
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
def _pool(  # type: ignore[no-untyped-def]
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


@triton.jit(do_not_specialize=["channels", "by_image"])  # type: ignore[untyped-decorator]
def _pool_back(  # type: ignore[no-untyped-def]
    by_pooled, x, dx, mean, variance, gamma, beta, by_gamma, by_beta, channels, room, moments_stride, by_image,
    by_channel, eps, PIXELS: tl.constexpr, PARTS: tl.constexpr, WHOLE: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    image, c, p = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C), tl.arange(0, P)
    at, inside = (image * PIXELS + p[:, None]) * room + c[None, :], (p < PIXELS)[:, None] & (c < room)[None, :]
    given = tl.load(by_pooled + image * by_image + c * by_channel, mask=c < channels, other=0.0).to(tl.float32)
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
def _through_norm(  # type: ignore[no-untyped-def]
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


@triton.jit(do_not_specialize=["rows", "channels"])  # type: ignore[untyped-decorator]
def _batch_moments(  # type: ignore[no-untyped-def]
    means, variances, mean, variance, running_mean, running_var, rows, count, channels, room, momentum,
    N: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Moments over the batch from those of its parts, and the running ones moved."""
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
    known = c < channels
    before, before_var = tl.load(running_mean + c, mask=known), tl.load(running_var + c, mask=known)
    unbiased = spread * (count / (count - 1))
    tl.store(running_mean + c, before + momentum * (centre - before), mask=known)
    tl.store(running_var + c, before_var + momentum * (unbiased - before_var), mask=known)


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def _batch_sums(sums, total, rows, size, room, N: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """Two sets of sums over all parts of the batch, `size` apart."""
    n, c, which = tl.arange(0, N), tl.program_id(0) * C + tl.arange(0, C), tl.program_id(1)
    out = tl.zeros((C,), tl.float32)
    for start in range(0, rows, N):
        at, inside = (start + n)[:, None] * room + c[None, :], (start + n < rows)[:, None] & (c < room)[None, :]
        out += tl.sum(tl.load(sums + which * size + at, mask=inside, other=0.0), 0)
    tl.store(total + which * room + c, out, mask=c < room)


@triton.jit(do_not_specialize=["cin", "per"])  # type: ignore[untyped-decorator]
def _weight_gradient(  # type: ignore[no-untyped-def]
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


@triton.jit  # type: ignore[untyped-decorator]
def _add_up(  # type: ignore[no-untyped-def]
    table, blocks, FIELDS: tl.constexpr, S: tl.constexpr, B: tl.constexpr, R: tl.constexpr, C: tl.constexpr
):
    """Adds all partial sums of a pass, of weights and of affines, to the gradients that they belong to."""
    row = table + tl.load(blocks + 3 * tl.program_id(0)) * FIELDS
    block, affine = tl.load(blocks + 3 * tl.program_id(0) + 1), tl.load(blocks + 3 * tl.program_id(0) + 2)
    partial, g = tl.load(row).to(tl.pointer_type(tl.float32)), tl.load(row + 1).to(tl.pointer_type(tl.float32))
    count, cin = tl.load(row + 2).to(tl.int32), tl.load(row + 3).to(tl.int32)
    cin_room = tl.load(row + 4).to(tl.int32)
    if affine:
        r, channel = tl.arange(0, R), block * C + tl.arange(0, C)
        real, sums = channel < cin, tl.zeros((C,), tl.float32)
        for first in range(0, count, R):
            parts, there = (first + r)[:, None] * cin_room, (first + r < count)[:, None] & real[None, :]
            sums += tl.sum(tl.load(partial + parts + channel[None, :], mask=there, other=0.0), 0)
        tl.store(g + channel, tl.load(g + channel, mask=real, other=0.0) + sums, mask=real)
    else:
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


@dataclass(frozen=True)
class Map:
    """Activations of a batch, and what the norm behind them needs.

    Attributes:
        data: (images, height · width, room) bf16, zero beyond `channels`.
        channels: that mean something.
        height, width: in pixels.
        mean, variance: (images, parts, room) fp32, of parts of equal size of every image's channels.
    """

    data: Tensor
    channels: int
    height: int
    width: int
    mean: Tensor | None = None
    variance: Tensor | None = None

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
        weight, bias: (≥ channels,) fp32, the parameters themselves.
        mean, variance: (images, parts, room) per image; or (≥ channels,) for all of them.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor

    @property
    def instance(self) -> bool:
        """Whether every image has moments of its own."""
        return self.mean.ndim == 3

    @property
    def stride(self) -> int:
        """From one image's moments to the next one's."""
        return self.mean.stride(0) if self.instance else 0

    @property
    def parts(self) -> int:
        return self.mean.shape[1] if self.instance else 1

    @property
    def operands(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.mean, self.variance, self.weight, self.bias


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


def lift(x: Tensor) -> Map:
    """The network's input `(images, channels, height, width)` as a map."""
    images, channels, height, width = x.shape
    room, pixels = _room(channels), height * width
    data = torch.empty(images, pixels, room, device=x.device, dtype=_NUMBERS)
    by_image, by_channel, by_row, by_column = x.stride()
    if by_row != width * by_column:
        raise ValueError("the rows of an image must follow one another")
    p = min(_power(pixels), 256)
    _lift[(images, triton.cdiv(pixels, p))](
        x, data, channels, room, pixels, by_image, by_channel, by_column, p, _power(room), num_warps=_WARPS
    )
    return Map(data, channels, height, width)


def convolve(
    x: Map,
    weight: Weight,
    norm: Norm | None,
    add: Map | None = None,
    project: tuple[Map, Weight] | None = None,
    keep: bool = False,
) -> tuple[Map, Map | None]:
    """The convolution of `x`, normalised and rectified if there is a norm, plus another branch.

    Args:
        add: the other branch, or
        project: what becomes it by a 1×1 convolution.
        keep: a backward follows.

    Returns:
        the convolution; and `x` normalised and rectified, where keeping it costs less than doing it again per tap.
    """
    k, w = weight.full.shape[2], weight.full
    height, width = ((side + 2 * weight.padding - k) // weight.stride + 1 for side in (x.height, x.width))
    pixels, room = height * width, _room(weight.outputs)
    y = torch.empty(x.images, pixels, room, device=x.data.device, dtype=_NUMBERS)
    p, bo = _tiles(pixels, room)
    parts = triton.cdiv(pixels, p)
    mean, variance = torch.empty(2, x.images, parts, room, device=x.data.device).unbind()
    keep = keep and norm is not None and k > 1 and weight.stride == 1 and 2 * weight.padding + 1 == k
    rectified = torch.empty_like(x.data) if keep else x.data
    branch, how, beside, side, geometry = x.data, "none", (0, 0, 0, 0), w, (1, 1, 1)
    if add is not None:
        branch, how = add.data, "added"
    if project is not None:
        (source, second), how = project, "projected"
        branch, side, geometry = source.data, second.full, (second.stride, source.height, source.width)
        beside = source.channels, source.room, second.full.stride(0), second.full.stride(1)
    _convolve[(x.images, parts, triton.cdiv(room, bo))](
        x.data, w, branch, side, y, rectified, *(norm.operands if norm else (x.data,) * 4), mean, variance,
        x.channels, x.room, weight.outputs, room, norm.stride if norm else 0, *w.stride(), *beside, EPS,
        x.height, x.width, height, width, k, weight.stride, weight.padding, norm is not None,
        norm.parts if norm else 1, how, *geometry, keep, p, _channels(x.room), bo,
        num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    out = Map(y, weight.outputs, height, width, mean, variance)
    return out, Map(rectified, x.channels, x.height, x.width) if keep else None


class Gradients:
    """The parameters' gradients of a pass: partial sums at first, then all added to where they belong by one kernel.

    Partial sums lie at the same addresses in every pass, and what belongs where is told to the device once per
    sub-model, so a pass that has been made once can be captured.
    """

    def __init__(self) -> None:
        self._spaces: list[Tensor] = []
        self._tables: dict[tuple[tuple[int, ...], ...], tuple[Tensor, Tensor]] = {}
        self._space, self._used = 0, 0
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

    def of_weight(self, partial: Tensor, weight: Weight, cin: int) -> None:
        """`partial: (splits, K, K, input room, output room)` adds up to the gradient of a weight's prefix."""
        splits, k, _, cin_room, cout_room = partial.shape
        gradient = _gradient(weight.full)
        self._row(
            (partial.data_ptr(), gradient.data_ptr(), splits, cin, cin_room, weight.outputs, cout_room,
             *gradient.stride(), k), triton.cdiv(partial[0].numel(), _ADDED), affine=0,
        )  # fmt: skip

    def of_affine(self, sums: Tensor, norm: Norm, channels: int) -> None:
        """`sums: (2, parts, room)` add up to the gradients of an affine's weight and bias."""
        for partial, parameter in zip(sums, (norm.weight, norm.bias), strict=True):
            rows, room = partial.shape
            row = (partial.data_ptr(), _gradient(parameter).data_ptr(), rows, channels, room)
            self._row((*row, *(0,) * (_FIELDS - len(row))), triton.cdiv(room, _ROOM), affine=1)

    def _row(self, row: tuple[int, ...], blocks: int, affine: int) -> None:
        self._blocks += [(len(self._rows), block, affine) for block in range(blocks)]
        self._rows.append(row)

    def add_up(self) -> None:
        """The pass is done: adds everything up."""
        key, device = tuple(self._rows), self._spaces[0].device
        if key not in self._tables:
            rows = torch.tensor(self._rows, dtype=torch.int64, device=device)
            self._tables[key] = rows, torch.tensor(self._blocks, dtype=torch.int32, device=device)
        _add_up[(len(self._blocks),)](*self._tables[key], _FIELDS, 32, _ADDED, 128, _ROOM, num_warps=_WARPS)


def convolve_back(
    dy: Tensor, y: Map, x: Map, weight: Weight, norm: Norm | None, gradients: Gradients, skip: Tensor | None = None
) -> Tensor:
    """The gradient of `x` from that of `y = convolve(x, …)`, plus that of a branch around it; and the affine's."""
    k, dx = weight.full.shape[2], torch.empty_like(x.data)
    whole = x.pixels <= _WHOLE and norm is not None and norm.instance
    p, bi = (_power(x.pixels), _held(x)) if whole else _tiles(x.pixels, x.room)
    parts = triton.cdiv(x.pixels, p)
    sums = gradients.room((2, x.images * parts, x.room), dx.device) if norm else None
    _convolve_back[(x.images, parts, triton.cdiv(x.room, bi))](
        dy, weight.full, x.data, dy if skip is None else skip, dx, *(norm.operands if norm else (dy,) * 4),
        *(dy, dy) if sums is None else sums, x.channels, x.room, y.channels, y.room, norm.stride if norm else 0,
        *weight.full.stride(), EPS, x.height, x.width, y.height, y.width, k, weight.stride, weight.padding,
        norm is not None, norm.parts if norm else 1, whole, skip is not None, p * bi <= _TILE, p, bi,
        max(_ROOM, min(_channels(y.room), _TILE // p)), num_warps=_WARPS if p * bi <= _TILE else 2 * _WARPS,
        num_stages=_STAGES,
    )  # fmt: skip
    if norm is None or sums is None:
        return dx
    if whole:
        gradients.of_affine(sums, norm, x.channels)
        return dx
    return _behind_norm(dx, x, norm, sums, parts, gradients, skip)


def pool(x: Map, norm: Norm) -> Tensor:
    """The mean over all pixels of `x`, normalised and rectified: (images, channels) bf16."""
    pooled = torch.empty(x.images, x.room, device=x.data.device, dtype=_NUMBERS)
    c = _held(x)
    _pool[(x.images, triton.cdiv(x.room, c))](
        x.data, pooled, *norm.operands, x.channels, x.room, norm.stride, EPS, x.pixels, norm.parts, _power(x.pixels),
        c, num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    return pooled[:, : x.channels]


def pool_back(by_pooled: Tensor, x: Map, norm: Norm, gradients: Gradients) -> Tensor:
    """The gradient of `x` from that of `pool(x, norm)`; and the affine's."""
    dx, sums = torch.empty_like(x.data), gradients.room((2, x.images, x.room), x.data.device)
    c = _held(x)
    _pool_back[(x.images, triton.cdiv(x.room, c))](
        by_pooled, x.data, dx, *norm.operands, sums[0], sums[1], x.channels, x.room, norm.stride, *by_pooled.stride(),
        EPS, x.pixels, norm.parts, norm.instance, _power(x.pixels), c, num_warps=_WARPS,
    )  # fmt: skip
    if norm.instance:
        gradients.of_affine(sums, norm, x.channels)
        return dx
    return _behind_norm(dx, x, norm, sums, 1, gradients, None)


def _behind_norm(
    g: Tensor, x: Map, norm: Norm, sums: Tensor, parts: int, gradients: Gradients, skip: Tensor | None
) -> Tensor:
    """The gradient of `x` from that behind its norm; and the affine's."""
    count, dx = x.pixels, torch.empty_like(g)
    if not norm.instance:
        total, rows = gradients.room((2, 1, x.room), g.device), sums.shape[1]
        _batch_sums[(triton.cdiv(x.room, _ROOM), 2)](
            sums, total, rows, sums.stride(0), x.room, min(_power(rows), _SUMMED), _ROOM, num_warps=_WARPS
        )
        sums, parts, count = total, 1, x.images * x.pixels
    gradients.of_affine(sums, norm, x.channels)
    p, c = _tiles(x.pixels, x.room)
    _through_norm[(x.images, triton.cdiv(x.pixels, p), triton.cdiv(x.room, c))](
        g, x.data, g if skip is None else skip, dx, norm.mean, norm.variance, norm.weight, sums[0], sums[1], count,
        x.channels, x.room, norm.stride, parts * x.room if norm.instance else 0, EPS, x.pixels, norm.parts, parts,
        skip is not None, p, c, num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    return dx


def batch_moments(x: Map, running_mean: Tensor, running_var: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of the batch, (room,) each; the running ones move in place."""
    assert x.mean is not None
    mean, variance = torch.empty(2, x.room, device=x.data.device).unbind()
    rows = x.mean.shape[0] * x.mean.shape[1]
    _batch_moments[(triton.cdiv(x.room, _ROOM),)](
        x.mean, x.variance, mean, variance, running_mean, running_var, rows, x.images * x.pixels, x.channels, x.room,
        momentum, min(_power(rows), _SUMMED), _ROOM, num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    return mean, variance


def weight_gradient(dy: Tensor, y: Map, x: Map, weight: Weight, norm: Norm | None, gradients: Gradients) -> None:
    """The gradient of a convolution's weight from that of `y = convolve(x, …)`."""
    k, images, size = weight.full.shape[2], x.images, x.room * y.room * weight.full.shape[2] ** 2
    bi, bo = _channels(x.room), _channels(y.room)
    blocks = k * k * triton.cdiv(x.room, bi), triton.cdiv(y.room, bo)
    per = triton.cdiv(images, max(1, min(images, _PROGRAMS // (blocks[0] * blocks[1]), _PARTIAL // size)))
    splits = triton.cdiv(images, per)
    partial = gradients.room((splits, k, k, x.room, y.room), dy.device)
    bp = min(_power(y.pixels), max(_ROOM, _TILE // max(bi, bo)), 256)
    _weight_gradient[(splits, *blocks)](
        x.data, dy, partial, *(norm.operands if norm else (dy,) * 4), images, per, x.channels, x.room, y.room,
        norm.stride if norm else 0, EPS, x.height, x.width, y.height, y.width, k, weight.stride, weight.padding,
        norm is not None, norm.parts if norm else 1, bp, bi, bo, num_warps=_WARPS,
        num_stages=3 if per * triton.cdiv(y.pixels, bp) > _LONG else _STAGES,
    )  # fmt: skip
    gradients.of_weight(partial, weight, x.channels)


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _power(count: int) -> int:
    return max(_ROOM, 1 << (count - 1).bit_length())


def _room(channels: int) -> int:
    return -(-channels // _ROOM) * _ROOM


def _channels(room: int) -> int:
    return min(_power(room), _WIDEST)


def _held(x: Map) -> int:
    """Channels of a program that holds all pixels of an image."""
    return max(_ROOM, min(_channels(x.room), _TILE // _power(x.pixels)))


def _tiles(pixels: int, room: int) -> tuple[int, int]:
    """Pixels and channels of a program. The pixels divide the image's, or are all of them."""
    if _power(pixels) != pixels:
        return _power(pixels), max(_ROOM, min(_channels(room), _TILE // _power(pixels)))
    channels = _channels(room)
    return min(pixels, _TILE // channels, 256), channels
