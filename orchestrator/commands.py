"""What the commands do. MLflow and Ray are imported only by those that need them."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.errors import UserError
from orchestrator.plan import Plan
from orchestrator.progress import Progress, duration
from orchestrator.redaction import without_passwords
from orchestrator.study import Layout
from orchestrator.trainer import Place, Trainer

if TYPE_CHECKING:
    from orchestrator.lease import Lease
    from orchestrator.outbox import Patience
    from orchestrator.recorder import Recorder
    from orchestrator.report.tables import Table as Accuracies
    from orchestrator.tracker import TrackedTrial


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
    patience: float
    stall: float
    as_json: bool


IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for the driver of a submitted job
_MOST_COLUMNS = 6  # sub-models and their average, on a terminal


def plain_console() -> Console:
    """Where commands print: nothing is highlighted, and lines wrap only on a terminal."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def open_tracker(options: Options, create: bool) -> Any:
    """The tracking store; None if there is none yet and none is to be created."""
    database = options.tracking_uri.removeprefix("sqlite:///")
    if not create and database != options.tracking_uri and not Path(database).exists():
        return None  # looking creates nothing
    from orchestrator.tracker import Tracker  # MLflow takes two seconds to import; bad input is answered before

    return Tracker(options.tracking_uri, options.artifacts)


def writable(storage: Path) -> None:
    """Makes sure of the storage.

    Raises:
        UserError: it cannot be written.
    """
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage):
            pass
    except OSError as error:
        raise UserError(f"--storage {storage} cannot be written: {error.strerror or error}") from error


def show_plan(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Prints arms, budgets in all three units, what is finished and an estimated duration; starts nothing."""
    finished = _finished(plan, options)
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
    total = sum(row["seconds_per_trial"] * row["missing"] for row in rows) / min(slots, options.max_concurrent or slots)
    first = plan.trials[0].config
    if options.as_json:
        print(
            json.dumps(
                {
                    "study": plan.study.name,
                    "preset": plan.preset,
                    "base_key": plan.base_key,
                    "seeds": plan.seeds,
                    "budget": {"unit": first.get("budget_unit"), "amount": first.get("budget")},
                    "sub_models": [asdict(cost) for cost in plan.costs],
                    "arms": rows,
                    "trials": [{"key": t.key, "arm": t.arm.label, "seed": t.seed} for t in plan.trials],
                    "finished": len(plan.trials) - len(missing),
                    "seconds_left": total,
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
    console.print(f"Equal for all: {first.get('budget'):,} {first.get('budget_unit')}. Sub-models: {sizes}.")
    seeds = ", ".join(map(str, plan.seeds))
    console.print(f"Seeds {seeds}. About {duration(total)} on this machine for the rest.")
    return 0


def tracked_trials(plan: Plan, options: Options) -> "dict[str, TrackedTrial]":
    """The recorded trials of a plan's base config, by key, with what they recorded."""
    tracker, experiment = _tracked(plan, options)
    return {} if experiment is None else {trial.key: trial for trial in tracker.trials(experiment, plan.base_key)}


def _finished(plan: Plan, options: Options) -> set[str]:
    tracker, experiment = _tracked(plan, options)
    standings = {} if experiment is None else tracker.standings(experiment, plan.base_key)
    return {key for key, standing in standings.items() if standing.status == "FINISHED"}


def _tracked(plan: Plan, options: Options) -> tuple[Any, str | None]:
    """The tracking store and the study's experiment in it; None where they are not there yet."""
    tracker = open_tracker(options, create=False)
    return tracker, None if tracker is None else tracker.experiment(plan.study.name, create=False)


def show_status(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Prints where every trial stands, from the tracker alone."""
    tracked = tracked_trials(plan, options)
    names = {"FINISHED": "done", "RUNNING": "running", "FAILED": "failed", "KILLED": "interrupted"}
    rows: list[dict[str, Any]] = []
    for trial in plan.trials:
        run_ = tracked.get(trial.key)
        state = "missing" if run_ is None else names.get(run_.status, run_.status.lower())
        average = None if run_ is None else run_.metrics.get("test_acc_average")
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
    return 0


def write_report(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Writes and prints the report from the tracker alone."""
    tracker, experiment = _tracked(plan, options)
    if experiment is None:
        raise UserError(
            f"nothing of {plan.study.name} is in {without_passwords(options.tracking_uri)}: run the study first"
        )
    writable(options.storage)
    _write_report(plan, options, tracker, experiment)
    return 0


def _report_folder(plan: Plan, options: Options) -> Path:
    return options.storage / "reports" / plan.study.name / plan.preset


def _write_report(plan: Plan, options: Options, tracker: Any, experiment: str) -> None:
    from orchestrator.report.rendering import as_markdown
    from orchestrator.report.results import read_results
    from orchestrator.report.writer import write_report as write_files

    results = read_results(tracker, experiment, plan)
    folder = _report_folder(plan, options)
    tables = write_files(plan, results, folder)
    console = plain_console()
    for table in tables:
        console.print(_for_terminal(table) if console.is_terminal else as_markdown(table), markup=False)
    for failure in results.failures:
        console.print(f"failed: {failure.trial}: {failure.error}", markup=False)
    for trial in results.unpaired:
        console.print(f"left out, since another arm lacks the seed: {trial}", markup=False)
    for line in (f"Report: {folder / 'index.html'}", f"MLflow: {_ui_command(options)}"):
        console.print(line, markup=False, soft_wrap=True)  # to be copied whole


def _for_terminal(found: "Accuracies") -> Table:
    """A row per arm, so that it fits 80 columns; beneath it SD, published value and difference to the baseline."""
    title = f"Test accuracy (%) {found.title}".rstrip()
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    rows = found.rows if len(found.rows) <= _MOST_COLUMNS else (found.rows[0], *found.rows[-2:])
    shown.add_column("arm", no_wrap=True)
    for row in rows:
        shown.add_column(row, justify="right", no_wrap=True)
    for arm in found.arms:
        cells = [found.cells[row, arm] for row in rows]
        shown.add_row(arm, *(Text(f"{cell.mean:.2f}", style="bold" if cell.best else "") for cell in cells))
        if found.seeds > 1:
            shown.add_row("  ± SD", *("" if c.sd is None else f"{c.sd:.2f}" for c in cells), style="dim")
        if found.compares:
            printed = ["–" if c.published is None else f"{c.published:.2f}{'†' * c.derived}" for c in cells]
            shown.add_row("  published", *printed, style="dim")
        if arm in found.against:
            differences = (found.comparisons[row, arm].difference for row in rows)
            shown.add_row(f"  − {found.against[arm]}", *differences, style="dim")
    shown.caption = found.caption
    shown.caption_justify = "left"
    return shown


def _ui_command(options: Options) -> str:
    if options.artifacts is None:
        return f"open {without_passwords(options.tracking_uri)}"
    return f"{Path(sys.executable).parent / 'mlflow'} ui --backend-store-uri {without_passwords(options.tracking_uri)}"


def run_study(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Trains what is missing, then reports; gives the exit status."""
    from orchestrator.lease import Lease

    if options.address is None:  # Ray reads it when it is imported, and then listens on loopback alone
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    writable(options.storage)
    held = Lease(options.storage / "leases" / f"{plan.study.name}.{plan.base_key[:16]}.json")
    with _terminable(), held.held() as lease:
        return _run_study(plan, trainer, options, lease)


def _run_study(plan: Plan, trainer: Trainer, options: Options, lease: "Lease") -> int:
    from orchestrator.execution import Execution, Resources, allot, cluster
    from orchestrator.outbox import Patience
    from orchestrator.packing import choose
    from orchestrator.provenance import diff, provenance

    console = plain_console()
    patience = Patience(options.patience, console.print)
    missing = plan.missing(patience.keep_trying(lambda: _finished(plan, options)))
    failed = []
    script = Path(sys.argv[0]).resolve()
    origin = provenance(script.parent)
    place = Place(threads=1, gpu=False, data=options.data)
    with ThreadPoolExecutor(2) as aside:  # a new database and the data take as long as Ray to start
        opening = aside.submit(patience.keep_trying, lambda: _recorder(plan, options, origin, diff(script.parent)))
        if missing:
            preparing = aside.submit(trainer.prepare, missing[0].config, place)
            with _tree(script, options) as tree, cluster(options.address, tree):
                _heed_sigterm()  # Ray has put its own in the place of ours
                wanted = Resources(options.cpus, options.gpus, options.max_concurrent)
                resources, slots = allot(wanted)
                preparing.result()
                if options.pack:
                    console.print("Measuring how many trials at once do most work, half a minute for each number:")
                    best = choose(trainer, missing[0].config, place, options.cpus, console.print)
                    resources, slots = allot(replace(wanted, cpus=best.cpus, gpus=best.gpus))
                recorder = opening.result()
                console.print(
                    f"{plan.study.title}, preset {plan.preset}: {len(missing)} of {len(plan.trials)} trials to run, "
                    f"{slots} at a time, {options.storage}"
                )
                with Progress(plan, console, slots) as progress:
                    left_over = {trial.key for trial in missing}
                    progress.already([trial for trial in plan.trials if trial.key not in left_over])
                    execution = Execution(
                        plan,
                        trainer,
                        recorder,
                        progress,
                        options.storage,
                        options.data,
                        threads=max(1, int(resources.cpus)),
                        patience=options.patience,
                        stall=options.stall,
                        lease=lease,
                    )
                    try:
                        failed = execution.run(missing, resources)
                    except KeyboardInterrupt:
                        for kind in (signal.SIGINT, signal.SIGTERM):
                            signal.signal(kind, signal.SIG_IGN)  # all is recorded; only Ray is left to end
                        left = len(plan.missing(recorder.finished))
                        console.print(
                            f"\nInterrupted: {len(plan.trials) - left} of {len(plan.trials)} trials are finished, the "
                            "others go on from their checkpoints when you run the same command again."
                        )
                        return 130
        else:
            recorder = opening.result()
            console.print(f"All {len(plan.trials)} trials are finished already.")
    if recorder.finished:
        if missing:
            _measure_latency(plan, trainer, options, recorder, patience)
        try:
            patience.keep_trying(lambda: _write_report(plan, options, recorder.tracker, recorder.experiment))
            patience.keep_trying(lambda: recorder.attach_report(_report_folder(plan, options)))
        except UserError as error:
            if not failed:
                raise
            console.print(f"No report: {error}", markup=False)
    for trial in failed:
        console.print(f"failed: {trial.label} (its traceback is in MLflow)", markup=False)
    return 1 if failed else 0


@contextmanager
def _tree(script: Path, options: Options) -> Iterator[Path | None]:
    """What the nodes of a cluster import from; None where they have it: here, and inside a job, which brought it."""
    from orchestrator.package import package

    if options.address is None or IN_A_JOB in os.environ:
        yield None
        return
    tree = package(script, options.storage)
    plain_console().print(f"Sending the working tree to the cluster's nodes: {tree.text}", markup=False)
    with tree.copied({}, "") as folder:
        yield folder


def _recorder(plan: Plan, options: Options, origin: Mapping[str, str], patch: str) -> "Recorder":
    from orchestrator.recorder import Recorder

    return Recorder(open_tracker(options, create=True), plan, origin, patch)


def _measure_latency(
    plan: Plan, trainer: Trainer, options: Options, recorder: "Recorder", patience: "Patience"
) -> None:
    """On the driver's machine, now that no trial runs beside it."""
    place = Place(threads=max(1, int(options.cpus)), gpu=False, data=options.data)
    found = trainer.latencies(plan.trials[0].config, place)
    patience.keep_trying(lambda: recorder.note_latency(trainer.device_name(place), found))


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM as Ctrl-C: a scheduler that ends the job leaves runs as resumable as a person does."""
    before = _heed_sigterm()
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, before if callable(before) else signal.SIG_DFL)


def _heed_sigterm() -> Any:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return signal.signal(signal.SIGTERM, interrupt)
