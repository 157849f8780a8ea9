"""The flat configs of version 4, as stored runs and exported sub-models hold them, read as parts."""

from collections.abc import Mapping
from typing import Any

_PLACES = {
    "dataset": "task", "batch_size": "task", "crop_padding": "task", "flip": "task",
    "sampler": "method", "objective": "method", "sharing": "method", "extract_at": "method", "accumulation": "method",
    "distillation": "method",
    "recalibration_batches": "norm", "affine": "norm", "line_penalty": "norm",
    "learning_rate": "optimizer", "momentum": "optimizer", "weight_decay": "optimizer",
    "warmup": "schedule",
    "deterministic": "precision",
}  # fmt: skip
_RENAMED = {
    "network": ("network", "name"),
    "norm": ("norm", "policy"),
    "precision": ("precision", "activations"),
    "schedule_stages": ("schedule", "stages"),
    "budget_unit": ("budget", "unit"),
    "budget": ("budget", "amount"),
}


def is_version_4(written: Mapping[str, Any]) -> bool:
    """Whether a config is flat."""
    return "widths" in written and "depths" in written


def parts_of_version_4(written: Mapping[str, Any]) -> dict[str, Any]:
    """The same config in parts. What had no effect was 0 there, and is left at its default here."""
    read: dict[str, Any] = {"network": {"dimensions": {"width": written["widths"], "depth": written["depths"]}}}
    without_effect = {
        "recalibration_batches": written.get("norm") != "batch-recalibrated",
        "line_penalty": written.get("affine") != "line",
        "extract_at": written.get("sharing") != "extracted",
    }
    for name, value in written.items():
        if name in ("widths", "depths") or without_effect.get(name, False):
            continue
        if name == "evaluations":
            read[name] = value
            continue
        part, field = _RENAMED.get(name) or (_PLACES.get(name, name), name)
        read.setdefault(part, {})[field] = value
    return read
