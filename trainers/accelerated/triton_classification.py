"""What a step of image classification does outside of the network, in a kernel for each: batches, cross-entropy; CUDA.

Written with torch's operations these are some twenty kernels, most of them of a few numbers each.
Tested in Triton's interpreter, which runs the same programs on CPU.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_PIXELS = 256  # of a program
MOST_CLASSES = 2048  # of one that holds a row; with fewer it holds as many rows as make up so many numbers


@triton.jit(do_not_specialize=["picked"])  # type: ignore[untyped-decorator]
def _crop(  # type: ignore[no-untyped-def]
    selection, images, labels, scale, shift, out, targets, picked, channels, by_image, by_channel, by_pixel,
    H: tl.constexpr, W: tl.constexpr, PADDING: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    row, p, c = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P), tl.arange(0, C)
    chosen, mirrored = tl.load(selection + row), tl.load(selection + picked + row)
    down, right = tl.load(selection + 2 * picked + row), tl.load(selection + 3 * picked + row)
    h, w = p // W + down - PADDING, tl.where(mirrored != 0, W - 1 - p % W, p % W) + right - PADDING
    real, known = p < H * W, c < channels
    there = (real & (h >= 0) & (h < H) & (w >= 0) & (w < W))[:, None] & known[None, :]
    at = (chosen * channels + c[None, :]) * (H * W) + (h * W + w)[:, None]
    values = tl.load(images + at, mask=there, other=0).to(tl.float32)
    values = values * tl.load(scale + c, mask=known)[None, :] + tl.load(shift + c, mask=known)[None, :]
    at = row * by_image + c[None, :] * by_channel + p[:, None] * by_pixel
    tl.store(out + at, values, mask=real[:, None] & known[None, :])
    if tl.program_id(1) == 0:
        tl.store(targets + row, tl.load(labels + chosen))


def cropped(
    selection: Tensor, images: Tensor, labels: Tensor, scale: Tensor, shift: Tensor, padding: int, layout: Any
) -> tuple[Tensor, Tensor]:
    """The images of a micro-batch, `(N, C, H, W)` fp32, and their labels.

    Args:
        selection: `(4, N)` int64: number of the image, whether mirrored, offset down and right of the crop.
        images: `(examples, C, H, W)` uint8, contiguous.
        labels: `(examples,)` int64.
        scale, shift: C values each, applied to every pixel, those of the padding too.
        padding: pixels of zeros around an image.
        layout: memory format of the result.
    """
    selection = selection.contiguous()
    picked, (_, channels, height, width) = selection.shape[1], images.shape
    out = torch.empty(picked, channels, height, width, device=images.device, memory_format=layout)
    targets = torch.empty(picked, dtype=labels.dtype, device=labels.device)
    p = min(triton.next_power_of_2(height * width), _PIXELS)
    by_image, by_channel, _, by_pixel = out.stride()
    _crop[(picked, triton.cdiv(height * width, p))](
        selection, images, labels, scale, shift, out, targets, picked, channels, by_image, by_channel, by_pixel,
        height, width, padding, p, triton.next_power_of_2(channels),
    )  # fmt: skip
    return out, targets


@triton.jit
def _exponentials(logits, labels, rows, classes, by_row, by_class, row, c):  # type: ignore[no-untyped-def]
    """Of some rows: which entries are real, logits minus the greatest, their exponentials' sum; where the label is."""
    inside = (row < rows)[:, None] & (c < classes)[None, :]
    at = logits + row[:, None] * by_row + c[None, :] * by_class
    values = tl.load(at, mask=inside, other=float("-inf")).to(tl.float32)
    values -= tl.where(row < rows, tl.max(values, 1), 0.0)[:, None]
    is_label = c[None, :] == tl.load(labels + row, mask=row < rows, other=-1)[:, None]
    return inside, values, tl.sum(tl.where(inside, tl.exp(values), 0.0), 1), is_label


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def _cross_entropy(  # type: ignore[no-untyped-def]
    logits, labels, loss, rows, classes, by_row, by_class, SEVERAL: tl.constexpr, R: tl.constexpr, C: tl.constexpr
):
    r, c, total = tl.arange(0, R), tl.arange(0, C), tl.zeros((R,), tl.float32)
    if SEVERAL:
        replica = tl.program_id(0)
        logits, labels, loss = logits + replica * rows * by_row, labels + replica * rows, loss + replica
    for start in range(0, rows, R):
        _, values, summed, is_label = _exponentials(logits, labels, rows, classes, by_row, by_class, start + r, c)
        total += tl.where(start + r < rows, tl.log(summed) - tl.sum(tl.where(is_label, values, 0.0), 1), 0.0)
    tl.store(loss, tl.sum(total, 0) / rows)


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def _cross_entropy_back(  # type: ignore[no-untyped-def]
    logits, labels, by_loss, out, rows, classes, by_row, by_class, SEVERAL: tl.constexpr, R: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    if SEVERAL:
        replica = tl.program_id(1)
        logits, labels = logits + replica * rows * by_row, labels + replica * rows
        by_loss, out = by_loss + replica, out + replica * rows * classes
    row, c = tl.program_id(0) * R + tl.arange(0, R), tl.arange(0, C)
    inside, values, summed, is_label = _exponentials(logits, labels, rows, classes, by_row, by_class, row, c)
    by_logits = (tl.exp(values) / summed[:, None] - is_label.to(tl.float32)) * (tl.load(by_loss) / rows)
    tl.store(out + row[:, None] * classes + c[None, :], by_logits.to(out.dtype.element_ty), mask=inside)


class CrossEntropy(torch.autograd.Function):
    """`apply(logits, labels, replicas)`: the mean over rows, a scalar fp32; of replicas, None or their number, of each.

    logits: (N, at most 2,048 classes), labels: (N,), as many of every replica, one after another.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, replicas: int | None) -> Tensor:
        loss = torch.empty(() if replicas is None else (replicas,), device=logits.device)
        each, classes = len(labels) // loss.numel(), logits.shape[1]
        _cross_entropy[(loss.numel(),)](
            logits, labels, loss, each, classes, *logits.stride(), loss.ndim > 0, *_blocks(logits)
        )
        ctx.save_for_backward(logits, labels)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (logits, labels), by_loss = ctx.saved_tensors, gradients[0].contiguous()
        by_logits, (rows, classes) = torch.empty_like(logits, memory_format=torch.contiguous_format), _blocks(logits)
        each = len(labels) // by_loss.numel()
        _cross_entropy_back[(triton.cdiv(each, rows), by_loss.numel())](
            logits, labels, by_loss, by_logits, each, logits.shape[1], *logits.stride(), by_loss.ndim > 0, rows, classes
        )
        return by_logits, None, None


def _blocks(logits: Tensor) -> tuple[int, int]:
    classes = triton.next_power_of_2(logits.shape[1])
    return MOST_CLASSES // classes, classes
