"""The command that runs a study: what is missing is trained, then all of it reported."""

import os
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from orchestrator.commands.options import (
    Options,
    finished_keys,
    open_tracker,
    plain_console,
    print_report,
    report_folder,
    writable,
)
from orchestrator.errors import UserError
from orchestrator.run.patience import Patience
from orchestrator.run.progress import Progress
from orchestrator.secrecy.redaction import without_passwords
from orchestrator.study.plan import Plan, Trial
from orchestrator.trainer import Place, Trainer

if TYPE_CHECKING:
    from orchestrator.run.execution import Executor
    from orchestrator.run.lease import Lease
    from orchestrator.track.recorder import Recorder

_IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for the driver of a submitted job


def run_study(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Trains what is missing, then reports; gives the exit status."""
    from orchestrator.run.lease import Lease

    # Ray reads these when it is imported: whether SIGTERM is its own, what it listens on, who may join it.
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
    if options.address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        _draw_token()
    # Whoever changes the environment in one thread while C code of another reads it, as Ray's does when it starts, ends
    # the process. Importing numpy would, to set this for a moment, and so would MLflow's telemetry.
    os.environ.setdefault("OPENBLAS_MAIN_FREE", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    writable(options.storage, "--storage")
    held = Lease(options.storage / "leases" / f"{plan.study.name}.{plan.base_key[:16]}.json")
    with _terminable(), held.held() as lease:
        return _run_study(plan, trainer, options, lease)


def _draw_token() -> None:
    """A token for the cluster to be started. Ray's way is one in the home folder for all: two that start at the same
    time where there is none yet write it both, and one of them goes on with what the other has replaced."""
    if not os.environ.keys() & {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))


def _run_study(plan: Plan, trainer: Trainer, options: Options, lease: "Lease") -> int:
    from orchestrator.run.resources import Resources
    from orchestrator.track.provenance import diff, provenance

    console = plain_console()
    patience = Patience(options.patience, console.print)
    tracker = patience.keep_trying(lambda: open_tracker(options, create=False))
    missing = plan.missing(patience.keep_trying(lambda: finished_keys(plan, tracker)))
    if missing:
        lease.cover([trial.key for trial in missing])
    failed = []
    script = Path(sys.argv[0]).resolve()
    origin = provenance(script.parent, trainer.versions(), options.command)
    place = Place(threads=1, gpu=False, data=options.data)

    def opened() -> "Recorder":
        loading.result()
        from orchestrator.track.recorder import Recorder

        patch = diff(script.parent)
        return patience.keep_trying(
            lambda: Recorder(tracker or open_tracker(options, create=True), plan, origin, patch)
        )

    with ThreadPoolExecutor(4) as aside:  # a new database, the data and importing Tune take as long as Ray to start
        # MLflow by one thread alone: of modules that import one another, two threads each find half of them.
        loading = aside.submit(import_module, "orchestrator.track.recorder")
        opening = aside.submit(opened)
        if missing:
            preparing = aside.submit(_prepare, trainer, missing, place)
            with _executor(plan, options, script, aside, loading) as executor:
                wanted = Resources(options.cpus, options.gpus, options.max_concurrent)
                resources, slots = executor.allot(wanted)
                preparing.result()
                if options.pack:
                    from orchestrator.run.packing import choose, heaviest

                    console.print("Measuring how many trials at once do most work, half a minute for each number:")
                    best = choose(trainer, heaviest(trainer, missing).config, place, options.cpus, console.print)
                    resources, slots = executor.allot(replace(wanted, cpus=best.cpus, gpus=best.gpus))
                recorder = opening.result()
                console.print(
                    f"{plan.study.title}, preset {plan.preset}: {len(missing)} of {len(plan.trials)} trials to run, "
                    f"{slots} at a time, {options.storage}"
                )
                with Progress(plan, console, slots, live=not options.debug) as progress:
                    left_over = {trial.key for trial in missing}
                    progress.already([trial for trial in plan.trials if trial.key not in left_over])
                    from orchestrator.run.execution import Execution

                    execution = Execution(
                        executor,
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
                        _heed_no_more()
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
            patience.keep_trying(lambda: print_report(plan, options, recorder.tracker, recorder.experiment))
            patience.keep_trying(lambda: recorder.attach_report(report_folder(plan, options)))
        except UserError as error:
            if not failed:
                raise
            console.print(f"No report: {without_passwords(str(error))}", markup=False)
    for trial in failed:
        console.print(f"failed: {trial.label} (its traceback is in MLflow)", markup=False)
    return 1 if failed else 0


@contextmanager
def _executor(
    plan: Plan, options: Options, script: Path, aside: ThreadPoolExecutor, loading: "Future[ModuleType]"
) -> "Iterator[Executor]":
    """What runs the trials: this process under `--debug`, otherwise Ray, here or on the cluster at the address.

    Args:
        script: the study's file.
        aside: imports Tune while Ray starts.
        loading: ends once MLflow is imported.
    """
    if options.debug:
        loading.result()
        from orchestrator.run.in_process_executor import InProcessExecutor

        yield InProcessExecutor()
        return

    def imported() -> None:
        import_module("ray.tune")
        loading.result()
        import_module("orchestrator.run.tune_executor")

    importing = aside.submit(imported)
    from orchestrator.run.cluster import cluster

    with _tree(script, options) as tree, cluster(options.address, plain_console().print, tree):
        _heed_sigterm()  # Ray has put its own in the place of ours
        importing.result()
        from orchestrator.run.tune_executor import TuneExecutor

        yield TuneExecutor(plan.study.name, options.storage / "ray")


@contextmanager
def _tree(script: Path, options: Options) -> Iterator[Path | None]:
    """What the nodes of a cluster import from; None where they have it: here, and inside a job, which brought it."""
    from orchestrator.submit.package import package

    if options.address is None or _IN_A_JOB in os.environ:
        yield None
        return
    tree = package(script, options.storage, options.included)
    plain_console().print(f"Sending the working tree to the cluster's nodes: {tree.text}", markup=False)
    with tree.copied({}, "") as folder:
        yield folder


def _prepare(trainer: Trainer, trials: Sequence[Trial], place: Place) -> None:
    """Makes every data set ready that the trials are trained on, each once."""
    for trial in {trial.data_checksum: trial for trial in trials}.values():
        trainer.prepare(trial.config, place)


def _measure_latency(plan: Plan, trainer: Trainer, options: Options, recorder: "Recorder", patience: Patience) -> None:
    """On the driver's machine, now that no trial runs beside it."""
    place = Place(threads=max(1, int(options.cpus)), gpu=False, data=options.data)
    found: dict[str, Mapping[str, float]] = {}
    for _, arms in plan.sub_models:  # once for every network
        measured = trainer.latencies(plan.first_trials[arms[0]].config, place)
        found |= dict.fromkeys(arms, measured)
    patience.keep_trying(lambda: recorder.note_latency(trainer.device_name(place), found))


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM as Ctrl-C: a scheduler that ends the job leaves runs as resumable as a person does."""
    before = _heed_sigterm()
    try:
        yield
    except KeyboardInterrupt:
        _heed_no_more()
        raise
    finally:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, before if callable(before) else signal.SIG_DFL)


def _heed_sigterm() -> Any:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return signal.signal(signal.SIGTERM, interrupt)


def _heed_no_more() -> None:
    """All is recorded; only the executor is left to end."""
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)
