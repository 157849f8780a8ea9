"""Normalisation, affine and ReLU in one pass each way: bf16 activations in the channels-last layout.

On CPU for every policy, on CUDA for InstanceNorm where no fused pass takes its place. The same mathematics as torch's
kernels, with fp32 statistics; sums run in another order. ReLU's mask is computed again in the backward, so only the
layer's input is kept.
"""

from typing import Any

import torch
from torch import Tensor

from trainers.accelerated.library import library
from trainers.devices.cuda import has_triton

EPS = 1e-5


def available(device: torch.device, group: int | None) -> bool:
    """Whether there are kernels for a device and for groups of so many channels; None: of all of them."""
    if device.type == "cpu":
        return library() is not None
    return device.type == "cuda" and group == 1 and has_triton()


def suits(x: Tensor) -> bool:
    """Whether the kernels for CPU can take the activations `x: (N, C, H, W)` at hand."""
    return x.device.type == "cpu" and _laid_out(x) and available(x.device, None)


def image_norm(x: Tensor, weight: Tensor, bias: Tensor, group: int, relu: bool, eps: float = EPS) -> Tensor | None:
    """Statistics per image over `group` channels at a time, the last group smaller if they do not divide.

    Args:
        x: (N, C, H, W).
        weight, bias: (C,) fp32.

    Returns:
        None where there is no kernel for `x`.
    """
    if suits(x):
        out: Tensor = _ImageNorm.apply(x, weight, bias, group, relu, eps)
        return out
    if x.device.type == "cuda" and _laid_out(x) and available(x.device, group):
        from trainers.accelerated import triton_norm  # where there is CUDA there is Triton

        if x.shape[2] * x.shape[3] <= triton_norm.MOST_PIXELS:
            normed: Tensor = triton_norm.InstanceNorm.apply(x, weight, bias, eps, relu)
            return normed
    return None


def _laid_out(x: Tensor) -> bool:
    return x.dtype == torch.bfloat16 and x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


def batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    relu: bool,
    eps: float = EPS,
) -> Tensor:
    """Statistics over the batch, which also move the running ones in place.

    Args:
        x: (N, C, H, W), as `suits`, of more than one pixel in all.
        weight, bias, running_mean, running_var: (C,) fp32.
    """
    out: Tensor = _BatchNorm.apply(x, weight, bias, running_mean, running_var, momentum, relu, eps)
    return out


def known_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    relu: bool,
    eps: float = EPS,
) -> Tensor:
    """Normalised by the running statistics; not differentiable. Arguments as of `batch_norm`."""
    scale = weight.detach() * torch.rsqrt(running_var + eps)
    shift = bias.detach() - running_mean * scale
    out = torch.empty_like(x)
    _call("known_norm_forward", x, out, scale, shift, *_shape(x), int(relu), torch.get_num_threads())
    return out


class _ImageNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, group: int, relu: bool, eps: float) -> Tensor:
        out = torch.empty_like(x)
        mean, rstd = torch.empty(2, *x.shape[:2]).unbind()
        _call(
            "image_norm_forward", x, out, weight, bias, mean, rstd,
            *_shape(x), group, int(relu), eps, torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.group, ctx.relu = group, relu
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        found = _backward("image_norm_backward", gradients[0], ctx.saved_tensors, ctx.group, int(ctx.relu))
        return *found, None, None, None


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        relu: bool,
        eps: float,
    ) -> Tensor:
        out = torch.empty_like(x)
        mean, rstd = torch.empty(2, x.shape[1]).unbind()
        _call(
            "batch_norm_forward", x, out, weight, bias, mean, rstd, running_mean, running_var, momentum,
            *_shape(x), int(relu), eps, torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.relu = relu
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        found = _backward("batch_norm_backward", gradients[0], ctx.saved_tensors, int(ctx.relu))
        return *found, None, None, None, None, None


def _backward(kernel: str, gradient: Tensor, saved: tuple[Tensor, ...], *how: int) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of a norm's input, weight and bias."""
    x, weight, bias, mean, rstd = saved
    found = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(bias)
    outside = gradient.contiguous(memory_format=torch.channels_last)
    _call(kernel, outside, x, weight, bias, mean, rstd, *found, *_shape(x), *how, torch.get_num_threads())
    return found


def _shape(x: Tensor) -> tuple[int, int, int]:
    images, channels, height, width = x.shape
    return images, height * width, channels


def _call(name: str, *arguments: Tensor | float) -> None:
    loaded = library()
    assert loaded is not None
    getattr(loaded, name)(*(a.data_ptr() if isinstance(a, Tensor) else a for a in arguments))
