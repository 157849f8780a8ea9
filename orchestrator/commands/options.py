"""What the commands do. MLflow and Ray are imported only by those that need them."""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.errors import UserError
from orchestrator.run.progress import duration
from orchestrator.run.resources import Resources, gpus_here
from orchestrator.secrecy.confidential import Included
from orchestrator.secrecy.redaction import shown_address
from orchestrator.study.plan import Plan, Trial, make_plan
from orchestrator.study.study import Layout
from orchestrator.trainer import Metric, Place, Trainer

if TYPE_CHECKING:
    from orchestrator.report.more_seeds import MoreSeeds
    from orchestrator.report.tables import Table as Accuracies
    from orchestrator.track.tracker import TrackedTrial


@dataclass(frozen=True)
class Options:
    """The command line, parsed."""

    preset: str
    overrides: Mapping[str, Any]
    seeds: tuple[int, ...]
    layout: Layout
    storage: Path
    tracking_uri: str
    artifacts: Path | None
    data: Path | None
    address: str | None
    max_concurrent: int | None
    cpus: float
    gpus: float | None
    pack: bool
    included: Included
    patience: float
    stall: float | None
    debug: bool
    as_json: bool
    command: tuple[str, ...]


_MOST_COLUMNS = 6  # sub-models and their average, on a terminal


def plain_console() -> Console:
    """Where commands print: nothing is highlighted, and lines wrap only on a terminal."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def open_tracker(options: Options, create: bool) -> Any:
    """The tracking store; None if there is none yet and none is to be created."""
    database = options.tracking_uri.removeprefix("sqlite:///")
    if not create and database != options.tracking_uri and not Path(database).exists():
        return None  # looking creates nothing
    from orchestrator.track.tracker import Tracker  # MLflow takes two seconds to import; bad input is answered before

    return Tracker(options.tracking_uri, options.artifacts)


def writable(folder: Path, option: str) -> None:
    """Makes sure of the folder that an option names.

    Raises:
        UserError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{option} {folder} cannot be written: {error.strerror or error}") from error


def show_plan(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Prints arms, budgets in all three units, what is finished and an estimated duration; starts nothing."""
    tracker = open_tracker(options, create=False)
    finished = finished_keys(plan, tracker)
    missing = plan.missing(finished)
    allotted = _allotted(options)
    place = Place(threads=max(1, int(options.cpus)), gpu=allotted.gpu, data=options.data)
    rows = []
    for arm in plan.arms:
        trial = plan.first_trials[arm.label]
        outlook = trainer.outlook(trial.config)
        left = sum(trial.arm == arm for trial in missing)
        each = trainer.seconds(trial.config, place)
        rows.append({"arm": arm.label, **asdict(outlook), "seconds_per_trial": each, "missing": left})
    side_by_side = allotted.slots
    total = sum(row["seconds_per_trial"] * row["missing"] for row in rows) / side_by_side
    seconds = {str(row["arm"]): float(row["seconds_per_trial"]) for row in rows}
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
    equal = f"Equal for all: {first.amount:,} {first.unit}. " if len(budgets) == 1 else ""
    for costs, arms in plan.sub_models:
        whose = f"Sub-models of {', '.join(arms)}" if len(plan.sub_models) > 1 else "Sub-models"
        sizes = ", ".join(f"{c.label} {c.macs / 1e6:.3f} M MACs, {c.parameters:,} parameters" for c in costs)
        console.print(f"{equal}{whose}: {sizes}.", markup=False)
        equal = ""
    seeds = ", ".join(map(str, plan.seeds))
    console.print(f"Seeds {seeds}. About {duration(total)} {allotted.where} for the rest.", markup=False)
    for line in separation.lines:
        console.print(line, markup=False)
    return 0


def _own(trial: Trial) -> dict[str, Any]:
    """What an arm has of its own."""
    budget = {"unit": trial.budget.unit, "amount": trial.budget.amount}
    return {
        "budget": budget,
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
    """As a run would allot it: on this machine, or on the cluster at the address if it can be asked.

    The duration of a trial is measured on this machine whichever it is.
    """
    here = gpus_here()
    if options.gpus is not None and options.gpus > 0 and not here and options.address is None:
        raise UserError(f"a trial asks for {options.gpus:g} GPUs; this machine has 0")
    if options.address is not None:
        from orchestrator.run.cluster import allot, cluster

        shown = shown_address(options.address)
        try:
            with cluster(options.address, plain_console().print):
                given, slots = allot(Resources(options.cpus, options.gpus, options.max_concurrent))
        except UserError as error:
            where = f"with trials of this machine's speed and slots ({error})"
        else:
            gpu = bool(given.gpus) and bool(here)
            speed = "this machine's GPU" if gpu else "this machine's processor"
            return _Allotted(
                gpu, slots, f"on the cluster {shown}, {slots} at a time, with trials at the speed of {speed}"
            )
    else:
        where = "on this machine"
    gpus = float(min(1, here)) if options.gpus is None else options.gpus
    slots = max(1, int((os.cpu_count() or 1) // options.cpus))
    if gpus and here:
        slots = min(slots, max(1, int(here / gpus + 1e-9)))
    return _Allotted(bool(gpus and here), min(slots, options.max_concurrent or slots), where)


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
    tracker: Any,
    finished: set[str],
    seconds: Mapping[str, float],
    side_by_side: int,
) -> _Separation:
    """From the finished trials, as the report reads them; what keeps it from reading them does not keep the plan."""
    experiment = _experiment(plan, tracker)
    if experiment is None or not finished:
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


def tracked_trials(plan: Plan, tracker: Any) -> "dict[str, TrackedTrial]":
    """The recorded trials of a plan's base config, by key, with what they recorded."""
    experiment = _experiment(plan, tracker)
    return {} if experiment is None else {trial.key: trial for trial in tracker.trials(experiment, plan.base_key)}


def finished_keys(plan: Plan, tracker: Any) -> set[str]:
    """The keys of the plan's trials that have finished, from the tracker."""
    experiment = _experiment(plan, tracker)
    standings = {} if experiment is None else tracker.standings(experiment, plan.base_key)
    return {key for key, standing in standings.items() if standing.status == "FINISHED"}


def _experiment(plan: Plan, tracker: Any) -> str | None:
    """The study's experiment; None where it or the store is not there yet."""
    return None if tracker is None else tracker.experiment(plan.study.name, create=False)


def show_status(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Prints where every trial stands, from the tracker alone."""
    tracked = tracked_trials(plan, open_tracker(options, create=False))
    names = {"FINISHED": "done", "RUNNING": "running", "FAILED": "failed", "KILLED": "interrupted"}
    rows: list[dict[str, Any]] = []
    metric = plan.declaration.primary
    for trial in plan.trials:
        run_ = tracked.get(trial.key)
        state = "missing" if run_ is None else names.get(run_.status, run_.status.lower())
        average = None if run_ is None else _average(run_, trial, metric)
        rows.append({"arm": trial.arm.label, "seed": trial.seed, "key": trial.key, "state": state, "average": average})
    if options.as_json:
        print(json.dumps({"study": plan.study.name, "preset": plan.preset, "trials": rows}))
        return 0
    table = Table(title=f"{plan.study.title} (preset {plan.preset})", title_justify="left")
    for column in ("arm", "seed", "state", f"avg. {metric.word}", "key"):
        table.add_column(column)
    for row in rows:
        accuracy = "–" if row["average"] is None else metric.text(row["average"])
        table.add_row(row["arm"], str(row["seed"]), row["state"], accuracy, row["key"][:12])
    plain_console().print(table)
    return 0


def _average(tracked: "TrackedTrial", trial: Trial, metric: Metric) -> float | None:
    """Over the trial's sub-models, as measured last; None if it was not yet."""
    values = [tracked.metrics.get(f"{metric.name}/{cost.label}") for cost in trial.sub_models]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def write_report(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Writes and prints the report from the tracker alone."""
    tracker = open_tracker(options, create=False)
    experiment = _experiment(plan, tracker)
    if experiment is None:
        raise UserError(
            f"nothing of {plan.study.name} is in {shown_address(options.tracking_uri)}: run the study first"
        )
    writable(options.storage, "--storage")
    print_report(plan, options, tracker, experiment)
    return 0


def report_folder(plan: Plan, options: Options) -> Path:
    """Where the plan's report lies."""
    return options.storage / "reports" / plan.study.name / plan.preset


def print_report(plan: Plan, options: Options, tracker: Any, experiment: str) -> None:
    """Writes the report and prints its tables."""
    from orchestrator.report.rendering import as_markdown
    from orchestrator.report.results import read_results
    from orchestrator.report.writer import write_report as write_files

    results = read_results(tracker, experiment, plan)
    folder = report_folder(plan, options)
    tables = write_files(plan, results, folder)
    console = plain_console()
    for table in tables:
        console.print(_for_terminal(table) if console.is_terminal else as_markdown(table), markup=False)
    for failure in results.failures:
        console.print(f"failed: {failure.trial}: {failure.error}", markup=False)
    for trial in results.unpaired:
        console.print(f"left out, since another arm lacks the seed: {trial}", markup=False)
    for line in (f"Report: {folder / 'index.html'}", f"MLflow: {_interface(options, experiment)}"):
        console.print(line, markup=False, soft_wrap=True)  # to be copied whole


def _for_terminal(found: "Accuracies") -> Table:
    """A row per arm, so that it fits 80 columns; beneath it SD, published value and difference to the baseline."""
    title = f"{found.metric.heading} {found.title}".rstrip()
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    rows = found.rows if len(found.rows) <= _MOST_COLUMNS else (found.rows[0], *found.rows[-2:])
    shown.add_column("arm", no_wrap=True)
    for row in rows:
        shown.add_column(row, justify="right", no_wrap=True)
    for arm in found.arms:
        cells = [found.cells.get((row, arm)) for row in rows]
        shown.add_row(
            arm, *(Text(found.metric.text(c.mean), style="bold" if c.best else "") if c else "–" for c in cells)
        )
        if found.seeds > 1:
            shown.add_row(
                "  ± SD", *("" if c is None or c.sd is None else found.metric.text(c.sd) for c in cells), style="dim"
            )
        if found.compares:
            printed = ["–" if not c or c.published is None else f"{c.published:.2f}{'†' * c.derived}" for c in cells]
            shown.add_row("  published", *printed, style="dim")
        if arm in found.against:
            compared = [found.comparisons.get((row, arm)) for row in rows]
            differences = ("–" if each is None else each.difference for each in compared)
            shown.add_row(f"  − {found.against[arm]}", *differences, style="dim")
            needed = ["" if each is None else each.needed.removesuffix(" seeds") for each in compared]
            if any(needed):
                shown.add_row("  seeds", *needed, style="dim")
    shown.caption = f"{found.caption} {found.seeds_caption}".rstrip()
    shown.caption_justify = "left"
    return shown


def _interface(options: Options, experiment: str) -> str:
    """Where MLflow shows the study's runs, and by what command first; its pages for generative AI come up otherwise."""
    page, uri = f"#/experiments/{experiment}?workflowType=machine_learning", shown_address(options.tracking_uri)
    if options.artifacts is None:
        return f"{uri.rstrip('/')}/{page}"
    mlflow = Path(sys.executable).parent / "mlflow"
    return f"{mlflow} ui --backend-store-uri {uri}\n  then http://127.0.0.1:5000/{page}"
