"""The command that takes one sub-model out of a finished trial."""

import csv
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options, absolute, writable
from orchestrator.commands.tracking import earlier_trials, experiment_id, find_tracker, tracked_trials
from orchestrator.declaration import Metric
from orchestrator.errors import UserError, reason, unknown
from orchestrator.study.plan import Plan, Trial
from orchestrator.trainer import Trainer

if TYPE_CHECKING:
    from orchestrator.track.tracker import TrackedTrial, Tracker


@dataclass(frozen=True)
class Extraction:
    """What shall be extracted: a sub-model by its label, or by bounds (`selection.select`), into a folder.

    Attributes:
        reached: the bound on the primary metric, by the option that gave it; empty without.
    """

    sub_model: str | None
    max_macs: float | None
    max_parameters: float | None
    reached: dict[str, float]
    folder: Path


def parse_extraction(parameters: Mapping[str, Any]) -> Extraction:
    """What click's parameters ask for.

    Raises:
        UserError: no folder to write into; both a label and bounds.
    """
    if parameters["to"] is None:
        raise UserError("extract: give the folder to write into, --to DIR")
    costs = (parameters["max_macs"], parameters["max_params"])
    options = {f"--{name.replace('_', '-')}": parameters[name] for name in ("min_accuracy", "at_least", "at_most")}
    reached = {option: value for option, value in options.items() if value is not None}
    if len(reached) > 1:
        raise UserError(f"extract: give one of {' and '.join(reached)}")
    if parameters["sub_model"] is not None and (reached or any(bound is not None for bound in costs)):
        raise UserError("extract: give --sub-model, or bounds to choose by, not both")
    return Extraction(parameters["sub_model"], *costs, reached, absolute("--to", parameters["to"]))


def extract_sub_model(plan: Plan, trainer: Trainer, options: Options, extraction: Extraction) -> int:
    """Writes one sub-model of the plan's one arm, trained with its first seed that has finished and not diverged."""
    if len(plan.arms) > 1:
        labels = ", ".join(arm.label for arm in plan.arms)
        raise UserError(f"extract: choose one arm with --only; these are left: {labels}")
    _refuse_the_wrong_way(plan.declaration.primary, extraction)
    tracker = find_tracker(options)
    tracked = tracked_trials(plan, tracker)
    ended = [trial for trial in plan.trials if trial.key in tracked and tracked[trial.key].status == "FINISHED"]
    done = [trial for trial in ended if not tracked[trial.key].diverged]
    if ended and not done:
        raise UserError(f"extract: {plan.arms[0].label} diverged with every seed, so there is nothing to extract")
    if tracker is None or not done:
        for line in earlier_trials(plan, trainer, tracker):
            raise UserError(f"extract: {line}")
        raise UserError(f"extract: {plan.arms[0].label} has not finished yet: run the study first")
    trial = done[0]
    run = tracked[trial.key]
    if not (weights_name := plan.declaration.weights):
        raise UserError(f"extract: {trainer.name} keeps no weights to extract from")
    label = extraction.sub_model or _chosen(tracker, run, trial.label, extraction, plan.declaration.primary)
    if label not in (known := [cost.label for cost in trial.sub_models]):
        raise unknown("sub-model", label, known)
    from orchestrator.track.relocation import absent

    with tempfile.TemporaryDirectory() as scratch:
        weights = tracker.fetch(run.artifacts, weights_name, scratch)
        if weights is None:
            raise absent(weights_name, trial.label, run.artifacts)
        for name in plan.declaration.artifacts:  # what lies beside the weights; an earlier version had less of it
            if name != weights_name:
                tracker.fetch(run.artifacts, name, scratch)
        writable(extraction.folder, "--to")  # not before: a store that fails leaves no empty folder
        trainer.export(trial.config, weights, label, extraction.folder)
        _say_where_from(plan, trial, tracker, run, label, extraction.folder)
    plain_console().print(f"{label} of {trial.label}: {extraction.folder}", markup=False, soft_wrap=True)
    return 0


def _say_where_from(
    plan: Plan, trial: Trial, tracker: "Tracker", run: "TrackedTrial", label: str, folder: Path
) -> None:
    """Writes beside the sub-model which trial it is of and what it was measured to do, as far as that is recorded."""
    from orchestrator.report.latency import read_latency
    from orchestrator.report.model_card import origin_of, write_card
    from orchestrator.track.tracker import parse_csv

    experiment = experiment_id(plan, tracker)
    assert experiment is not None
    latency = read_latency(tracker, experiment, plan)
    cost = next(cost for cost in trial.sub_models if cost.label == label)
    try:
        table = parse_csv(tracker.read_text(run.artifacts, "sub_models.csv"))
    except csv.Error:  # the network is whole; what it was measured to do is not known
        table = []
    row = next((row for row in table if row.get("sub_model") == label), {})
    write_card(folder, plan, origin_of(plan, trial, run, cost, row, latency), latency)


def _refuse_the_wrong_way(metric: Metric, extraction: Extraction) -> None:
    right = "--at-least" if metric.higher_is_better else "--at-most"
    for option in extraction.reached:
        if (option == "--at-most") == metric.higher_is_better:
            raise UserError(
                f"extract: of the {metric.title} {metric.best} is best: give {right} in the place of {option}"
            )


def _chosen(tracker: "Tracker", run: "TrackedTrial", whose: str, extraction: Extraction, metric: Metric) -> str:
    import pandas as pd

    from orchestrator.report.selection import select
    from orchestrator.track.relocation import absent
    from orchestrator.track.tracker import parse_csv

    name = "sub_models.csv"
    if (text := tracker.read_text(run.artifacts, name)) is None:
        raise absent(name, whose, run.artifacts)
    try:
        table = pd.DataFrame(parse_csv(text))
        for column in ("macs", "parameters", metric.name):
            table[column] = table[column].astype(float)
        reached = next(iter(extraction.reached.values()), None)
        return str(select(table, metric, extraction.max_macs, extraction.max_parameters, reached)["sub_model"])
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"extract: {name} of {whose} is not as it was recorded ({reason(error)}): name one with --sub-model"
        ) from error
