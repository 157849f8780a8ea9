"""Where a training step of an encoder spends its time, and how fast the processor multiplies matrices of its shapes."""

import time
from collections.abc import Iterator

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.encoder_reference import Work
from trainers.config.precision import Precision

_GROUPS = {
    "matrix products": ("aten::addmm", "aten::mm", "aten::bmm"),
    "attention": ("aten::_scaled_dot_product", "aten::_softmax"),
    "LayerNorm and GELU": ("aten::native_layer_norm", "aten::gelu"),
    "biases' gradients": ("aten::sum",),
    "additions": ("aten::add",),
    "casts and copies": ("aten::copy_", "aten::_to_copy"),
    "zeros": ("aten::fill_", "aten::zero_"),
    "optimizer": ("aten::_fused_adamw_",),
}
_EMBEDDINGS, _ELSE = "embeddings", "everything else"
GROUPS = (*_GROUPS, _EMBEDDINGS, _ELSE)
"""Of operations. Embeddings: all that touch a whole table of tokens, its gradient's zeros and additions included, the
optimizer's kernel apart."""


def breakdown(steps: Iterator[Work], seconds: float, vocabulary: int) -> dict[str, float]:
    """Milliseconds per optimizer step by group, as torch's profiler has them: self time, which it inflates a little.

    Args:
        vocabulary: rows of the table of tokens.
    """
    count, started = 0, time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        while time.perf_counter() - started < seconds:
            next(steps)
            count += 1
    spent = dict.fromkeys(GROUPS, 0.0)
    for event in recorded.key_averages(group_by_input_shape=True):
        tables = any(isinstance(shape, list) and shape[:1] == [vocabulary] for shape in event.input_shapes)
        spent[_EMBEDDINGS if tables else _group(event.key)] += event.self_cpu_time_total / 1000 / count
    return spent


def _group(name: str) -> str:
    return next((group for group, starts in _GROUPS.items() if name.startswith(starts)), _ELSE)


def product_rate(tokens: int, inputs: int, outputs: int, precision: Precision, seconds: float) -> float:
    """Multiply-accumulates per second of a linear layer's three products, of `tokens` rows: forward and two gradients.

    Without casts, biases or memory to be had: what training could reach if it did nothing else.
    """
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    shapes = (tokens, inputs), (outputs, inputs), (tokens, outputs)
    x, weight, gradient = (torch.randn(shape).to(kind) for shape in shapes)
    of_x, of_weight, out = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(gradient)
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or not done:
        torch.mm(x, weight.t(), out=out)
        torch.mm(gradient, weight, out=of_x)
        torch.mm(gradient.t(), x, out=of_weight)
        done += 3 * tokens * inputs * outputs
    return done / elapsed
