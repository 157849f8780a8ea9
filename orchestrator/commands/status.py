"""The command that shows where every trial of a study stands."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options
from orchestrator.commands.states import state, with_leases
from orchestrator.commands.tracking import earlier_trials, find_tracker, tracked_trials
from orchestrator.study.plan import Plan, Trial
from orchestrator.track.limits import as_name
from orchestrator.trainer import Trainer

if TYPE_CHECKING:
    from orchestrator.track.tracker import TrackedTrial, Tracker


@dataclass(frozen=True)
class TrialStatus:
    """Where a trial stands.

    Attributes:
        state: `missing`, `running`, `done`, `diverged`, `failed` or `interrupted`.
        average: of the primary metric over its sub-models, as measured last; None if it was not yet.
        interim: whether that is of those examples and sub-models alone that evaluations before the last are of.
    """

    trial: Trial
    state: str
    average: float | None
    interim: bool = False

    def shown(self, text: Callable[[float], str]) -> str:
        """The average as a text, which says so where it is interim; a dash without one."""
        return "–" if self.average is None else f"{text(self.average)}{' (interim)' * self.interim}"

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        trial = self.trial
        return {
            "arm": trial.arm.label,
            "seed": trial.seed,
            "key": trial.key,
            "state": self.state,
            "average": self.average,
            "interim": self.interim,
        }


def show_status(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Prints where every trial stands, from the tracker, and whether somebody is at it, from the storage's leases."""
    tracker = find_tracker(options)
    statuses = read_statuses(plan, options, tracker)
    if options.as_json:
        trials = [status.as_dict() for status in statuses]
        print(json.dumps({"study": plan.study.name, "preset": plan.preset, "trials": trials}))
        return 0
    plain_console().print(status_table(plan, statuses))
    for line in earlier_trials(plan, trainer, tracker):
        plain_console().print(line, markup=False)
    return 0


def read_statuses(plan: Plan, options: Options, tracker: "Tracker | None") -> list[TrialStatus]:
    """Of every trial of a plan."""
    tracked, is_trained = with_leases(options.storage, lambda: tracked_trials(plan, tracker))
    metric, statuses = plan.declaration.primary, list[TrialStatus]()
    for trial in plan.trials:
        run = tracked.get(trial.key)
        stands = "missing" if run is None else state(run.status, run.diverged, is_trained(trial.key))
        average = None if run is None or run.diverged else _average(run, metric.name, trial.labels)
        interim = None
        if average is None and run is not None and not run.diverged and trial.interim:
            interim = _average(run, metric.interim, trial.interim)
        known = interim if average is None else average
        statuses.append(TrialStatus(trial, stands, known, interim is not None))
    return statuses


def status_table(plan: Plan, statuses: Sequence[TrialStatus]) -> Table:
    """A row for every trial."""
    metric = plan.declaration.primary
    table = Table(title=f"{plan.study.title} (preset {plan.preset})", title_justify="left")
    for column in ("arm", "seed", "state", f"avg. {metric.word}", "key"):
        table.add_column(column, overflow="fold")
    for status in statuses:
        trial = status.trial
        table.add_row(trial.arm.label, str(trial.seed), status.state, status.shown(metric.text), trial.key[:12])
    return table


def _average(tracked: "TrackedTrial", name: str, labels: Sequence[str]) -> float | None:
    """Of a metric over sub-models, as measured last; None if it was not yet, or is no number."""
    values = [tracked.metrics.get(as_name(f"{name}/{label}")) for label in labels]
    known = [value for value in values if value is not None]
    average = sum(known) / len(known) if known and len(known) == len(values) else math.nan
    return average if math.isfinite(average) else None
