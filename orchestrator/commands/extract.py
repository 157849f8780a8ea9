"""The command that takes one sub-model out of a finished trial."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.commands.options import Options, open_tracker, plain_console, tracked_trials, writable
from orchestrator.errors import UserError, unknown
from orchestrator.study.plan import Plan
from orchestrator.trainer import Metric, Trainer


@dataclass(frozen=True)
class Wanted:
    """What `extract` shall write: a sub-model by its label, or by bounds (`selection.select`), and where."""

    sub_model: str | None
    max_macs: float | None
    max_parameters: float | None
    reached: float | None
    folder: Path


def extract(plan: Plan, trainer: Trainer, options: Options, wanted: Wanted) -> int:
    """Writes the wanted sub-model of the plan's one arm, trained with its first seed that has finished."""
    if len(plan.arms) > 1:
        labels = ", ".join(arm.label for arm in plan.arms)
        raise UserError(f"extract: choose one arm with --only; these are left: {labels}")
    tracker = open_tracker(options, create=False)
    tracked = tracked_trials(plan, tracker)
    done = [trial for trial in plan.trials if trial.key in tracked and tracked[trial.key].status == "FINISHED"]
    if not done:
        raise UserError(f"extract: {plan.arms[0].label} has not finished yet: run the study first")
    trial = done[0]
    run = tracked[trial.key]
    if not (weights_name := plan.declaration.weights):
        raise UserError(f"extract: {trainer.name} keeps no weights to extract from")
    label = wanted.sub_model or _chosen(tracker, run.artifacts, wanted, plan.declaration.primary)
    if label not in (known := [cost.label for cost in trial.sub_models]):
        raise unknown("sub-model", label, known)
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(tracker.client.download_artifacts(run.run_id, weights_name, scratch))
        writable(wanted.folder, "--to")  # not before: a store that fails leaves no empty folder
        trainer.export(trial.config, weights, label, wanted.folder)
    plain_console().print(f"{label} of {trial.label}: {wanted.folder}", markup=False, soft_wrap=True)
    return 0


def _chosen(tracker: Any, artifacts: str, wanted: Wanted, metric: Metric) -> str:
    import pandas as pd

    from orchestrator.report.selection import select

    table = pd.DataFrame(tracker.read_csv(artifacts, "sub_models.csv"))
    for column in ("macs", "parameters", metric.name):
        table[column] = table[column].astype(float)
    return str(select(table, metric, wanted.max_macs, wanted.max_parameters, wanted.reached)["sub_model"])
