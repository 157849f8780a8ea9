"""The command line that every study file shares: run, plan, report, status."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.errors import UserError, unknown
from orchestrator.plan import Plan, make_plan
from orchestrator.progress import Progress, duration
from orchestrator.study import Study
from orchestrator.trainer import Place, Trainer

if TYPE_CHECKING:
    from orchestrator.report.tables import Table as Accuracies

COMMANDS = {
    "run": "train what is missing, then report (the default)",
    "plan": "show arms, budgets, what is finished and how long the rest may take; start nothing",
    "report": "write the tables and the page from the tracker alone",
    "status": "show where every trial stands, from the tracker alone",
}


@dataclass(frozen=True)
class Options:
    """The command line, parsed."""

    preset: str
    overrides: Mapping[str, Any]
    seeds: tuple[int, ...]
    only: tuple[tuple[str, str], ...]
    storage: Path
    tracking_uri: str
    artifacts: Path | None
    data: Path | None
    address: str | None
    max_concurrent: int | None
    cpus: float
    gpus: float | None
    as_json: bool


def main(study: Study, trainer: Trainer) -> NoReturn:
    """Runs a study file's command line and exits: 0 done, 1 a trial failed, 2 bad input, 130 interrupted."""
    sys.exit(run(study, trainer, sys.argv[1:]))


def run(study: Study, trainer: Trainer, arguments: list[str]) -> int:
    """As `main`, for given arguments; gives the exit status."""
    try:
        result = _command(study, trainer).main(arguments, prog_name=f"{study.name}.py", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        print(f"error: {' '.join(error.format_message().split())}", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted before any trial started", file=sys.stderr)
        return 130


def _command(study: Study, trainer: Trainer) -> click.Command:
    default = next(iter(study.presets))
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in study.presets.items())
    commands = "; ".join(f"{name}: {about}" for name, about in COMMANDS.items())

    @click.command(
        help=f"{study.title}.\n\nCOMMAND is one of: {commands}.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    @click.argument("command", default="run")
    @click.option("--preset", default=default, show_default=True, help=presets)
    @click.option("--dataset", help="Another data set for the preset: cifar10, digits.")
    @click.option("--data", type=click.Path(path_type=Path), help="Where the data lies or is put (default: a cache).")
    @click.option("--seeds", help="A number of seeds (3) or a list (0,1,2).")
    @click.option("--equalize", help="What every arm gets the same amount of: updates, passes or macs.")
    @click.option("--only", multiple=True, metavar="FACTOR=LEVEL,…", help="Keep these levels only; repeatable.")
    @click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any base setting; repeatable.")
    @click.option("--storage", default="./runs", show_default=True, type=click.Path(path_type=Path))
    @click.option("--tracking-uri", help="MLflow store (default: SQLite in the storage).")
    @click.option("--address", help="A Ray cluster, auto or HOST:PORT (default: start one here).")
    @click.option("--max-concurrent", type=click.IntRange(min=1), help="Trials at once, at most.")
    @click.option("--cpus-per-trial", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True)
    @click.option("--gpus-per-trial", type=click.FloatRange(min=0), help="Default: 1 where there is a GPU.")
    @click.option("--json", "as_json", is_flag=True, help="Machine-readable plan and status.")
    def command(**given: Any) -> int:
        name = given.pop("command")
        if name not in COMMANDS:
            raise unknown("command", name, COMMANDS)
        options = _options(study, given)
        plan = make_plan(study, trainer, options.preset, options.overrides, options.seeds, options.only)
        act = {"run": _run, "plan": _plan, "report": _report, "status": _status}[name]
        return act(plan, trainer, options)

    return command


def _options(study: Study, given: Mapping[str, Any]) -> Options:
    preset = given["preset"]
    if preset not in study.presets:
        raise unknown("preset", preset, study.presets)
    overrides: dict[str, Any] = {}
    for assignment in given["settings"]:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UserError(f"--set {assignment}: give KEY=VALUE")
        overrides[key] = _value(value)
    for option in ("dataset", "equalize"):
        if given[option] is not None:
            overrides[option] = given[option]
    storage = Path(given["storage"]).expanduser().resolve()
    uri = given["tracking_uri"] or f"sqlite:///{storage / 'mlflow.db'}"
    remote = uri.startswith(("http://", "https://"))
    return Options(
        preset=preset,
        overrides=overrides,
        seeds=_seeds(given["seeds"], study.presets[preset].seeds),
        only=tuple(_levels(given["only"])),
        storage=storage,
        tracking_uri=uri,
        artifacts=None if remote else storage / "artifacts",
        data=None if given["data"] is None else given["data"].expanduser().resolve(),
        address=given["address"],
        max_concurrent=given["max_concurrent"],
        cpus=given["cpus_per_trial"],
        gpus=given["gpus_per_trial"],
        as_json=given["as_json"],
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _levels(given: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for text in given:
        for pair in text.split(","):
            factor, equals, level = pair.partition("=")
            if not equals:
                raise UserError(f"--only {text}: give FACTOR=LEVEL, or several with commas")
            yield factor.strip(), level.strip()


def _seeds(text: str | None, usual: int) -> tuple[int, ...]:
    if text is None:
        return tuple(range(usual))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() for part in parts):
        raise UserError(f"--seeds {text}: give a number of seeds (3) or a list of whole numbers (0,1,2)")
    if "," not in text:
        count = int(text)
        if not 1 <= count <= 10_000:
            raise UserError(f"--seeds {text}: give from 1 to 10000 seeds")
        return tuple(range(count))
    seeds = tuple(int(part) for part in parts)
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise UserError(f"--seeds {text}: seed {seed} is given twice")
        if seed >= 1 << 63:
            raise UserError(f"--seeds {text}: seed {seed} is too large, the limit is 2^63 − 1")
    return seeds


def _console() -> Console:
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def _open_tracker(options: Options, create: bool) -> Any:
    from orchestrator.tracker import Tracker  # MLflow takes a second to import; bad input is answered before

    database = options.tracking_uri.removeprefix("sqlite:///")
    if not create and database != options.tracking_uri and not Path(database).exists():
        return None  # looking creates nothing
    return Tracker(options.tracking_uri, options.artifacts)


def _writable(storage: Path) -> None:
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage):
            pass
    except OSError as error:
        raise UserError(f"--storage {storage} cannot be written: {error.strerror or error}") from error


def _plan(plan: Plan, trainer: Trainer, options: Options) -> int:
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
    console = _console()
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


def _finished(plan: Plan, options: Options) -> set[str]:
    tracker = _open_tracker(options, create=False)
    experiment = None if tracker is None else tracker.experiment(plan.study.name, create=False)
    if tracker is None or experiment is None:
        return set()
    return {t.key for t in tracker.trials(experiment, plan.base_key) if t.status == "FINISHED"}


def _status(plan: Plan, trainer: Trainer, options: Options) -> int:
    tracker = _open_tracker(options, create=False)
    experiment = None if tracker is None else tracker.experiment(plan.study.name, create=False)
    tracked = (
        {}
        if tracker is None or experiment is None
        else {trial.key: trial for trial in tracker.trials(experiment, plan.base_key)}
    )
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
    _console().print(table)
    return 0


def _report(plan: Plan, trainer: Trainer, options: Options) -> int:
    tracker = _open_tracker(options, create=False)
    experiment = None if tracker is None else tracker.experiment(plan.study.name, create=False)
    if tracker is None or experiment is None:
        raise UserError(f"nothing of {plan.study.name} is in {options.tracking_uri}: run the study first")
    _writable(options.storage)
    _write_report(plan, options, tracker, experiment)
    return 0


def _report_folder(plan: Plan, options: Options) -> Path:
    return options.storage / "reports" / plan.study.name / plan.preset


def _write_report(plan: Plan, options: Options, tracker: Any, experiment: str) -> None:
    from orchestrator.report.results import read_results
    from orchestrator.report.tables import as_markdown
    from orchestrator.report.writer import write_report

    factors = tuple(factor.name for factor in plan.study.factors)
    arms = tuple(arm.label for arm in plan.arms)
    results = read_results(tracker, experiment, plan.base_key, factors, arms)
    first, *others = [trial.config for trial in plan.trials]
    common = [key for key in first if all(config[key] == first[key] for config in others)]
    resolved = {key: str(first[key]) for key in common}
    folder = _report_folder(plan, options)
    table = write_report(plan.study, plan.preset, plan.base, results, resolved, folder)
    console = _console()
    console.print(_for_terminal(table) if console.is_terminal else as_markdown(table), markup=False)
    for failure in results.failures:
        console.print(f"failed: {failure.trial}: {failure.error}", markup=False)
    for line in (f"Report: {folder / 'index.html'}", f"MLflow: {_ui_command(options)}"):
        console.print(line, markup=False, soft_wrap=True)  # to be copied whole


def _for_terminal(found: "Accuracies") -> Table:
    """A row per arm, so that it fits 80 columns; the published value beneath ours."""
    shown = Table(title="Test accuracy (%)", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("arm", no_wrap=True)
    for row in found.rows:
        shown.add_column(row, justify="right", no_wrap=True)
    shown.add_column("n", justify="right")
    for arm in found.arms:
        cells = [found.cells[row, arm] for row in found.rows]
        texts = [Text(cell.text, style="bold" if cell.best else "") for cell in cells]
        shown.add_row(arm, *texts, str(found.seeds[arm]))
        if found.compares:
            printed = ["–" if c.published is None else f"{c.published:.2f}{'†' * c.derived}" for c in cells]
            shown.add_row("  published", *printed, style="dim")
    shown.caption = found.caption
    shown.caption_justify = "left"
    return shown


def _ui_command(options: Options) -> str:
    if options.artifacts is None:
        return f"open {options.tracking_uri}"
    return f"{Path(sys.executable).parent / 'mlflow'} ui --backend-store-uri {options.tracking_uri}"


def _run(plan: Plan, trainer: Trainer, options: Options) -> int:
    from orchestrator.execution import Resources, allot, cluster, execute
    from orchestrator.provenance import provenance
    from orchestrator.recorder import Recorder

    _writable(options.storage)
    tracker = _open_tracker(options, create=True)
    console = _console()
    missing = plan.missing(_finished(plan, options))
    failed = []
    origin = provenance(Path(sys.argv[0]).resolve().parent)
    with _terminable():
        if missing:
            with cluster(options.address):
                resources, slots = allot(Resources(options.cpus, options.gpus, options.max_concurrent))
                trainer.prepare(missing[0].config, Place(threads=1, gpu=False, data=options.data))
                recorder = Recorder(tracker, plan, origin)
                console.print(
                    f"{plan.study.title}, preset {plan.preset}: {len(missing)} of {len(plan.trials)} trials to run, "
                    f"{slots} at a time, {options.storage}"
                )
                with Progress(plan, console, slots) as progress:
                    progress.already([trial for trial in plan.trials if trial not in missing])
                    try:
                        failed = execute(
                            plan, missing, trainer, recorder, progress, resources, options.storage, options.data
                        )
                    except KeyboardInterrupt:
                        left = len(plan.missing(recorder.finished))
                        console.print(
                            f"\nInterrupted: {len(plan.trials) - left} of {len(plan.trials)} trials are finished, the "
                            "others go on from their checkpoints when you run the same command again."
                        )
                        return 130
        else:
            recorder = Recorder(tracker, plan, origin)
            console.print(f"All {len(plan.trials)} trials are finished already.")
    if recorder.finished:
        _write_report(plan, options, tracker, recorder.experiment)
        recorder.attach_report(_report_folder(plan, options))
    for trial in failed:
        console.print(f"failed: {trial.label} (see the report)", markup=False)
    return 1 if failed else 0


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM as Ctrl-C: a scheduler that ends the job leaves runs as resumable as a person does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
