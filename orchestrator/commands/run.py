"""The command that runs a study: prepare, connect, train, report.

What takes long goes on aside from the start: a new database, the data and importing Tune take as long as Ray to start.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from rich.console import Console

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options, writable
from orchestrator.commands.report import print_headline, print_report
from orchestrator.commands.report_folder import report_folder, report_name
from orchestrator.commands.tracking import experiment_id, find_tracker, finished_keys, open_tracker
from orchestrator.errors import UserError
from orchestrator.run.environment import is_submitted, prepare_environment
from orchestrator.run.idleness import calmest
from orchestrator.run.limits import require_address_space
from orchestrator.run.machine import cpus_here
from orchestrator.run.patience import Patience
from orchestrator.run.progress import Progress
from orchestrator.run.resources import Resources
from orchestrator.run.scratch import find_place_for_scratch
from orchestrator.run.signals import ended_as_by_ctrl_c, heed_signals, ignore_signals
from orchestrator.run.sockets import find_place_for_sockets
from orchestrator.run.waiting import waiting
from orchestrator.secrecy.redaction import shown_address, without_passwords
from orchestrator.study.plan import Plan, Trial
from orchestrator.trainer import Place, Trainer

if TYPE_CHECKING:
    from orchestrator.report.sequential import Looks
    from orchestrator.report.writer import Report
    from orchestrator.run.execution import Execution, Executor
    from orchestrator.run.lease import Lease
    from orchestrator.track.recorder import Recorder
    from orchestrator.track.tracker import Tracker

_INTERRUPTED = 130


@dataclass(frozen=True)
class _Run:
    """One run of a study, as its steps share it.

    Attributes:
        script: the study's file.
        place: where the driver makes the data ready and measures.
        patience: with the tracking store.
        looks: when arms are compared under `--until-separated`; else None.
    """

    plan: Plan
    trainer: Trainer
    options: Options
    lease: "Lease"
    console: Console
    patience: Patience
    script: Path
    place: Place
    looks: "Looks | None"


@dataclass(frozen=True)
class _Trained:
    """What was trained: which part of the plan, and which trials of it failed for good."""

    plan: Plan
    failed: list[Trial]


@dataclass(frozen=True)
class _Preparation:
    """What is to do, and what is being made ready for it in threads.

    Attributes:
        missing: the trials to train.
        mlflow: imported. By one thread alone: of modules that import one another, two threads each find half of them.
        recorder: opened.
        data: ready where the driver is; nothing to wait for if no trial is missing.
    """

    missing: list[Trial]
    threads: ThreadPoolExecutor
    mlflow: "Future[ModuleType]"
    recorder: "Future[Recorder]"
    data: "Future[None] | None"


def run_study(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Trains what is missing, then reports; gives the exit status."""
    prepare_environment(options.address)
    starts_ray = options.address is None and not options.debug
    require_address_space(starts_ray)
    if starts_ray:
        find_place_for_sockets()
    from orchestrator.run.lease import Lease, lease_path

    writable(options.storage, "--storage")
    find_place_for_scratch(options.storage / "scratch")
    lease = Lease(lease_path(options.storage, plan.study.name, plan.base_key))
    console, script = plain_console(), Path(sys.argv[0]).resolve()
    place = Place(threads=1, gpu=False, data=options.data)
    patience = Patience(options.patience, console.print)
    run = _Run(plan, trainer, options, lease, console, patience, script, place, _looks(plan, options))
    with ended_as_by_ctrl_c(), lease.acquired():
        with _prepare(run) as preparation:
            trained = _train_missing(run, preparation)
            recorder = preparation.recorder.result()
        if trained is None:
            return _INTERRUPTED
        if not preparation.missing:
            console.print(f"All {len(trained.plan.trials)} trials are finished already.")
        return _report(run, preparation, recorder, trained)


def _looks(plan: Plan, options: Options) -> "Looks | None":
    if not options.until_separated:
        return None
    from orchestrator.report.sequential import Looks

    return Looks.over(plan.seeds)


@contextmanager
def _prepare(run: _Run) -> Iterator[_Preparation]:
    """Finds what is missing, claims it, and begins in threads what takes as long as Ray to start."""
    from orchestrator.track.provenance import diff, provenance

    tracker = run.patience.keep_trying(lambda: find_tracker(run.options))
    finished = run.patience.keep_trying(lambda: finished_keys(run.plan, tracker))
    missing = run.patience.keep_trying(lambda: _wanted(run, tracker, finished)).missing(finished)
    if tracker is not None and (experiment := experiment_id(run.plan, tracker)) is not None:
        from orchestrator.run.tidying import tidy
        from orchestrator.track.namesakes import refuse_namesake

        run.patience.keep_trying(lambda: refuse_namesake(tracker, experiment, run.plan, run.script))
        tidy(run.options.storage, run.plan, sorted(finished), tracker, experiment)
    if missing:
        run.lease.cover([trial.key for trial in missing])
    origin = provenance(run.script.parent, run.trainer.versions(), run.options.command)

    def open_recorder() -> "Recorder":
        mlflow.result()
        from orchestrator.track.namesakes import sign
        from orchestrator.track.recorder import Recorder

        patch = diff(run.script.parent)
        recorder = run.patience.keep_trying(
            lambda: Recorder(tracker or open_tracker(run.options), run.plan, origin, patch)
        )
        run.patience.keep_trying(lambda: sign(recorder.tracker, recorder.parent_id, run.plan, run.script))
        return recorder

    with ThreadPoolExecutor(4) as threads:
        mlflow = threads.submit(import_module, "orchestrator.track.recorder")
        recorder = threads.submit(open_recorder)
        data = threads.submit(_prepare_data, run.trainer, missing, run.place) if missing else None
        yield _Preparation(missing, threads, mlflow, recorder, data)


def _wanted(run: _Run, tracker: "Tracker | None", finished: set[str]) -> Plan:
    """What is to be trained of the plan: all, or at most what one who looks whether arms are separated may need."""
    experiment = experiment_id(run.plan, tracker)
    if run.looks is None or tracker is None or experiment is None:
        return run.plan
    from orchestrator.commands.adaptive import check_looks, next_look
    from orchestrator.report.reading import read_results

    check_looks(tracker, experiment, run.plan, run.looks)
    part, _ = next_look(run.plan, run.looks, finished, lambda part: read_results(tracker, experiment, part))
    return run.plan if part.missing(finished) else part


def _prepare_data(trainer: Trainer, trials: Sequence[Trial], place: Place) -> None:
    """Makes every data set ready that the trials are trained on, each once."""
    for trial in {trial.data_checksum: trial for trial in trials}.values():
        trainer.prepare(trial.config, place)


def _train_missing(run: _Run, preparation: _Preparation) -> _Trained | None:
    """What was trained; None if it was interrupted."""
    if not preparation.missing:
        return _Trained(run.plan, [])
    with _connect(run, preparation) as executor:
        return _train(run, preparation, executor)


@contextmanager
def _connect(run: _Run, preparation: _Preparation) -> "Iterator[Executor]":
    """What runs the trials: this process under `--debug`, otherwise Ray, here or on the cluster at the address."""
    if run.options.debug:
        preparation.mlflow.result()
        from orchestrator.run.in_process_executor import InProcessExecutor

        yield InProcessExecutor()
        return

    def import_tune() -> None:
        import_module("ray.tune")
        preparation.mlflow.result()
        import_module("orchestrator.run.tune_executor")

    address = run.options.address
    with ExitStack() as ends:
        tree = ends.enter_context(_tree(run))
        with waiting(run.console, f"Connecting to Ray at {shown_address(address)}" if address else _starting()):
            # Ray changes the environment as it is imported, which is for the main thread alone: before Tune is in
            # another.
            from orchestrator.run.cluster import cluster

            importing = preparation.threads.submit(import_tune)
            ends.enter_context(cluster(address, run.console.print, tree))
            heed_signals()  # Ray has put its own in the place of ours
            importing.result()
        from orchestrator.run.tune_executor import TuneExecutor

        yield TuneExecutor(run.plan.study.name, run.options.storage / "ray")


def _starting() -> str:
    """`Starting Ray (2 CPUs)`."""
    count = cpus_here()
    return f"Starting Ray ({count:g} CPU{'s' * (count != 1)})"


@contextmanager
def _tree(run: _Run) -> Iterator[Path | None]:
    """What the nodes of a cluster import from; None where they have it: here, and inside a job, which brought it."""
    from orchestrator.submit.package import package

    if run.options.address is None or is_submitted():
        yield None
        return
    tree = package(run.script, run.options.storage, run.options.included)
    run.console.print(f"Sending the working tree to the cluster's nodes: {tree.text}", markup=False)
    with tree.copied({}, "") as folder:
        yield folder


def _train(run: _Run, preparation: _Preparation, executor: "Executor") -> _Trained | None:
    """Trains the missing trials; None if it was interrupted."""
    plan, options, say = run.plan, run.options, run.console.print
    resources, slots = _share(run, preparation, executor)
    recorder = preparation.recorder.result()

    def train(part: Plan, missing: Sequence[Trial]) -> list[Trial]:
        say(
            f"{plan.study.title}, preset {plan.preset}: {len(missing)} of {len(part.trials)} trials to run, "
            f"{slots} at a time, {options.storage}"
        )
        with Progress(part, run.console, slots, live=not options.debug) as progress:
            to_run = {trial.key for trial in missing}
            progress.already([trial for trial in part.trials if trial.key not in to_run])
            return _execution(run, executor, recorder, progress, resources).run(missing, resources)

    try:
        if run.looks is None:
            return _Trained(plan, train(plan, preparation.missing))
        from orchestrator.commands.adaptive import train_until_separated

        failed, part = train_until_separated(plan, run.looks, recorder, train, partial(say, markup=False))
        return _Trained(part, failed)
    except KeyboardInterrupt:
        ignore_signals()
        left = len(plan.missing(recorder.finished))
        say(
            f"\nInterrupted: {len(plan.trials) - left} of {len(plan.trials)} trials are finished, the "
            "others go on from their checkpoints when you run the same command again."
        )
        return None


def _execution(
    run: _Run, executor: "Executor", recorder: "Recorder", progress: Progress, resources: Resources
) -> "Execution":
    from orchestrator.run.execution import Execution

    return Execution(
        executor,
        run.trainer,
        recorder,
        progress,
        run.options.storage,
        run.options.data,
        threads=max(1, int(resources.cpus)),
        patience=run.options.patience,
        stall=run.options.stall,
        lease=run.lease,
    )


def _share(run: _Run, preparation: _Preparation, executor: "Executor") -> tuple[Resources, int]:
    """What a trial gets, and how many run at once; measured under `--pack`, once the data are there."""
    options = run.options
    requested = Resources(options.cpus, options.gpus, options.max_concurrent)
    resources, slots = executor.allot(requested)
    if preparation.data is not None:
        if not preparation.data.done():
            with waiting(run.console, "Making the data ready"):
                wait([preparation.data])
        preparation.data.result()
    if not options.pack:
        return resources, slots
    from orchestrator.run.packing import choose, heaviest

    run.console.print("Measuring how many trials at once do most work, half a minute for each number:")
    config = heaviest(run.trainer, preparation.missing).config
    best = choose(run.trainer, config, run.place, options.cpus, run.console.print)
    return executor.allot(replace(requested, cpus=best.cpus, gpus=best.gpus))


def _report(run: _Run, preparation: _Preparation, recorder: "Recorder", trained: _Trained) -> int:
    """Writes and prints the report of all that is finished; gives the exit status."""
    plan, failed, options, keep_trying = trained.plan, trained.failed, run.options, run.patience.keep_trying
    report: Report | None = None
    if recorder.finished:
        if preparation.missing:
            _measure_latency(run, recorder)
        try:
            report = keep_trying(lambda: print_report(plan, options, recorder.tracker, recorder.experiment))
            folder, name = report_folder(plan, options.storage), report_name(plan)
            keep_trying(lambda: recorder.attach_report(folder, plan.trials, name))
        except UserError as error:
            if not failed:
                raise
            run.console.print(f"No report: {without_passwords(str(error))}", markup=False)
    for trial in failed:
        run.console.print(f"failed: {trial.label} (its traceback is in MLflow)", markup=False)
    if report is not None:
        print_headline(report)
    return 1 if failed else 0


def _measure_latency(run: _Run, recorder: "Recorder") -> None:
    """On the driver's machine, now that no trial runs beside it, and whether anything else does."""
    place = replace(run.place, threads=max(1, int(run.options.cpus)))

    def measure() -> dict[str, Mapping[str, float]]:
        milliseconds: dict[str, Mapping[str, float]] = {}
        for _, arms in run.plan.sub_models:  # once for every network
            if measured := run.trainer.latencies(run.plan.first_trials[arms[0]].config, place):
                milliseconds |= dict.fromkeys(arms, measured)
        return milliseconds

    found, others = calmest(measure)
    run.patience.keep_trying(lambda: recorder.note_latency(run.trainer.device_name(place), found, others))
