"""Programs for whole bottlenecks under InstanceNorm on CUDA: an image's pixels stay with one program; in Triton.

Of small images a program holds all pixels, so it has the moments of what it has convolved before anybody else could ask
for them, and goes on: norm, ReLU, the next convolution. What other threads of it have written is read behind a barrier
of its own, and nothing waits for another program. Four launches of a forward become one, and three of a way back. A
program has as many rows as an image has pixels, so all are `real`, which pieces for larger images ask.

How maps lie and what replicas are: `triton_parts`.
"""

import triton
import triton.language as tl

from trainers.accelerated.triton_conv import over_taps
from trainers.accelerated.triton_conv_back import over_taps_back
from trainers.accelerated.triton_parts import (
    centred,
    distance,
    known_moments,
    product,
    rectified,
    scale_and_shift,
    through_relu,
    whole_moments,
    write_part,
    write_per_channel,
)


@triton.jit  # type: ignore[untyped-decorator]
def _normalised(  # type: ignore[no-untyped-def]
    total, y, mean, variance, gamma, beta, image, p, c, channels, room, eps, P: tl.constexpr
):
    """Writes a map of one part and its moments; gives what the norm behind it and ReLU make of it."""
    real = p < P
    to, written = (image * P + p[:, None]) * room + c[None, :], (c < room)[None, :]
    centre, spread = write_part(total, y, to, written, real, P)
    write_per_channel(mean, variance, image, c, room, centre, spread)
    scale, shift = scale_and_shift(centre, tl.rsqrt(spread + eps), gamma, beta, c, channels)
    return rectified(total.to(y.dtype.element_ty), scale, shift)


@triton.jit  # type: ignore[untyped-decorator]
def bottleneck(  # type: ignore[no-untyped-def]
    x, w1, gamma1, beta1, mean, variance, mean_whole, variance_whole, y1, mean1, variance1, gamma2, beta2, met, w2, y2,
    mean2, variance2, gamma3, beta3, w3, beside, beside_w, y3, mean3, variance3, cin, cin_room, mid, mid_room, cout,
    cout_room, moments_stride, w1_o, w1_i, w2_o, w2_i, w2_h, w2_w, w3_o, w3_i, beside_cin, beside_room, beside_o,
    beside_i, eps, replicas, EACH: tl.constexpr, H: tl.constexpr, W: tl.constexpr, OW: tl.constexpr,
    STRIDE: tl.constexpr, FIRST: tl.constexpr, PARTS: tl.constexpr, PROJECTED: tl.constexpr,
    BESIDE_STRIDE: tl.constexpr, BESIDE_H: tl.constexpr, BESIDE_W: tl.constexpr, P: tl.constexpr, BI: tl.constexpr,
    BM: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    """Two 1×1 convolutions around a 3×3 one of P pixels; the FIRST of them, or what the 3×3 one has `met` is there."""
    tl.static_assert(P & (P - 1) == 0)
    image, p, m = tl.program_id(0), tl.arange(0, P), tl.arange(0, BM)
    if EACH:
        apart = distance(replicas, image, EACH)
        w1, w2, w3, beside_w = w1 + apart, w2 + apart, w3 + apart, beside_w + apart
        gamma1, beta1, gamma2, beta2 = gamma1 + apart, beta1 + apart, gamma2 + apart, beta2 + apart
        gamma3, beta3 = gamma3 + apart, beta3 + apart
    real, oh, ow = p < P, p // OW, p % OW
    if FIRST:
        total = tl.zeros((P, BM), tl.float32)
        for start in range(0, cin_room, BI):
            c = start + tl.arange(0, BI)
            at = x + (image * P + p[:, None]) * cin_room + c[None, :]
            values = tl.load(at, mask=(c < cin_room)[None, :], other=0.0)
            kernel = tl.load(
                w1 + c[:, None] * w1_i + m[None, :] * w1_o, mask=(c < cin)[:, None] & (m < mid)[None, :], other=0.0
            )
            centre, inverse = whole_moments(
                mean, variance, mean_whole, variance_whole, image, moments_stride, c, cin, cin_room, eps, True, PARTS
            )
            scale, shift = scale_and_shift(centre, inverse, gamma1, beta1, c, cin)
            total = product(rectified(values, scale, shift), kernel, total)
        values = _normalised(total, y1, mean1, variance1, gamma2, beta2, image, p, m, mid, mid_room, eps, P)
        place = met + (image * P + p[:, None]) * mid_room + m[None, :]
        tl.store(place, values.to(met.dtype.element_ty), mask=(m < mid_room)[None, :])
        tl.debug_barrier()  # other threads of this program read it
    total = over_taps(
        met, w2, image, oh, ow, real, m, m, mid, mid_room, mid, w2_o, w2_i, w2_h, w2_w, tl.zeros((P, BM), tl.float32),
        H, W, 3, STRIDE, 1,
    )  # fmt: skip
    values = _normalised(total, y2, mean2, variance2, gamma3, beta3, image, p, m, mid, mid_room, eps, P)
    for first in range(0, cout_room, BO):
        o = first + tl.arange(0, BO)
        to, written = (image * P + p[:, None]) * cout_room + o[None, :], (o < cout_room)[None, :]
        kernel = tl.load(
            w3 + m[:, None] * w3_i + o[None, :] * w3_o, mask=(m < mid)[:, None] & (o < cout)[None, :], other=0.0
        )
        if not PROJECTED:
            branch = tl.load(beside + to, mask=written, other=0.0)
        out = product(values, kernel, tl.zeros((P, BO), tl.float32))
        if PROJECTED:
            row = (image * BESIDE_H + oh * BESIDE_STRIDE) * BESIDE_W + ow * BESIDE_STRIDE
            for start in range(0, beside_room, BI):
                c = start + tl.arange(0, BI)
                at, inside = beside + row[:, None] * beside_room + c[None, :], (c < beside_room)[None, :]
                projected = tl.load(at, mask=inside, other=0.0)
                weights = beside_w + c[:, None] * beside_i + o[None, :] * beside_o
                second = tl.load(weights, mask=(c < beside_cin)[:, None] & (o < cout)[None, :], other=0.0)
                out = product(projected, second, out)
        else:
            out += branch.to(tl.float32)
        centre, spread = write_part(out, y3, to, written, real, P)
        write_per_channel(mean3, variance3, image, o, cout_room, centre, spread)


@triton.jit
def _through(  # type: ignore[no-untyped-def]
    total, values, mean, variance, gamma, beta, by_gamma, by_beta, image, c, channels, room, eps, pixels
):
    """A gradient through ReLU, affine and norm; the sums of the affine's gradients are written."""
    centre, inverse = known_moments(mean, variance, image * room, c, channels, eps)
    scale, shift = scale_and_shift(centre, inverse, gamma, beta, c, channels)
    total, standard, first, second = through_relu(total, values.to(tl.float32), centre, inverse, scale, shift)
    write_per_channel(by_beta, by_gamma, image, c, room, first, second)
    return centred(total, standard, first / pixels, second / pixels, scale)


@triton.jit  # type: ignore[untyped-decorator]
def bottleneck_back(  # type: ignore[no-untyped-def]
    up, skip, w3, y2, mean2, variance2, gamma3, beta3, by_gamma3, by_beta3, dy2, w2, y1, mean1, variance1, gamma2,
    beta2, by_gamma2, by_beta2, dy1, w1, x, mean, variance, gamma1, beta1, by_gamma1, by_beta1, dx, cin, cin_room, mid,
    mid_room, cout, cout_room, w1_o, w1_i, w2_o, w2_i, w2_h, w2_w, w3_o, w3_i, eps, replicas, EACH: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, P: tl.constexpr, BI: tl.constexpr, BM: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    """The way back through all three convolutions and their norms, none with a stride; plus the branch around them."""
    tl.static_assert(P == H * W)
    image, p, m = tl.program_id(0), tl.arange(0, P), tl.arange(0, BM)
    if EACH:
        apart = distance(replicas, image, EACH)
        w1, w2, w3 = w1 + apart, w2 + apart, w3 + apart
        gamma1, beta1, gamma2, beta2 = gamma1 + apart, beta1 + apart, gamma2 + apart, beta2 + apart
        gamma3, beta3 = gamma3 + apart, beta3 + apart
    real, ih, iw = p < P, p // W, p % W
    at, inside = (image * P + p[:, None]) * mid_room + m[None, :], (m < mid_room)[None, :]
    values = tl.load(y2 + at, mask=inside, other=0.0)
    total = tl.zeros((P, BM), tl.float32)
    for start in range(0, cout_room, BO):
        o = start + tl.arange(0, BO)
        at_up = up + (image * P + p[:, None]) * cout_room + o[None, :]
        given = tl.load(at_up, mask=(o < cout_room)[None, :], other=0.0)
        kernel = tl.load(
            w3 + o[:, None] * w3_o + m[None, :] * w3_i, mask=(o < cout)[:, None] & (m < mid)[None, :], other=0.0
        )
        total = product(given, kernel, total)
    total = _through(
        total, values, mean2, variance2, gamma3, beta3, by_gamma3, by_beta3, image, m, mid, mid_room, eps, P
    )
    tl.store(dy2 + at, total.to(dy2.dtype.element_ty), mask=inside)
    tl.debug_barrier()  # other threads of this program read it
    values = tl.load(y1 + at, mask=inside, other=0.0)
    total = over_taps_back(
        dy2, w2, image, ih, iw, real, m, m, mid, mid, mid_room, w2_o, w2_i, w2_h, w2_w,
        tl.zeros((P, BM), tl.float32), H, W, 3, 1, 1,
    )  # fmt: skip
    total = _through(
        total, values, mean1, variance1, gamma2, beta2, by_gamma2, by_beta2, image, m, mid, mid_room, eps, P
    )
    down = total.to(dy1.dtype.element_ty)
    tl.store(dy1 + at, down, mask=inside)
    for start in range(0, cin_room, BI):
        c = start + tl.arange(0, BI)
        to, written = (image * P + p[:, None]) * cin_room + c[None, :], (c < cin_room)[None, :]
        met, beside = tl.load(x + to, mask=written, other=0.0), tl.load(skip + to, mask=written, other=0.0)
        weights = tl.load(
            w1 + m[:, None] * w1_o + c[None, :] * w1_i, mask=(m < mid)[:, None] & (c < cin)[None, :], other=0.0
        )
        out = product(down, weights, tl.zeros((P, BI), tl.float32))
        out = _through(out, met, mean, variance, gamma1, beta1, by_gamma1, by_beta1, image, c, cin, cin_room, eps, P)
        tl.store(dx + to, (out + beside.to(tl.float32)).to(dx.dtype.element_ty), mask=written)
