"""The command that shows what a study would do, and starts nothing."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options
from orchestrator.commands.tracking import earlier_trials, experiment_id, find_tracker, finished_keys
from orchestrator.errors import UserError
from orchestrator.run.progress import duration
from orchestrator.study.plan import Plan, make_plan
from orchestrator.trainer import Place, Trainer

if TYPE_CHECKING:
    from orchestrator.report.more_seeds import MoreSeeds
    from orchestrator.track.tracker import Tracker


def show_plan(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Prints arms, budgets in all three units, what is finished and an estimated duration; starts nothing."""
    tracker = find_tracker(options)
    finished = finished_keys(plan, tracker)
    missing = plan.missing(finished)
    place = Place(threads=max(1, int(options.cpus)), gpu=bool(options.gpus), data=options.data)
    configs = {trial.arm.label: trial.config for trial in plan.trials}
    rows = []
    for arm in plan.arms:
        outlook = trainer.outlook(configs[arm.label])
        left = sum(trial.arm == arm for trial in missing)
        each = trainer.seconds(configs[arm.label], place)
        rows.append({"arm": arm.label, **asdict(outlook), "seconds_per_trial": each, "missing": left})
    slots = max(1, int((os.cpu_count() or 1) // options.cpus))
    side_by_side = min(slots, options.max_concurrent or slots)
    total = sum(row["seconds_per_trial"] * row["missing"] for row in rows) / side_by_side
    seconds = {str(row["arm"]): float(row["seconds_per_trial"]) for row in rows}
    separation = _to_separate(plan, trainer, options, tracker, finished, seconds, side_by_side)
    budget = plan.trials[0].config["budget"]
    if options.as_json:
        print(
            json.dumps(
                {
                    "study": plan.study.name,
                    "preset": plan.preset,
                    "base_key": plan.base_key,
                    "seeds": plan.seeds,
                    "budget": budget,
                    "sub_models": [asdict(cost) for cost in plan.costs],
                    "arms": rows,
                    "trials": [{"key": t.key, "arm": t.arm.label, "seed": t.seed} for t in plan.trials],
                    "finished": len(plan.trials) - len(missing),
                    "seconds_left": total,
                    "to_separate": [asdict(each) for each in separation.found],
                    "to_separate_unknown": separation.unknown,
                }
            )
        )
        return 0
    console = plain_console()
    table = Table(title=f"{plan.study.title} (preset {plan.preset})", title_justify="left")
    for column in ("arm", "updates", "passes", "training MACs", "a trial", "missing"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for row in rows:
        table.add_row(
            row["arm"],
            f"{row['updates']:,.0f}",
            f"{row['passes']:,.0f}",
            f"{row['macs']:.3e}",
            duration(row["seconds_per_trial"]),
            f"{row['missing']} of {len(plan.seeds)}",
        )
    console.print(table)
    sizes = ", ".join(f"{c.label} {c.macs / 1e6:.3f} M MACs, {c.parameters:,} parameters" for c in plan.costs)
    console.print(f"Equal for all: {budget['amount']:,} {budget['unit']}. Sub-models: {sizes}.")
    seeds = ", ".join(map(str, plan.seeds))
    console.print(f"Seeds {seeds}. About {duration(total)} on this machine for the rest.")
    for line in (*separation.lines, *earlier_trials(plan, trainer, tracker)):
        console.print(line, markup=False)
    return 0


@dataclass(frozen=True)
class _Separation:
    """What would separate the arms, the same in words, and why it is not known, if so."""

    found: "tuple[MoreSeeds, ...]" = ()
    lines: tuple[str, ...] = ()
    unknown: str = ""


def _to_separate(
    plan: Plan,
    trainer: Trainer,
    options: Options,
    tracker: "Tracker | None",
    finished: set[str],
    seconds: Mapping[str, float],
    side_by_side: int,
) -> _Separation:
    """From the finished trials, as the report reads them; what keeps it from reading them does not keep the plan."""
    experiment = experiment_id(plan, tracker)
    if tracker is None or experiment is None or not finished:
        return _Separation()
    from orchestrator.report.more_seeds import in_words, more_seeds
    from orchestrator.report.results import read_results

    def extended(seeds: Sequence[int]) -> Plan:
        return make_plan(plan.study, trainer, plan.preset, options.overrides, seeds, options.layout)

    try:
        results = read_results(tracker, experiment, plan)
    except UserError as error:
        return _Separation(lines=(f"How many seeds would separate the arms is not known: {error}",), unknown=str(error))
    found = more_seeds(results, extended, finished, seconds, side_by_side)
    return _Separation(tuple(found), tuple(in_words(found, results)))
