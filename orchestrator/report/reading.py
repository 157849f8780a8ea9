"""Reads the results of a plan's trials from the tracker alone, and refuses what cannot stand in one table."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.declaration import LEDGER
from orchestrator.errors import UserError
from orchestrator.report.divergence import Divergence
from orchestrator.report.latency import read_latency
from orchestrator.report.results import Failure, Results
from orchestrator.report.trials import legible_tag, trials_of
from orchestrator.secrecy.redaction import without_passwords
from orchestrator.study.plan import Plan
from orchestrator.track.metric_names import total_of
from orchestrator.track.relocation import absent
from orchestrator.track.tracker import (
    ARM,
    BUDGET,
    EPOCH,
    FACTOR,
    OUTCOME,
    SECONDS,
    SEED,
    TrackedTrial,
    Tracker,
    parse_csv,
)

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, ArithmeticError)
_ORIGINS = ("version.", "git.", "data.", "code.", "device", "command")


def read_results(tracker: Tracker, experiment: str, plan: Plan) -> Results:
    """Reads the trials of a plan's arms.

    Raises:
        UserError: nothing finished yet, the trials of one table do not spend the same budget, no seed is common to
            all its arms, or what a trial recorded is missing or not what a recorder writes; names the trial.
    """
    order = [arm.label for arm in plan.arms]
    trials = trials_of(plan, tracker.trials(experiment, plan.base_key))
    trials.sort(key=lambda trial: (order.index(trial.tags[ARM]), int(trial.tags[SEED])))
    finished = [trial for trial in trials if trial.status == "FINISHED"]
    if not finished:
        raise UserError(f"nothing has finished yet ({len(trials)} trials started): run the study first")
    facet_of = {arm.label: plan.study.facet(dict(arm.levels)) for arm in plan.arms}
    facets = tuple(dict.fromkeys(facet_of[trial.tags[ARM]] for trial in finished))
    unpaired: list[str] = []
    for facet in facets:
        inside = [trial for trial in finished if facet_of[trial.tags[ARM]] == facet]
        _refuse_unequal_budgets(inside, plan)
        unpaired += _without_partner(inside)
    finished = [trial for trial in finished if _name(trial) not in unpaired]
    names = {arm.label: plan.compared(dict(arm.levels)) for arm in plan.arms}
    rows: list[dict[str, Any]] = []
    for trial, table in zip(finished, tracker.read_texts(finished, "sub_models.csv"), strict=True):
        if table is None:
            raise absent("sub_models.csv", _name(trial), trial.artifacts)
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
    present = set(frame["arm"])
    return Results(
        frame=frame,
        curves=_curves(tracker, plan, finished, facet_of, names),
        facets=facets,
        arms=tuple(dict.fromkeys(names[label] for label in order if names[label] in present)),
        sub_models=_by_size(frame),
        dimensions=tuple(sorted({name for costs, _ in plan.sub_models for name in costs[0].dimensions})),
        against=_against(plan),
        unpaired=tuple(unpaired),
        failures=failures,
        unfinished=sum(trial.status not in ("FINISHED", "FAILED") for trial in trials),
        latency=read_latency(tracker, experiment, plan),
        about=_about(finished),
        declaration=plan.declaration,
        updates_per_epoch=_updates_per_epoch(finished, facet_of, names),
        diverged=tuple(
            Divergence(facet_of[trial.tags[ARM]], names[trial.tags[ARM]], int(trial.tags[SEED]), _spent(trial, plan))
            for trial in finished
            if trial.diverged
        ),
    )


def _by_size(frame: pd.DataFrame) -> tuple[str, ...]:
    """The sub-models, smallest first: by their share of the multiply-accumulates of their arm's largest.

    Arms with networks of their own agree on these far better than on the multiply-accumulates themselves.
    """
    one = frame.drop_duplicates(["facet", "arm", "sub_model"])
    shares = one.assign(share=one["macs"] / one.groupby(["facet", "arm"])["macs"].transform("max"))
    means = shares.groupby("sub_model", sort=False)["share"].mean()
    return tuple(str(label) for label in means.sort_values(kind="stable").index)


def _about(trials: Sequence[TrackedTrial]) -> dict[str, str]:
    """What the trials say of where they come from; where they differ, every answer with the arms that gave it."""
    names = sorted({name for trial in trials for name in trial.tags if name.startswith(_ORIGINS)})
    found = {}
    for name in names:
        arms: dict[str, list[str]] = {}
        for trial in trials:
            arms.setdefault(trial.tags.get(name, "unknown"), []).append(trial.tags[ARM])
        answers = (f"{answer} ({', '.join(dict.fromkeys(who))})" for answer, who in arms.items())
        found[name] = next(iter(arms)) if len(arms) == 1 else "; ".join(answers)
    return found


@contextmanager
def _legible(trial: TrackedTrial, name: str) -> Iterator[None]:
    """Names the trial whose artifact, which was read, is not what it should be."""
    try:
        yield
    except (*_UNREADABLE, csv.Error) as error:
        raise UserError(
            f"{name} of {_name(trial)} is not as it was recorded ({_what(error)}): put back a copy of it, or delete "
            f"its run {trial.run_id} in MLflow and run the study again, which records or trains it anew"
        ) from error


def _rows(
    trial: TrackedTrial, table: list[dict[str, str]], plan: Plan, facet_of: dict[str, str], names: dict[str, str]
) -> list[dict[str, Any]]:
    """A row per sub-model of the plan."""
    label = trial.tags[ARM]
    who = {"facet": facet_of[label], "arm": names[label], "seed": int(trial.tags[SEED])}
    taken = {*who, "sub_model", "outcome", "seconds", *(table[0] if table else ())}
    levels = {
        f"{FACTOR}{factor.name}" if factor.name in taken else factor.name: trial.tags.get(f"{FACTOR}{factor.name}", "")
        for factor in plan.study.factors
    }
    totals = {f"total_{total.name}": total_of(trial.metrics, total.name) for total in plan.declaration.totals}
    with legible_tag(trial, SECONDS):
        common = {**who, **levels, "outcome": trial.tags.get(OUTCOME, ""), "seconds": float(trial.tags[SECONDS])}
    costs = plan.first_trials[label].sub_models
    if [row.get("sub_model") for row in table] != [cost.label for cost in costs]:
        raise ValueError("its sub-models are not its arm's")
    if [float(row["macs"]) for row in table] != [cost.macs for cost in costs]:
        raise ValueError("its multiply-accumulates are not its arm's")  # an earlier version took the first arm's
    metric = plan.declaration.primary.name
    return [
        {**common, "sub_model": row["sub_model"]}
        | {name: _number(name, value) for name, value in row.items() if name != "sub_model"}
        | {metric: _measured(float(row[metric]))}
        | ({} if cost.flops is None else {"flops": cost.flops})
        | totals
        for row, cost in zip(table, costs, strict=True)
    ]


def _measured(value: float) -> float:
    """NaN for whatever is no number to count with: one trial's result, which keeps nobody from reading the others'."""
    return value if math.isfinite(value) else math.nan


def _curves(
    tracker: Tracker, plan: Plan, trials: Sequence[TrackedTrial], facet_of: dict[str, str], names: dict[str, str]
) -> pd.DataFrame:
    """The curves of the primary metric; a column at a time and names by number, since there may be a million points."""
    counts: list[int] = []
    steps: list[int] = []
    spent: list[float] = []
    sub_models: list[int] = []
    values: list[float] = []
    interim: list[bool] = []
    primary = plan.declaration.primary
    labels = list(dict.fromkeys(cost.label for costs, _ in plan.sub_models for cost in costs))
    usual = [(place, f"{primary.name}/{label}") for place, label in enumerate(labels)]
    for trial, text in zip(trials, tracker.read_texts(trials, "history.json"), strict=True):
        before, unit = len(steps), _budget(trial, plan)[0]
        followed = plan.first_trials[trial.tags[ARM]].interim
        wanted = [(labels.index(label), f"{primary.interim}/{label}") for label in followed] or usual
        with _legible(trial, "history.json"):
            for point in [] if text is None else json.loads(text)["points"]:
                metrics, step = point["metrics"], point["step"]
                so_far = metrics.get(f"{LEDGER}/{unit}", step if unit == "updates" else math.nan)
                for place, metric in wanted:
                    if metric in metrics:
                        steps.append(step)
                        spent.append(so_far)
                        sub_models.append(place)
                        interim.append(bool(followed))
                        values.append(metrics[metric])
            if not all(type(step) is int for step in steps[before:]):
                raise ValueError("a step is no whole number")
            if not all(type(value) in (float, int) for value in values[before:]):
                raise ValueError(f"a {primary.title} is no number")
            if not all(type(so_far) in (float, int) for so_far in spent[before:]):
                raise ValueError(f"{unit} are no number")
            values[before:] = [_measured(float(value)) for value in values[before:]]
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
            "spent": np.array(spent, dtype=float),
            "sub_model": pd.Categorical.from_codes(sub_models, pd.Index(labels)),
            primary.name: values,
            "interim": np.array(interim, dtype=bool),
        }
    )


def _updates_per_epoch(
    trials: Sequence[TrackedTrial], facet_of: dict[str, str], names: dict[str, str]
) -> dict[tuple[str, str, int], float]:
    """As recorded; 0 for a trial of before it was."""
    found = {}
    for trial in trials:
        label = trial.tags[ARM]
        with legible_tag(trial, EPOCH):
            found[facet_of[label], names[label], int(trial.tags[SEED])] = float(trial.tags.get(EPOCH, "0"))
    return found


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


def _what(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def _name(trial: TrackedTrial) -> str:
    return f"{trial.tags[ARM]} · seed {trial.tags[SEED]}{' (diverged)' * trial.diverged}"


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


def _spent(trial: TrackedTrial, plan: Plan) -> str:
    """`40 of 120 updates`; empty where that was not recorded."""
    unit, amount = _budget(trial, plan)
    spent = total_of(trial.metrics, unit)
    return f"{spent:,.0f} of {amount:,} {unit}" if spent is not None and math.isfinite(spent) else ""


def _refuse_unequal_budgets(trials: Sequence[TrackedTrial], plan: Plan) -> None:
    budgets: dict[str, list[str]] = {}
    for trial in trials:
        unit, amount = _budget(trial, plan)
        budgets.setdefault(f"{amount} {unit}", []).append(_name(trial))
    if len(budgets) > 1:
        listed = "; ".join(f"{budget}: {', '.join(who)}" for budget, who in budgets.items())
        raise UserError(f"these trials have unequal budgets and cannot stand in one table: {listed}")


def _budget(trial: TrackedTrial, plan: Plan) -> tuple[str, int]:
    """Unit and amount, as recorded; a trial of before budgets were has its arm's."""
    planned = plan.first_trials[trial.tags[ARM]].budget
    if BUDGET not in trial.tags:
        return planned.unit, planned.amount
    with legible_tag(trial, BUDGET):
        unit, amount = json.loads(trial.tags[BUDGET])
        return unit, amount


def _number(name: str | None, text: str | None) -> float:
    """A number of the table; NaN where nothing was measured."""
    if name is None or text is None:
        raise ValueError("a row is longer or shorter than its head")
    return float(text) if text else float("nan")
