"""Programs for the way back through the convolutions of `triton_conv`: to what they met, and to their weights."""

import triton
import triton.language as tl

from trainers.accelerated.triton_parts import (
    centred,
    distance,
    join_sums,
    known_moments,
    product,
    rectified,
    scale_and_shift,
    through_relu,
    write_per_channel,
)


@triton.jit  # type: ignore[untyped-decorator]
def _sent_by(  # type: ignore[no-untyped-def]
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
def over_taps_back(  # type: ignore[no-untyped-def]
    dy, w, image, ih, iw, real, c, o, cin, cout, cout_room, w_o, w_i, w_h, w_w, total,
    OH: tl.constexpr, OW: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr, PAD: tl.constexpr,
):  # fmt: skip
    """Adds what comes back along all weights of the kernel, from some channels."""
    up, kernel = _sent_by(
        dy, w, image, ih, iw, real, c, o, cin, cout, cout_room, w_o, w_i, w_h, w_w, 0, OH, OW, K, STRIDE, PAD
    )
    for tap in range(1, K * K):
        following, weights = _sent_by(
            dy, w, image, ih, iw, real, c, o, cin, cout, cout_room, w_o, w_i, w_h, w_w, tap, OH, OW, K, STRIDE, PAD
        )
        total = product(up, kernel, total)
        up, kernel = following, weights
    return product(up, kernel, total)


@triton.jit  # type: ignore[untyped-decorator]
def convolve_back(  # type: ignore[no-untyped-def]
    dy, w, x, skip, dx, mean, variance, gamma, beta, by_gamma, by_beta, joined, counters, cin, cin_room, cout,
    cout_room, moments_stride, w_o, w_i, w_h, w_w, eps, replicas, EACH: tl.constexpr, JOIN: tl.constexpr,
    AT_ONCE: tl.constexpr, SHARE: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr,
    PAD: tl.constexpr, NORM: tl.constexpr, WHOLE: tl.constexpr, SKIP: tl.constexpr,
    P: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    image, part = tl.program_id(0), tl.program_id(1)
    if EACH:
        apart = distance(replicas, image, EACH)
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
        total = over_taps_back(
            dy, w, image, ih, iw, real, c, o, cin, cout, cout_room, w_o, w_i, w_h, w_w, total, OH, OW, K, STRIDE, PAD
        )
    if NORM:
        values = values.to(tl.float32)
        centre, inverse = known_moments(mean, variance, image // SHARE * moments_stride, c, cin, eps)
        scale, shift = scale_and_shift(centre, inverse, gamma, beta, c, cin)
        total, standard, first, second = through_relu(total, values, centre, inverse, scale, shift)
        write_per_channel(by_beta, by_gamma, image * tl.num_programs(1) + part, c, cin_room, first, second)
        if WHOLE:
            total = centred(total, standard, first / (H * W), second / (H * W), scale)
            if SKIP:
                total += beside.to(tl.float32)
    tl.store(dx + at, total.to(dx.dtype.element_ty), mask=inside)
    if JOIN:
        join_sums(
            by_gamma, by_beta, joined, counters, image, tl.num_programs(1), tl.program_id(2), tl.num_programs(2), c,
            cin_room, EACH, AT_ONCE, BI,
        )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def pointwise_back(  # type: ignore[no-untyped-def]
    dy, w, x, dx, partial, mean, variance, gamma, beta, by_gamma, by_beta, joined, counters, cin, cin_room, cout,
    cout_room, moments_stride, w_o, w_i, eps, replicas, EACH: tl.constexpr, JOIN: tl.constexpr, AT_ONCE: tl.constexpr,
    SHARE: tl.constexpr, PIXELS: tl.constexpr, TILES: tl.constexpr, P: tl.constexpr,
    BI: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    """The gradients of a 1×1 convolution's weight, and of its input behind the norm up to ReLU (see `through_norm`)."""
    image, first = tl.program_id(0), tl.program_id(1) * TILES
    if EACH:
        apart = distance(replicas, image, EACH)
        w, gamma, beta = w + apart, gamma + apart, beta + apart
    c, o = tl.program_id(2) * BI + tl.arange(0, BI), tl.arange(0, BO)
    p = first * P + tl.arange(0, P)
    there, given = (c < cin_room)[None, :], (o < cout_room)[None, :]
    values = tl.load(x + (image * PIXELS + p[:, None]) * cin_room + c[None, :], mask=there, other=0.0)
    up = tl.load(dy + (image * PIXELS + p[:, None]) * cout_room + o[None, :], mask=given, other=0.0)
    kernel = tl.load(w + o[:, None] * w_o + c[None, :] * w_i, mask=(o < cout)[:, None] & (c < cin)[None, :], other=0.0)
    centre, inverse = known_moments(mean, variance, image // SHARE * moments_stride, c, cin, eps)
    scale, shift = scale_and_shift(centre, inverse, gamma, beta, c, cin)
    by_shift, by_scale = tl.zeros((BI,), tl.float32), tl.zeros((BI,), tl.float32)
    by_weight = tl.zeros((BI, BO), tl.float32)
    for tile in range(TILES):
        q, more = p + P, tile + 1 < TILES
        following = tl.load(x + (image * PIXELS + q[:, None]) * cin_room + c[None, :], mask=there & more, other=0.0)
        up_following = tl.load(
            dy + (image * PIXELS + q[:, None]) * cout_room + o[None, :], mask=given & more, other=0.0
        )
        total = product(up, kernel, tl.zeros((P, BI), tl.float32))
        by_weight = product(tl.trans(rectified(values, scale, shift)), up, by_weight)
        total, _, of_shift, of_scale = through_relu(total, values.to(tl.float32), centre, inverse, scale, shift)
        to = dx + (image * PIXELS + p[:, None]) * cin_room + c[None, :]
        tl.store(to, total.to(dx.dtype.element_ty), mask=there)
        by_shift += of_shift
        by_scale += of_scale
        p, values, up = q, following, up_following
    row = image * tl.num_programs(1) + tl.program_id(1)
    write_per_channel(by_beta, by_gamma, row, c, cin_room, by_shift, by_scale)
    if JOIN:
        join_sums(
            by_gamma, by_beta, joined, counters, image, tl.num_programs(1), tl.program_id(2), tl.num_programs(2), c,
            cin_room, EACH, AT_ONCE, BI,
        )  # fmt: skip
    at = partial + (row * cin_room + c[:, None]) * cout_room + o[None, :]
    tl.store(at, by_weight, mask=(c < cin_room)[:, None] & given)


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
        apart = distance(replicas, replica, 1)
        gamma, beta = gamma + apart, beta + apart
    column, o = tl.arange(0, TAPS * BI), tl.program_id(2) * BO + tl.arange(0, BO)
    tap, c = tl.program_id(1) % GROUPS * TAPS + column // BI, tl.program_id(1) // GROUPS * BI + column % BI
    down, right, known = tap // K - PAD, tap % K - PAD, (tap < K * K) & (c < cin_room)
    total = tl.zeros((TAPS * BI, BO), tl.float32)
    for image in range(first, tl.minimum(images, first + per)):
        if NORM:
            centre, inverse = known_moments(mean, variance, image // SHARE * moments_stride, c, cin, eps)
            scale, shift = scale_and_shift(centre, inverse, gamma, beta, c, cin)
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
                values = rectified(values, scale, shift)
            at = (image * OH * OW + p) * cout_room
            up = tl.load(dy + at[:, None] + o[None, :], mask=real[:, None] & (o < cout_room)[None, :], other=0.0)
            total = product(tl.trans(values), up, total)
    at = ((tl.program_id(0) * K * K + tap[:, None]) * cin_room + c[:, None]) * cout_room + o[None, :]
    tl.store(partial + at, total, mask=known[:, None] & (o < cout_room)[None, :])
