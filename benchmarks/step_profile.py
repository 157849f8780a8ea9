"""Where one training step's time goes, per method and norm.

    python -m benchmarks.step_profile [--batch 128] [--threads 2] [--steps 8] [--device cpu]

Milliseconds per optimizer step by torch's profiler (self time, which it inflates a little), beside the step's own
time without it: on CPU the median of as many, on CUDA the mean of a hundred, and there the kernels per step too, of
which some run side by side. Appended to benchmarks/results/step_profile.csv, or step_profile_cuda.csv.
"""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import click
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.measuring import ARMS, append, warm_up_steps
from trainers.data.datasets import dataset
from trainers.training.loop import Snapshot
from trainers.trials.images import resolve, train

_TIMED = 100  # steps on CUDA
_CUDA_GROUPS = {
    "convolutions' gradients": ("convolve_back", "pointwise_back", "bottleneck_back"),
    "convolutions": ("convolve", "pointwise", "lift", "bottleneck"),
    "weights' gradients": ("weight_gradient", "_add_up"),
    "norms": ("rectify", "through_norm", "batch_moments", "batch_sums", "pool"),
    "batches and losses": ("_crop", "_cross_entropy"),
    "optimizer": ("_sgd",),
}
_GROUPS = {
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward"),
    "norms and ReLU": (
        "_ImageNorm", "_BatchNorm", "aten::native_batch_norm", "aten::native_group_norm", "aten::threshold_backward",
        "aten::clamp_min_", "aten::relu_",
    ),
    "additions": ("aten::add",),
    "copies and casts": ("aten::copy_", "aten::_to_copy"),
    "optimizer": ("aten::_fused_sgd_", "Optimizer.", "aten::zero_", "aten::_foreach"),
}  # fmt: skip


def _group(name: str, groups: dict[str, tuple[str, ...]]) -> str:
    return next((group for group, starts in groups.items() if name.startswith(starts)), "everything else")


def _on_cpu(training: Iterator[Snapshot], steps: int) -> dict[str, Any]:
    times = []
    for _ in range(steps):
        started = time.perf_counter()
        next(training)
        times.append(1000 * (time.perf_counter() - started))
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(steps):
            next(training)
    spent = dict.fromkeys([*_GROUPS, "everything else"], 0.0)
    for event in recorded.key_averages():
        spent[_group(event.key, _GROUPS)] += event.self_cpu_time_total / 1000 / steps
    shares = {group: round(milliseconds, 1) for group, milliseconds in spent.items()}
    return {"median_ms": round(statistics.median(times), 1), **shares}


def _on_cuda(training: Iterator[Snapshot], steps: int) -> dict[str, Any]:
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(_TIMED):
        next(training)
    torch.cuda.synchronize()
    mean = 1000 * (time.perf_counter() - started) / _TIMED
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        for _ in range(steps):
            next(training)
        torch.cuda.synchronize()
    kernels, spent = 0.0, dict.fromkeys([*_CUDA_GROUPS, "everything else"], 0.0)
    for event in recorded.key_averages():
        if event.device_type.name != "CUDA":  # what the host asks the driver for is recorded, too
            continue
        kernels += 0 if event.key.startswith(("Memcpy", "Memset")) else event.count / steps
        spent[_group(event.key, _CUDA_GROUPS)] += event.self_device_time_total / 1000 / steps
    shares = {group: round(milliseconds, 3) for group, milliseconds in spent.items()}
    return {"mean_ms": round(mean, 3), "kernels": round(kernels, 1), **shares}


@click.command()
@click.option("--batch", default=128, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--steps", default=8, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(batch: int, threads: int, steps: int, device: str) -> None:
    """Profiles and appends to the results."""
    torch.set_num_threads(threads)
    data, cuda = dataset("cifar10").load(None), device == "cuda"
    for method, norm in ARMS:
        settings = {"method": method, "norm": norm, "batch_size": batch, "updates": 1 << 30, "evaluations": 1}
        training = train(resolve(settings), 0, data, torch.device(device))
        for _ in range(warm_up_steps(method, torch.device(device))):
            next(training)
        found = _on_cuda(training, steps) if cuda else _on_cpu(training, steps)
        row = {"method": method, "norm": norm, "batch": batch, "threads": threads, "steps": steps}
        append("step_profile_cuda" if cuda else "step_profile", [{**row, **found}])


if __name__ == "__main__":
    main()
