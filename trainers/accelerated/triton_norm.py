"""InstanceNorm, affine and ReLU in one kernel each way: bf16 activations in the channels-last layout, on CUDA.

torch's group norm knows the contiguous layout only, in which cuDNN's bf16 convolutions transpose everything they read
and write. Here a program holds one image's pixels of some channels in registers: one read and one write forward, two
reads and one write backward. Tested in Triton's interpreter, which runs the same program on CPU.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_CHANNELS = 16  # of a program; with 1,024 pixels 16 K numbers in its registers
MOST_PIXELS = 4096


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    x, y, gamma, beta, mean, rstd, channels, pixels, eps, P: tl.constexpr, C: tl.constexpr, RELU: tl.constexpr
):
    image, c, p = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C), tl.arange(0, P)
    known = c < channels
    inside = (p < pixels)[:, None] & known[None, :]
    at = image * pixels * channels + p[:, None] * channels + c[None, :]
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    centre = tl.sum(values, 0) / pixels
    away = tl.where(inside, values - centre[None, :], 0.0)
    inverse = 1 / tl.sqrt(tl.sum(away * away, 0) / pixels + eps)
    scale = tl.load(gamma + c, mask=known, other=0.0)
    out = away * inverse[None, :] * scale[None, :] + tl.load(beta + c, mask=known, other=0.0)[None, :]
    if RELU:
        out = tl.where(out < 0, 0.0, out)  # a NaN passes
    tl.store(y + at, out.to(tl.bfloat16), mask=inside)
    tl.store(mean + image * channels + c, centre, mask=known)
    tl.store(rstd + image * channels + c, inverse, mask=known)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    g, x, gamma, beta, mean, rstd, dx, by_gamma, by_beta, channels, pixels,
    P: tl.constexpr, C: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    image, c, p = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C), tl.arange(0, P)
    known = c < channels
    inside = (p < pixels)[:, None] & known[None, :]
    at = image * pixels * channels + p[:, None] * channels + c[None, :]
    centre = tl.load(mean + image * channels + c, mask=known, other=0.0)
    inverse = tl.load(rstd + image * channels + c, mask=known, other=0.0)
    scale = tl.load(gamma + c, mask=known, other=0.0)
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    standard = tl.where(inside, (values - centre[None, :]) * inverse[None, :], 0.0)
    up = tl.load(g + at, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        shift = tl.load(beta + c, mask=known, other=0.0)
        up = tl.where(standard * scale[None, :] + shift[None, :] <= 0, 0.0, up)
    first, second = tl.sum(up, 0), tl.sum(up * standard, 0)
    back = up - (first / pixels)[None, :] - standard * (second / pixels)[None, :]
    tl.store(dx + at, (back * (inverse * scale)[None, :]).to(tl.bfloat16), mask=inside)
    tl.store(by_gamma + image * channels + c, second, mask=known)
    tl.store(by_beta + image * channels + c, first, mask=known)


class InstanceNorm(torch.autograd.Function):
    """`apply(x, weight, bias, eps, relu)`; x: (N, C, H, W) bf16 channels-last of at most 4,096 pixels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, relu: bool) -> Tensor:
        images, channels, height, width = x.shape
        pixels = height * width
        out = torch.empty_like(x)
        mean, rstd = torch.empty(2, images, channels, device=x.device).unbind()
        _forward[_grid(x)](x, out, weight, bias, mean, rstd, channels, pixels, eps, *_blocks(pixels), relu)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.relu = relu
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, rstd = ctx.saved_tensors
        images, channels, height, width = x.shape
        pixels = height * width
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        by_x, by_affine = torch.empty_like(x), torch.empty(2, images, channels, device=x.device)
        _backward[_grid(x)](
            gradient, x, weight, bias, mean, rstd, by_x, by_affine[0], by_affine[1], channels, pixels,
            *_blocks(pixels), ctx.relu,
        )  # fmt: skip
        by_weight, by_bias = by_affine.sum(1).unbind()
        return by_x, by_weight, by_bias, None, None


def _grid(x: Tensor) -> tuple[int, int]:
    return x.shape[0], triton.cdiv(x.shape[1], _CHANNELS)


def _blocks(pixels: int) -> tuple[int, int]:
    return triton.next_power_of_2(pixels), _CHANNELS
