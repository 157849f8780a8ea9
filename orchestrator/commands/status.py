"""The command that shows where every trial of a study stands."""

import json
import math
from typing import TYPE_CHECKING, Any

from rich.table import Table

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options
from orchestrator.commands.states import state, with_leases
from orchestrator.commands.tracking import earlier_trials, find_tracker, tracked_trials
from orchestrator.study.plan import Plan, Trial
from orchestrator.track.limits import as_name
from orchestrator.trainer import Metric, Trainer

if TYPE_CHECKING:
    from orchestrator.track.tracker import TrackedTrial


def show_status(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Prints where every trial stands, from the tracker, and whether somebody is at it, from the storage's leases."""
    tracker = find_tracker(options)
    tracked, is_trained = with_leases(options.storage, lambda: tracked_trials(plan, tracker))
    rows: list[dict[str, Any]] = []
    metric = plan.declaration.primary
    for trial in plan.trials:
        run = tracked.get(trial.key)
        stands = "missing" if run is None else state(run.status, run.diverged, is_trained(trial.key))
        average = None if run is None or run.diverged else _average(run, trial, metric)
        rows.append({"arm": trial.arm.label, "seed": trial.seed, "key": trial.key, "state": stands, "average": average})
    if options.as_json:
        print(json.dumps({"study": plan.study.name, "preset": plan.preset, "trials": rows}))
        return 0
    table = Table(title=f"{plan.study.title} (preset {plan.preset})", title_justify="left")
    for column in ("arm", "seed", "state", f"avg. {metric.word}", "key"):
        table.add_column(column, overflow="fold")
    for row in rows:
        shown = "–" if row["average"] is None else metric.text(row["average"])
        table.add_row(row["arm"], str(row["seed"]), row["state"], shown, row["key"][:12])
    plain_console().print(table)
    for line in earlier_trials(plan, trainer, tracker):
        plain_console().print(line, markup=False)
    return 0


def _average(tracked: "TrackedTrial", trial: Trial, metric: Metric) -> float | None:
    """Over the trial's sub-models, as measured last; None if it was not yet, or is no number."""
    values = [tracked.metrics.get(as_name(f"{metric.name}/{cost.label}")) for cost in trial.sub_models]
    known = [value for value in values if value is not None]
    average = sum(known) / len(known) if known and len(known) == len(values) else math.nan
    return average if math.isfinite(average) else None
