"""1×1 convolutions as matrix products, where that is the faster form: bf16 on CPU in the contiguous layout.

There torch computes a convolution channels-last inside and copies the result back, which costs more than the
convolution; a batched product over images writes the wanted layout at once (2–3× faster, forward and backward).
"""

from typing import Any

import torch
from torch import Tensor


def suits(x: Tensor, kernel: tuple[int, ...], padding: tuple[int, ...]) -> bool:
    """Whether `pointwise` may stand for the convolution of `x: (N, C, H, W)` at hand, and is faster."""
    return (
        kernel == (1, 1)
        and padding == (0, 0)
        and x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and x.is_contiguous()
    )


def pointwise(x: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
    """`conv2d` of `x: (N, C, H, W)` with `weight: (O, C, 1, 1)` fp32, computed in bf16 → (N, O, H', W') bf16.

    The weight's gradient is rounded to bf16 per image and summed over images in fp32.
    """
    out: Tensor = _Pointwise.apply(x, weight, stride)
    return out


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
        down, right = stride
        taken = x[:, :, ::down, ::right].to(torch.bfloat16).contiguous()
        factor = weight.flatten(1).to(torch.bfloat16)
        ctx.save_for_backward(taken, factor)
        ctx.stride, ctx.shape, ctx.dtype = stride, x.shape, x.dtype
        images, _, height, width = taken.shape
        return torch.bmm(factor.expand(images, -1, -1), taken.flatten(2)).view(images, -1, height, width)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None]:
        taken, factor = ctx.saved_tensors
        gradient = gradients[0].contiguous().flatten(2)
        products = torch.bmm(gradient, taken.flatten(2).transpose(1, 2))
        by_weight = products.sum(0, dtype=torch.float32)[:, :, None, None]
        if not ctx.needs_input_grad[0]:
            return None, by_weight, None
        by_taken = torch.bmm(factor.t().expand(len(taken), -1, -1), gradient).view_as(taken).to(ctx.dtype)
        if ctx.stride == (1, 1):
            return by_taken, by_weight, None
        by_input = torch.zeros(ctx.shape, dtype=ctx.dtype)
        by_input[:, :, :: ctx.stride[0], :: ctx.stride[1]] = by_taken
        return by_input, by_weight, None
