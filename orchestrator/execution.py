"""Runs the missing trials of a plan on Ray Tune, recording as they report. Tune schedules; it decides nothing else."""

import logging
import math
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

from orchestrator.checkpoints import CheckpointFolder
from orchestrator.errors import UserError
from orchestrator.packing import gpu_request, spread_over_gpus
from orchestrator.plan import Plan, Trial
from orchestrator.progress import Progress
from orchestrator.recorder import Recorder
from orchestrator.trainer import Place, Trainer
from orchestrator.worker import run_trial

_LOST_RETRIES = 3  # of a trial whose worker or node is lost
_REACH_SECONDS = 5
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # its table is ours to draw
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours to answer
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own snapshots are never read
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@dataclass(frozen=True)
class Resources:
    """What a trial gets and how many run at once. `gpus` None: a whole one where there is any."""

    cpus: float = 1
    gpus: float | None = None
    max_concurrent: int | None = None


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """A connection to the cluster at `address`, or one started on this machine with its cores and GPUs.

    Raises:
        UserError: the cluster cannot be reached.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    if address and address != "auto":
        _reach(address)
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"no Ray cluster at {address or 'this machine'}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--address {address}: give auto or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}") from error


def allot(wanted: Resources) -> tuple[Resources, int]:
    """The resources with GPUs decided, and how many trials fit at once on the connected cluster.

    Raises:
        UserError: no node has what one trial asks for.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = wanted.gpus
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    slots = 0
    for node in nodes:
        by_cpu = _times(node.get("CPU", 0), wanted.cpus)
        slots += min(by_cpu, _times(node.get("GPU", 0), gpus)) if gpus else by_cpu
    if slots == 0:
        most = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise UserError(f"a trial asks for {wanted.cpus:g} CPUs and {gpus:g} GPUs; the nodes have {most}")
    # A limit has Tune make trials one by one, and a worker that finds none waiting at its trial's end is thrown away.
    limit = wanted.max_concurrent if wanted.max_concurrent and wanted.max_concurrent < slots else None
    return Resources(wanted.cpus, gpus, limit), limit or slots


def _times(whole: float, part: float) -> int:
    """How often a part is in the whole; ten tenths make one."""
    return math.floor(whole / part + 1e-9)


class _Bridge(Callback):
    """Hands Tune's events to the recorder and the progress view."""

    def __init__(self, trials: Sequence[Trial], recorder: Recorder, progress: Progress, folder: Path) -> None:
        self._trials = {trial.key: trial for trial in trials}
        self._recorder, self._progress, self._folder = recorder, progress, folder
        self.started: Callable[[int], None] = lambda trials: None
        self._begun: set[str] = set()
        self._seconds: dict[str, float] = {}
        self._open: dict[str, Trial] = {}
        self._failures: dict[str, dict[str, str]] = {}
        self.failed: list[Trial] = []

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that is never made (design: run = plan − finished)."""
        return {}

    @property
    def unfinished(self) -> list[Trial]:
        """Trials whose runs are open."""
        return list(self._open.values())

    def _of(self, tune_trial: TuneTrial) -> Trial:
        return self._trials[tune_trial.config["trial"]["key"]]

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        ours = self._of(trial)
        if ours.key not in self._open or result["seconds"] == 0:
            self._recorder.start(ours, result["device"])
            self._open[ours.key] = ours
            self._begun.add(ours.key)
            self.started(len(self._begun))
            self._progress.started(ours, result["step"])
        self._seconds[ours.key] = result["seconds"]
        if not result.get("final"):  # the last point is written together with the trial's end
            self._recorder.record(ours, result["points"])
        self._progress.update(ours, result)
        if "failure" in result:
            self._failures[ours.key] = result["failure"]

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        ours = self._of(trial)
        if ours.key in self._failures:
            failure = self._failures[ours.key]
            self._close_failed(ours, failure["error"], failure["traceback"])
            return
        checkpoint = CheckpointFolder(self._folder / ours.key).latest()
        if checkpoint is None:
            self._close_failed(ours, "its last checkpoint cannot be read on the driver: is --storage shared?", "")
            return
        diverged = bool(trial.last_result.get("diverged"))
        self._recorder.finish(
            ours,
            "diverged" if diverged else "finished",
            self._seconds.get(ours.key, 0.0),
            checkpoint.history,
            checkpoint.directory,
        )
        self._open.pop(ours.key, None)
        self._progress.ended(ours, "done", " (diverged)" if diverged else "")

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        ours = self._of(trial)
        if ours.key not in self._open:  # lost before its first report
            self._recorder.start(ours, "")
        reason = trial.get_error()
        self._close_failed(ours, f"its worker was lost {_LOST_RETRIES + 1} times: {reason}", str(reason))

    def _close_failed(self, trial: Trial, error: str, traceback: str) -> None:
        self._recorder.fail(trial, error, traceback)
        self._open.pop(trial.key, None)
        self.failed.append(trial)
        self._progress.ended(trial, "failed", f": {error.splitlines()[0]}")

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._progress.refresh()


def execute(
    plan: Plan,
    missing: Sequence[Trial],
    trainer: Trainer,
    recorder: Recorder,
    progress: Progress,
    resources: Resources,
    storage: Path,
    data: Path | None,
) -> list[Trial]:
    """Trains the missing trials on the connected cluster; gives those that failed.

    Raises:
        KeyboardInterrupt: Ctrl-C; every open run is marked as resumable first.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    folder = storage / "trials"
    place = Place(threads=max(1, int(resources.cpus)), gpu=bool(resources.gpus), data=data)
    share = gpu_request(resources.gpus or 0.0)
    bridge = _Bridge(missing, recorder, progress, folder)
    tasks = [{"key": trial.key, "config": dict(trial.config), "seed": trial.seed} for trial in missing]
    trainable = partial(run_trial, trainer=trainer, place=place, folder=str(folder))
    trainable.__name__ = "trial"  # type: ignore[attr-defined]  # Tune names its files by it
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus, "gpu": share}),
        param_space={"trial": tune.grid_search(tasks)},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=resources.max_concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.config["trial"]["key"][:16],
        ),
        run_config=tune.RunConfig(
            name=plan.study.name,
            storage_path=str(storage / "ray"),
            callbacks=[bridge],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=_LOST_RETRIES),
        ),
    )
    try:
        with spread_over_gpus(share) as bridge.started:
            tuner.fit()
    except KeyboardInterrupt:
        recorder.interrupt(bridge.unfinished)
        raise
    return bridge.failed
