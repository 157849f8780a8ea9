"""The command that runs a study: prepare, connect, train, report."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options, writable
from orchestrator.commands.preparation import Preparation, StudyRun, prepare
from orchestrator.commands.report import print_headline, print_report
from orchestrator.commands.report_folder import report_folder, report_name
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
    from orchestrator.track.recorder import Recorder

_INTERRUPTED = 130


@dataclass(frozen=True)
class _Trained:
    """What was trained: which part of the plan, and which trials of it failed for good."""

    plan: Plan
    failed: list[Trial]


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
    run = StudyRun(plan, trainer, options, lease, console, patience, script, place, _looks(plan, options))
    with ended_as_by_ctrl_c(), lease.acquired():
        with prepare(run) as preparation:
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


def _train_missing(run: StudyRun, preparation: Preparation) -> _Trained | None:
    """What was trained; None if it was interrupted."""
    if not preparation.missing:
        return _Trained(run.plan, [])
    with _connect(run, preparation) as executor:
        return _train(run, preparation, executor)


@contextmanager
def _connect(run: StudyRun, preparation: Preparation) -> "Iterator[Executor]":
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
def _tree(run: StudyRun) -> Iterator[Path | None]:
    """What the nodes of a cluster import from; None where they have it: here, and inside a job, which brought it."""
    from orchestrator.submit.package import package

    if run.options.address is None or is_submitted():
        yield None
        return
    tree = package(run.script, run.options.storage, run.options.included)
    run.console.print(f"Sending the working tree to the cluster's nodes: {tree.text}", markup=False)
    with tree.copied({}, "") as folder:
        yield folder


def _train(run: StudyRun, preparation: Preparation, executor: "Executor") -> _Trained | None:
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
    run: StudyRun, executor: "Executor", recorder: "Recorder", progress: Progress, resources: Resources
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


def _share(run: StudyRun, preparation: Preparation, executor: "Executor") -> tuple[Resources, int]:
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


def _report(run: StudyRun, preparation: Preparation, recorder: "Recorder", trained: _Trained) -> int:
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


def _measure_latency(run: StudyRun, recorder: "Recorder") -> None:
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
