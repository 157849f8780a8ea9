"""The tidy frame of a study: one row per trial × sub-model, read from the tracker alone."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.errors import UserError
from orchestrator.secrecy.redaction import without_passwords
from orchestrator.study.plan import Plan
from orchestrator.track.tracker import ARM, FACTOR, LATENCY, OUTCOME, SEED, TrackedTrial, Tracker, parse_csv

_UNITS = ("updates", "passes", "samples", "macs", "forwards")


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish: its label, one line, and its own traceback."""

    trial: str
    error: str
    traceback: str


@dataclass(frozen=True)
class Latency:
    """Milliseconds of every sub-model for one example, and where they were measured."""

    device: str
    milliseconds: dict[str, float]


@dataclass(frozen=True)
class Results:
    """Everything a report shows.

    Attributes:
        frame: a row per finished trial × sub-model: `facet`, `arm`, a column per factor, `seed`, `sub_model`, a column
            per dimension, `macs`, `parameters`, every metric of the last evaluation (`test_acc` in per cent),
            `total_…` per ledger unit.
        curves: a row per finished trial × evaluation × sub-model: `facet`, `arm`, `seed`, `step`, `sub_model`,
            `test_acc`; names are categories.
        facets: the tables; one nameless without.
        arms, sub_models: in the order of the study, and smallest first.
        dimensions: of the sub-models.
        against: the arm that each arm is compared with, by arm; none for a baseline.
        unpaired: trials left out, since some arm of their table lacks their seed.
        failures: trials that raised or were lost.
        unfinished: number of trials that run or were interrupted.
        latency: of the sub-models, if measured.
        about: what is common to all: settings, checksum, versions.
    """

    frame: pd.DataFrame
    curves: pd.DataFrame
    facets: tuple[str, ...]
    arms: tuple[str, ...]
    sub_models: tuple[str, ...]
    dimensions: tuple[str, ...]
    against: dict[str, str]
    unpaired: tuple[str, ...]
    failures: tuple[Failure, ...]
    unfinished: int
    latency: Latency | None
    about: dict[str, str]

    def of(self, facet: str) -> "Results":
        """One table's part."""
        frame = self.frame[self.frame["facet"] == facet]
        present = set(frame["arm"])
        return replace(
            self,
            frame=frame,
            curves=self.curves[self.curves["facet"] == facet],
            facets=(facet,),
            arms=tuple(arm for arm in self.arms if arm in present),
            against={arm: other for arm, other in self.against.items() if {arm, other} <= present},
        )


def read_results(tracker: Tracker, experiment: str, plan: Plan) -> Results:
    """Reads the trials of a plan's arms.

    Raises:
        UserError: nothing finished yet, the trials of one table do not spend the same budget, no seed is common to
            all its arms, or what a trial recorded is not what a recorder writes; names the trial.
    """
    order = [arm.label for arm in plan.arms]
    trials = [trial for trial in tracker.trials(experiment, plan.base_key) if trial.tags[ARM] in order]
    trials.sort(key=lambda trial: (order.index(trial.tags[ARM]), int(trial.tags[SEED])))
    finished = [trial for trial in trials if trial.status == "FINISHED"]
    if not finished:
        raise UserError(f"nothing has finished yet ({len(trials)} trials started): run the study first")
    facet_of = {arm.label: plan.study.facet(dict(arm.levels)) for arm in plan.arms}
    facets = tuple(dict.fromkeys(facet_of[trial.tags[ARM]] for trial in finished))
    unpaired: list[str] = []
    for facet in facets:
        inside = [trial for trial in finished if facet_of[trial.tags[ARM]] == facet]
        _refuse_unequal_budgets(inside)
        unpaired += _without_partner(inside)
    finished = [trial for trial in finished if _name(trial) not in unpaired]
    names = {arm.label: plan.compared(dict(arm.levels)) for arm in plan.arms}
    rows: list[dict[str, Any]] = []
    for trial, table in zip(finished, tracker.read_texts(finished, "sub_models.csv"), strict=True):
        with _legible(trial, "sub_models.csv"):
            rows += _rows(trial, parse_csv(table), plan, facet_of, names)
    frame = pd.DataFrame(rows)
    failures = tuple(
        Failure(
            _name(trial),
            without_passwords(trial.tags.get("error", "")),  # what an earlier version recorded, too
            without_passwords(tracker.read_text(trial.artifacts, "traceback.txt") or ""),
        )
        for trial in trials
        if trial.status == "FAILED"
    )
    tags = finished[0].tags
    about = {name: tags[name] for name in sorted(tags) if name.startswith(("version.", "git.", "data.", "device"))}
    present = set(frame["arm"])
    return Results(
        frame=frame,
        curves=_curves(tracker, plan, finished, facet_of, names),
        facets=facets,
        arms=tuple(dict.fromkeys(names[label] for label in order if names[label] in present)),
        sub_models=tuple(frame.drop_duplicates("sub_model").sort_values("macs")["sub_model"]),
        dimensions=tuple(sorted(plan.costs[0].dimensions)),
        against=_against(plan),
        unpaired=tuple(unpaired),
        failures=failures,
        unfinished=sum(trial.status not in ("FINISHED", "FAILED") for trial in trials),
        latency=_latency(tracker, experiment, plan),
        about=about,
    )


@contextmanager
def _legible(trial: TrackedTrial, name: str) -> Iterator[None]:
    """Names the trial whose artifact is not what it should be."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        what = f"{type(error).__name__}: {error}"[:200]
        raise UserError(
            f"{name} of {_name(trial)} is not as it was recorded ({what}): delete its run {trial.run_id} in MLflow and "
            "run the study again, its checkpoint is still there"
        ) from error


def _rows(
    trial: TrackedTrial, table: list[dict[str, str]], plan: Plan, facet_of: dict[str, str], names: dict[str, str]
) -> list[dict[str, Any]]:
    """A row per sub-model of the plan."""
    label = trial.tags[ARM]
    who = {"facet": facet_of[label], "arm": names[label], "seed": int(trial.tags[SEED])}
    levels = {factor.name: trial.tags.get(f"{FACTOR}{factor.name}", "") for factor in plan.study.factors}
    totals = {f"total_{unit}": trial.metrics.get(f"ledger/{unit}") for unit in _UNITS}
    common = {**who, **levels, "outcome": trial.tags.get(OUTCOME, ""), "seconds": float(trial.tags["seconds"])}
    if [row.get("sub_model") for row in table] != [cost.label for cost in plan.costs]:
        raise ValueError("its sub-models are not the study's")
    if not all(math.isfinite(float(row["test_acc"])) for row in table):
        raise ValueError("an accuracy is no number")
    return [
        {**common, "sub_model": row["sub_model"]}
        | {name: _number(name, value) for name, value in row.items() if name != "sub_model"}
        | totals
        for row in table
    ]


def _curves(
    tracker: Tracker, plan: Plan, trials: Sequence[TrackedTrial], facet_of: dict[str, str], names: dict[str, str]
) -> pd.DataFrame:
    """The curves of accuracy; a column at a time and names by number, since there may be a million points."""
    counts: list[int] = []
    steps: list[int] = []
    sub_models: list[int] = []
    accuracies: list[float] = []
    wanted = {f"test_acc/{cost.label}": place for place, cost in enumerate(plan.costs)}
    for trial, text in zip(trials, tracker.read_texts(trials, "history.json"), strict=True):
        before = len(steps)
        with _legible(trial, "history.json"):
            for point in [] if text is None else json.loads(text)["points"]:
                metrics, step = point["metrics"], point["step"]
                for metric, place in wanted.items():
                    if metric in metrics:
                        steps.append(step)
                        sub_models.append(place)
                        accuracies.append(metrics[metric])
            if not all(type(step) is int for step in steps[before:]):
                raise ValueError("a step is no whole number")
            if not all(type(accuracy) is float for accuracy in accuracies[before:]):
                raise ValueError("an accuracy is no number")
        counts.append(len(steps) - before)

    def repeated(values: Sequence[str]) -> "pd.Categorical[str]":
        different = list(dict.fromkeys(values))
        numbers = np.array([different.index(value) for value in values], dtype=np.int32)
        return pd.Categorical.from_codes(np.repeat(numbers, counts), pd.Index(different))

    return pd.DataFrame(
        {
            "facet": repeated([facet_of[trial.tags[ARM]] for trial in trials]),
            "arm": repeated([names[trial.tags[ARM]] for trial in trials]),
            "seed": np.repeat([int(trial.tags[SEED]) for trial in trials], counts),
            "step": steps,
            "sub_model": pd.Categorical.from_codes(sub_models, pd.Index([cost.label for cost in plan.costs])),
            "test_acc": accuracies,
        }
    )


def _against(plan: Plan) -> dict[str, str]:
    """The arm with the baseline's levels and otherwise an arm's own, by arm."""
    pairs = {}
    for arm in plan.arms:
        levels = dict(arm.levels)
        baseline = levels | {name: level for name, level in plan.layout.baseline.items() if name in levels}
        mine, other = plan.compared(levels), plan.compared(baseline)
        if plan.layout.baseline and mine != other:
            pairs[mine] = other
    return pairs


def _latency(tracker: Tracker, experiment: str, plan: Plan) -> Latency | None:
    """As measured last; None if it was not, or the trainer measures none."""
    parent = tracker.parent(experiment, plan.base_key)
    if parent is None:
        return None
    try:
        kept = tracker.read_json(parent.info.artifact_uri, LATENCY)
        if not kept or not kept["milliseconds"]:
            return None
        return Latency(str(kept["device"]), {name: float(value) for name, value in kept["milliseconds"].items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        what = f"{type(error).__name__}: {error}"[:200]
        raise UserError(
            f"{LATENCY} of the run {parent.info.run_id} is not as it was recorded ({what}): delete that file"
        ) from error


def _name(trial: TrackedTrial) -> str:
    return f"{trial.tags[ARM]} · seed {trial.tags[SEED]}"


def _without_partner(trials: Sequence[TrackedTrial]) -> list[str]:
    """The trials whose seed some other arm lacks."""
    seeds: dict[str, set[str]] = {}
    for trial in trials:
        seeds.setdefault(trial.tags[ARM], set()).add(trial.tags[SEED])
    shared = set.intersection(*seeds.values())
    if not shared:
        listed = "; ".join(f"{arm}: {', '.join(sorted(has))}" for arm, has in seeds.items())
        raise UserError(f"no seed is common to these arms, so they cannot stand in one table (seeds {listed})")
    return [_name(trial) for trial in trials if trial.tags[SEED] not in shared]


def _refuse_unequal_budgets(trials: Sequence[TrackedTrial]) -> None:
    budgets: dict[tuple[str, str], list[str]] = {}
    for trial in trials:
        budget = (trial.params.get("budget.unit", ""), trial.params.get("budget.amount", ""))
        budgets.setdefault(budget, []).append(_name(trial))
    if len(budgets) > 1:
        listed = "; ".join(f"{amount} {unit}: {', '.join(who)}" for (unit, amount), who in budgets.items())
        raise UserError(f"these trials have unequal budgets and cannot stand in one table: {listed}")


def _number(name: str | None, text: str | None) -> float:
    """A number of the table; NaN where nothing was measured."""
    if name is None or text is None:
        raise ValueError("a row is longer or shorter than its head")
    return float(text) if text else float("nan")
