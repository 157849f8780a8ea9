"""The tidy frame of a study: one row per trial × sub-model, read from the tracker alone."""

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from orchestrator.errors import UserError
from orchestrator.tracker import ARM, FACTOR, OUTCOME, SEED, TrackedTrial, Tracker

_UNITS = ("updates", "passes", "samples", "macs")


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish: its label, one line, and its own traceback."""

    trial: str
    error: str
    traceback: str


@dataclass(frozen=True)
class Results:
    """Everything a report shows.

    Attributes:
        frame: a row per finished trial × sub-model: `arm`, a column per factor, `seed`, `sub_model`, `macs`,
            `parameters`, every metric of the last evaluation (`test_acc` in per cent), `total_…` per ledger unit.
        curves: a row per finished trial × evaluation × sub-model: `arm`, `seed`, `step`, `sub_model`, `test_acc`.
        arms, sub_models: in the order of the study, and smallest first.
        failures: trials that raised or were lost.
        unfinished: number of trials that run or were interrupted.
        about: what is common to all: settings, checksum, versions.
    """

    frame: pd.DataFrame
    curves: pd.DataFrame
    factors: tuple[str, ...]
    arms: tuple[str, ...]
    sub_models: tuple[str, ...]
    failures: tuple[Failure, ...]
    unfinished: int
    about: dict[str, str]


def read_results(
    tracker: Tracker, experiment: str, base_key: str, factors: tuple[str, ...], order: tuple[str, ...]
) -> Results:
    """Reads the trials of one base config; `order` lists the arms that are wanted, as the table shall show them.

    Raises:
        UserError: nothing finished yet, or the trials do not spend the same budget.
    """
    trials = [trial for trial in tracker.trials(experiment, base_key) if trial.tags[ARM] in order]
    finished = [trial for trial in trials if trial.status == "FINISHED"]
    if not finished:
        raise UserError(f"nothing has finished yet ({len(trials)} trials started): run the study first")
    _refuse_unequal_budgets(finished)
    rows: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for trial in finished:
        who = {"arm": trial.tags[ARM], "seed": int(trial.tags[SEED])}
        levels = {name: trial.tags.get(f"{FACTOR}{name}", "") for name in factors}
        totals = {f"total_{unit}": trial.metrics.get(f"ledger/{unit}") for unit in _UNITS}
        common = {**who, **levels, "outcome": trial.tags.get(OUTCOME, ""), "seconds": float(trial.tags["seconds"])}
        for row in tracker.read_csv(trial.run_id, "sub_models.csv"):
            label = row.pop("sub_model")
            rows.append({**common, "sub_model": label, **{k: _number(v) for k, v in row.items()}, **totals})
        history = tracker.read_json(trial.run_id, "history.json") or {"points": []}
        for point in history["points"]:
            for name, value in point["metrics"].items():
                group, _, label = name.partition("/")
                if group == "test_acc":
                    points.append({**who, "step": point["step"], "sub_model": label, "test_acc": value})
    frame = pd.DataFrame(rows)
    sub_models = frame.drop_duplicates("sub_model").sort_values("macs")["sub_model"]
    failures = tuple(
        Failure(
            f"{trial.tags[ARM]} · seed {trial.tags[SEED]}",
            trial.tags.get("error", ""),
            str(tracker.read_text(trial.run_id, "traceback.txt") or ""),
        )
        for trial in trials
        if trial.status == "FAILED"
    )
    tags = finished[0].tags
    about = {name: tags[name] for name in sorted(tags) if name.startswith(("version.", "git.", "data.", "device"))}
    return Results(
        frame=frame,
        curves=pd.DataFrame(points, columns=["arm", "seed", "step", "sub_model", "test_acc"]),
        factors=factors,
        arms=tuple(arm for arm in order if arm in set(frame["arm"])),
        sub_models=tuple(sub_models),
        failures=failures,
        unfinished=sum(trial.status not in ("FINISHED", "FAILED") for trial in trials),
        about=about,
    )


def _refuse_unequal_budgets(trials: list[TrackedTrial]) -> None:
    budgets: dict[tuple[str, str], list[str]] = {}
    for trial in trials:
        budget = (trial.params.get("budget_unit", ""), trial.params.get("budget", ""))
        budgets.setdefault(budget, []).append(f"{trial.tags[ARM]} · seed {trial.tags[SEED]}")
    if len(budgets) > 1:
        listed = "; ".join(f"{amount} {unit}: {', '.join(who)}" for (unit, amount), who in budgets.items())
        raise UserError(f"these trials have unequal budgets and cannot stand in one table: {listed}")


def _number(text: str) -> float | str:
    try:
        return float(json.loads(text)) if text else float("nan")
    except ValueError:
        return text
