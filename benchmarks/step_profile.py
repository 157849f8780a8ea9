"""Where one training step's time goes on CPU, per method and norm.

    python -m benchmarks.step_profile [--batch 128] [--threads 2] [--steps 8]

Milliseconds per optimizer step by torch's profiler (self time, which it inflates a little), beside the step's own
time without it, the median of as many. Appended to benchmarks/results/step_profile.csv.
"""

import statistics
import time

import click
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.measuring import append
from trainers.config import resolve
from trainers.data import dataset
from trainers.loop import fit

_WARM = 4
_GROUPS = {
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward", "aten::bmm", "_Pointwise"),
    "norms and ReLU": (
        "_ImageNorm", "_BatchNorm", "aten::native_batch_norm", "aten::native_group_norm", "aten::threshold_backward",
        "aten::clamp_min_", "aten::relu_",
    ),
    "additions": ("aten::add",),
    "copies and casts": ("aten::copy_", "aten::_to_copy"),
    "optimizer": ("aten::_fused_sgd_", "Optimizer.", "aten::zero_", "aten::_foreach"),
}  # fmt: skip


def _group(name: str) -> str:
    return next((group for group, starts in _GROUPS.items() if name.startswith(starts)), "everything else")


@click.command()
@click.option("--batch", default=128, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--steps", default=8, show_default=True)
def main(batch: int, threads: int, steps: int) -> None:
    """Profiles and appends to the results."""
    torch.set_num_threads(threads)
    data = dataset("cifar10").load(None)
    for norm in ("instance", "batch"):
        for method in ("NS", "LCS-p", "SortedNet"):
            settings = {"method": method, "norm": norm, "batch_size": batch, "updates": 1 << 30, "evaluations": 1}
            training = fit(resolve(settings), 0, data, torch.device("cpu"))
            for _ in range(_WARM):
                next(training)
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
                spent[_group(event.key)] += event.self_cpu_time_total / 1000 / steps
            row = {"method": method, "norm": norm, "batch": batch, "threads": threads, "steps": steps}
            shares = {group: round(milliseconds, 1) for group, milliseconds in spent.items()}
            append("step_profile", [{**row, "median_ms": round(statistics.median(times), 1), **shares}])


if __name__ == "__main__":
    main()
