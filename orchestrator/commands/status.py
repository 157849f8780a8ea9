"""The command that shows where every trial of a study stands."""

import json
from typing import Any

from rich.table import Table

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options
from orchestrator.commands.tracking import earlier_trials, find_tracker, tracked_trials
from orchestrator.study.plan import Plan
from orchestrator.trainer import Trainer


def show_status(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Prints where every trial stands, from the tracker alone."""
    tracker = find_tracker(options)
    tracked = tracked_trials(plan, tracker)
    names = {"FINISHED": "done", "RUNNING": "running", "FAILED": "failed", "KILLED": "interrupted"}
    rows: list[dict[str, Any]] = []
    for trial in plan.trials:
        run = tracked.get(trial.key)
        state = "missing" if run is None else names.get(run.status, run.status.lower())
        average = None if run is None else run.metrics.get("test_acc_average")
        rows.append({"arm": trial.arm.label, "seed": trial.seed, "key": trial.key, "state": state, "average": average})
    if options.as_json:
        print(json.dumps({"study": plan.study.name, "preset": plan.preset, "trials": rows}))
        return 0
    table = Table(title=f"{plan.study.title} (preset {plan.preset})", title_justify="left")
    for column in ("arm", "seed", "state", "avg. acc", "key"):
        table.add_column(column)
    for row in rows:
        accuracy = "–" if row["average"] is None else f"{row['average']:.2f}"
        table.add_row(row["arm"], str(row["seed"]), row["state"], accuracy, row["key"][:12])
    plain_console().print(table)
    for line in earlier_trials(plan, trainer, tracker):
        plain_console().print(line, markup=False)
    return 0
