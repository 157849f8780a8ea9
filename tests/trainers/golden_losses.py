"""Losses of twenty steps of every method, norm, sampler and kind of network: what a change must leave as it was.

    python -m tests.trainers.golden_losses

writes `golden/losses.json` anew; do so only with a change that is meant to change results. The naive trial says what
is right but knows one network and few samplers; these say what was, for more of them and for longer. They are trained
in double precision, so that the last bits of another machine's sums decide no ReLU.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from trainers.building.image_costs import network_counter
from trainers.data.datasets import dataset
from trainers.data.images.arrays import ImageArrays
from trainers.nested.layers.norms import NORM_POLICIES
from trainers.trials.images import resolve, train

LOSSES = Path(__file__).parent / "golden" / "losses.json"
_COMMON: dict[str, Any] = {
    "dataset": "digits",
    "precision": "fp32",
    "learning_rate": 0.05,
    "warmup": 0.1,
    "schedule_stages": 0,
    "batch_size": 4,
    "updates": 20,
    "evaluations": 2,
    "flip": True,
}
_SAMPLERS = (
    "categorical(0.4,0.3,0.2,0.1)",
    "linear",
    "macs",
    "inverse-macs",
    "truncated-normal",
    "truncated-normal(0.5,0.25,continuous)",
    "log-uniform",
    "log-uniform(continuous)",
    "round-robin",
    "annealed(largest)",
    "annealed(smallest)",
    "adaptive(0.1)",
)
_MOBILE = {"network": "mobilenet_v2", "widths": [0.5, 1.0], "depths": [1, 10], "norm": "batch", "updates": 2}
_METHODS = (
    ("NS", "batch"),
    ("NS", "batch-switchable"),
    ("US", "batch-recalibrated"),
    ("US-distilled", "batch"),
    ("LCS-p", "instance"),
    ("LCS-l", "instance"),
    ("Independent", "group"),
    ("Extracted", "instance"),
    ("Extracted-tuned", "layer"),
    ("NestedDropout", "batch"),
)
CASES: dict[str, dict[str, Any]] = {
    **{f"{method} {norm}": {"method": method, "norm": norm} for method, norm in _METHODS},
    **{f"SortedNet {norm}": {"norm": norm} for norm in NORM_POLICIES},
    **{f"SortedNet {sampler}": {"sampler": sampler} for sampler in _SAMPLERS},
    "SortedNet accumulated": {"norm": "batch", "accumulation": 4, "updates": 5},
    "SortedNet summation": {"objective": "stochastic-summation"},
    "SortedNet passes": {"equalize": "passes", "updates": 5},
    "US macs": {"method": "US", "equalize": "macs", "updates": 5},
    "mobilenet_v2 SortedNet": _MOBILE,
    "mobilenet_v2 US": {**_MOBILE, "method": "US"},
}


@contextmanager
def double_precision() -> Iterator[None]:
    """Whatever is built inside has torch's default type, which here is double."""
    network_counter.cache_clear()  # it keeps a network
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        network_counter.cache_clear()


def losses(settings: dict[str, Any]) -> dict[str, list[float]]:
    """`train_loss` and `test_loss/…` of a trial halfway and at its end, from some of the digits."""
    digits = dataset("digits").load(None)
    few = ImageArrays(
        digits.train_images[:70],
        digits.train_labels[:70],
        digits.test_images[:8],
        digits.test_labels[:8],
        digits.mean,
        digits.std,
        "few digits",
    )
    with double_precision():
        evaluated = [s.metrics for s in train(resolve(_COMMON | settings), 0, few, torch.device("cpu")) if s.metrics]
    names = [name for name in evaluated[0] if "loss" in name]
    return {name: [round(metrics[name], 9) for metrics in evaluated] for name in names}


if __name__ == "__main__":
    torch.set_num_threads(1)
    LOSSES.parent.mkdir(exist_ok=True)
    made = {case: losses(settings) for case, settings in CASES.items()}
    LOSSES.write_text(json.dumps(made, indent=1) + "\n")
