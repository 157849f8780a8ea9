"""The command that takes one sub-model out of a finished trial."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options, absolute, writable
from orchestrator.commands.tracking import earlier_trials, find_tracker, tracked_trials
from orchestrator.errors import UserError, unknown
from orchestrator.study.plan import Plan
from orchestrator.trainer import Trainer

if TYPE_CHECKING:
    from orchestrator.track.tracker import Tracker


@dataclass(frozen=True)
class Extraction:
    """What shall be extracted: a sub-model by its label, or by bounds (`selection.select`), into a folder."""

    sub_model: str | None
    max_macs: float | None
    max_parameters: float | None
    min_accuracy: float | None
    folder: Path


def parse_extraction(parameters: Mapping[str, Any]) -> Extraction:
    """What click's parameters ask for.

    Raises:
        UserError: no folder to write into; both a label and bounds.
    """
    if parameters["to"] is None:
        raise UserError("extract: give the folder to write into, --to DIR")
    bounds = (parameters["max_macs"], parameters["max_params"], parameters["min_accuracy"])
    if parameters["sub_model"] is not None and any(bound is not None for bound in bounds):
        raise UserError("extract: give --sub-model, or bounds to choose by, not both")
    return Extraction(parameters["sub_model"], *bounds, absolute("--to", parameters["to"]))


def extract_sub_model(plan: Plan, trainer: Trainer, options: Options, extraction: Extraction) -> int:
    """Writes one sub-model of the plan's one arm, trained with its first seed that has finished."""
    if len(plan.arms) > 1:
        labels = ", ".join(arm.label for arm in plan.arms)
        raise UserError(f"extract: choose one arm with --only; these are left: {labels}")
    tracker = find_tracker(options)
    tracked = tracked_trials(plan, tracker)
    done = [trial for trial in plan.trials if trial.key in tracked and tracked[trial.key].status == "FINISHED"]
    if tracker is None or not done:
        for line in earlier_trials(plan, trainer, tracker):
            raise UserError(f"extract: {line}")
        raise UserError(f"extract: {plan.arms[0].label} has not finished yet: run the study first")
    trial = done[0]
    run = tracked[trial.key]
    label = extraction.sub_model or _chosen(tracker, run.artifacts, extraction)
    if label not in (known := [cost.label for cost in plan.costs]):
        raise unknown("sub-model", label, known)
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(tracker.client.download_artifacts(run.run_id, "weights.safetensors", scratch))
        writable(extraction.folder, "--to")  # not before: a store that fails leaves no empty folder
        trainer.export(trial.config, weights, label, extraction.folder)
    plain_console().print(f"{label} of {trial.label}: {extraction.folder}", markup=False, soft_wrap=True)
    return 0


def _chosen(tracker: "Tracker", artifacts: str, extraction: Extraction) -> str:
    import pandas as pd

    from orchestrator.report.selection import select

    table = pd.DataFrame(tracker.read_csv(artifacts, "sub_models.csv"))
    for column in ("macs", "parameters", "test_acc"):
        table[column] = table[column].astype(float)
    return str(select(table, extraction.max_macs, extraction.max_parameters, extraction.min_accuracy)["sub_model"])
