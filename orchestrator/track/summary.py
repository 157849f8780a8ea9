"""What the run of a base config says of all its trials: in words, and as a number per arm."""

import math
from collections.abc import Sequence
from pathlib import Path

from orchestrator.study.plan import Plan, Trial
from orchestrator.track.limits import VALUE_LIMIT, as_name, as_value
from orchestrator.track.metric_names import AVERAGE
from orchestrator.track.tracker import TrackedTrial

DESCRIPTION = "mlflow.note.content"  # the tag that MLflow shows, as Markdown
_PLAIN = str.maketrans({"·": "-", "×": "x", "−": "-", "–": "-"})  # what names of metrics may not hold


def described_by(report: Path, name: str) -> str:
    """The beginning of the report's table, as far as a description goes; empty without one.

    Args:
        name: of the folder among the run's artifacts in which the whole is.
    """
    try:
        text = (report / "table.md").read_text()
    except FileNotFoundError:
        return ""
    if len(text) > VALUE_LIMIT:
        rest = f"\n\n*Shortened: the whole is in `{name}/` among the artifacts of this run.*"
        room = text[: VALUE_LIMIT - len(rest)]
        text = room[: max(room.rfind("\n"), 0)].rstrip() + rest
    return as_value(text)


def averages_of_arms(plan: Plan, trials: Sequence[TrackedTrial]) -> dict[str, tuple[float, int]]:
    """The primary metric's mean over sub-models and seeds, and over how many seeds, by the name of a metric.

    Of every arm of which no seed has diverged, over those seeds that are finished.
    """
    finished = {trial.key: trial for trial in trials if trial.status == "FINISHED"}
    metric = plan.declaration.primary.name
    by_arm: dict[str, list[float]] = {}
    for trial in plan.trials:
        if trial.key in finished:
            by_arm.setdefault(trial.arm.label, []).append(_average(trial, finished[trial.key], metric))
    found = {}
    for arm, values in by_arm.items():
        if all(map(math.isfinite, values)):
            name = as_name(f"{metric}/{AVERAGE}/{arm.translate(_PLAIN).replace('/', ' ')}")
            found[name] = sum(values) / len(values), len(values)
    return found


def _average(trial: Trial, tracked: TrackedTrial, metric: str) -> float:
    """Of a trial; NaN of one that diverged or lacks a sub-model."""
    values = [tracked.metrics.get(as_name(f"{metric}/{cost.label}"), math.nan) for cost in trial.sub_models]
    return math.nan if tracked.diverged else sum(values) / len(values)
