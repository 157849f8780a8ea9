"""The command that shows what a study would do, and starts nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.table import Table

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options
from orchestrator.commands.tracking import earlier_trials, experiment_id, find_tracker, finished_keys
from orchestrator.errors import UserError
from orchestrator.run.environment import prepare_environment
from orchestrator.run.machine import node_here
from orchestrator.run.progress import duration
from orchestrator.run.resources import Resources, allot
from orchestrator.secrecy.redaction import shown_address
from orchestrator.study.plan import Plan, Trial, elapsed, make_plan
from orchestrator.trainer import Place, Trainer

if TYPE_CHECKING:
    from orchestrator.report.more_seeds import MoreSeeds
    from orchestrator.track.tracker import Tracker


def show_plan(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Prints arms, the totals that are foreseen, what is finished and an estimated duration; starts nothing."""
    tracker = find_tracker(options)
    finished = finished_keys(plan, tracker)
    missing = plan.missing(finished)
    allotted = _allotted(options)
    place = Place(threads=max(1, int(options.cpus)), gpu=allotted.gpu, data=options.data)
    rows: list[dict[str, Any]] = []
    for arm in plan.arms:
        trial = plan.first_trials[arm.label]
        outlook = trainer.outlook(trial.config)
        left = sum(trial.arm == arm for trial in missing)
        each = trainer.seconds(trial.config, place)
        rows.append({"arm": arm.label, **outlook.totals, "seconds_per_trial": each, "missing": left})
    side_by_side = allotted.slots
    seconds = {str(row["arm"]): float(row["seconds_per_trial"]) for row in rows}
    total = elapsed([seconds[trial.arm.label] for trial in missing], side_by_side)
    separation = _to_separate(plan, trainer, options, tracker, finished, seconds, side_by_side)
    budgets = {trial.budget for trial in plan.first_trials.values()}
    first = plan.trials[0].budget
    if options.as_json:
        print(
            json.dumps(
                {
                    "study": plan.study.name,
                    "preset": plan.preset,
                    "base_key": plan.base_key,
                    "seeds": plan.seeds,
                    "budget": {"unit": first.unit, "amount": first.amount} if len(budgets) == 1 else None,
                    "arms": [row | _own(plan.first_trials[str(row["arm"])]) for row in rows],
                    "side_by_side": side_by_side,
                    "estimated_on": allotted.where,
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
    foreseen = [total for total in trainer.declaration.totals if total.title and all(total.name in row for row in rows)]
    for column in ("arm", *(total.title for total in foreseen), "a trial", "missing"):
        table.add_column(column, justify="left" if column == "arm" else "right", overflow="fold")
    for row in rows:
        table.add_row(
            row["arm"],
            *(total.text(row[total.name]) for total in foreseen),
            duration(row["seconds_per_trial"]),
            f"{row['missing']} of {len(plan.seeds)}",
        )
    console.print(table)
    equal = f"Equal for all: {first.amount:,} {first.unit}. " if len(budgets) == 1 else ""
    for costs, arms in plan.sub_models:
        whose = f"Sub-models of {', '.join(arms)}" if len(plan.sub_models) > 1 else "Sub-models"
        sizes = ", ".join(f"{c.label} {c.macs / 1e6:.3f} M MACs, {c.parameters:,} parameters" for c in costs)
        console.print(f"{equal}{whose}: {sizes}.", markup=False)
        equal = ""
    seeds = ", ".join(map(str, plan.seeds))
    console.print(f"Seeds {seeds}. About {duration(total)} {allotted.where} for the rest.", markup=False)
    for line in (*separation.lines, *earlier_trials(plan, trainer, tracker)):
        console.print(line, markup=False)
    return 0


def _own(trial: Trial) -> dict[str, Any]:
    """What an arm has of its own."""
    return {
        "budget": {"unit": trial.budget.unit, "amount": trial.budget.amount},
        "data_checksum": trial.data_checksum,
        "sub_models": [asdict(cost) for cost in trial.sub_models],
    }


@dataclass(frozen=True)
class _Allotted:
    """What trials would be given: whether a GPU, how many run at once, and in words where this was found."""

    gpu: bool
    slots: int
    where: str


def _allotted(options: Options) -> _Allotted:
    """As a run would allot it: on this machine, or on the cluster at the address if that can be asked.

    The duration of a trial is measured on this machine whichever it is, on its GPU if it has one to give.
    """
    requested, here = Resources(options.cpus, options.gpus, options.max_concurrent), node_here()
    if options.address is None:
        given, slots = allot(requested, [here])
        return _Allotted(bool(given.gpus), slots, "on this machine")
    prepare_environment(options.address)
    from orchestrator.run.cluster import nodes_at

    shown = shown_address(options.address)
    try:
        found = nodes_at(options.address, plain_console().print)
    except UserError as error:
        given, slots = allot(replace(requested, gpus=None), [here])
        return _Allotted(bool(given.gpus), slots, f"on this machine, since the cluster cannot be asked ({error}),")
    given, slots = allot(requested, found)
    gpu = bool(given.gpus and here["GPU"])
    what = "GPU" if gpu else "processor"
    return _Allotted(gpu, slots, f"on the cluster {shown}, {slots} at a time at the speed of this machine's {what},")


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
    from orchestrator.report.reading import read_results
    from orchestrator.report.sequential import not_fixed, recorded_looks

    def extended(seeds: Sequence[int]) -> Plan:
        return make_plan(plan.study, trainer, plan.preset, options.overrides, seeds, options.layout, options.data)

    try:
        results = read_results(tracker, experiment, plan)
    except UserError as error:
        return _Separation(lines=(f"How many seeds would separate the arms is not known: {error}",), unknown=str(error))
    found = more_seeds(results, extended, finished, seconds, side_by_side)
    by_looking = not_fixed(recorded_looks(tracker, experiment, plan.base_key))
    return _Separation(tuple(found), tuple(filter(None, [*in_words(found, results), by_looking])))
