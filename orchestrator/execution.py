"""Runs the missing trials of a plan on Ray Tune, recording as they report. Tune schedules; it decides nothing else."""

import logging
import math
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune

from orchestrator.bridge import Bridge, Failure
from orchestrator.errors import Stopped, UserError
from orchestrator.lease import Lease
from orchestrator.outbox import Outbox, Patience
from orchestrator.packing import gpu_request, spread_over_gpus
from orchestrator.plan import Plan, Trial
from orchestrator.progress import Progress
from orchestrator.recorder import Recorder
from orchestrator.trainer import Place, Trainer
from orchestrator.worker import OUT_OF_MEMORY, Task, run_trial

_LOST_RETRIES = 3  # of a trial whose worker or node is lost
_REACH_SECONDS, _INTERRUPT_SECONDS = 5, 30
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

    @property
    def text(self) -> str:
        """`2 CPUs` or `0.5 GPUs`."""
        return f"{self.gpus:g} GPUs" if self.gpus else f"{self.cpus:g} CPUs"


@contextmanager
def cluster(address: str | None, tree: Path | None = None) -> Iterator[None]:
    """A connection to the cluster at `address`, or one started on this machine.

    Args:
        address: None starts one, with this machine's cores and GPUs.
        tree: what the nodes of a cluster import from, sent to them; None: what they have.

    Raises:
        UserError: the cluster cannot be reached.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    if address and address != "auto":
        _reach(address)
    how: dict[str, Any] = {"include_dashboard": False}
    if address:
        how = {"runtime_env": {"working_dir": str(tree)}} if tree else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **how)
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


@dataclass(frozen=True)
class Execution:
    """What every pass over a study's trials shares.

    Attributes:
        threads: of each trial, whatever its share of the machine: results depend on it.
        patience: seconds that the tracking store may fail.
        stall: seconds without a step after which a trial hangs.
        lease: checked as the study runs.
    """

    plan: Plan
    trainer: Trainer
    recorder: Recorder
    progress: Progress
    storage: Path
    data: Path | None
    threads: int
    patience: float
    stall: float
    lease: Lease | None = None

    def run(self, missing: Sequence[Trial], resources: Resources) -> list[Trial]:
        """Trains the missing trials on the connected cluster; gives those that failed for good.

        In passes: what ran out of memory runs again with twice the share, up to a whole node; what raised or was lost
        runs once more, and again as long as each attempt starts from further on than the one before.

        Raises:
            KeyboardInterrupt: Ctrl-C; every open run is marked as resumable first.
            Stopped: the tracking store failed for too long, or another driver has taken over.
        """
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        failed: list[Trial] = []
        starts: dict[str, int] = {}
        waiting = [(resources, list(missing))]
        while waiting:
            share, trials = waiting.pop(0)
            wider = _doubled(share)
            again: dict[Resources, list[Trial]] = {}
            for failure in self._pass(trials, share):
                trial = failure.trial
                if failure.kind == OUT_OF_MEMORY and wider is not None:
                    again.setdefault(wider, []).append(trial)
                    self.progress.put_off(trial, f"out of memory, again later with {wider.text}")
                elif failure.kind != OUT_OF_MEMORY and failure.started_at > starts.get(trial.key, -1):
                    starts[trial.key] = failure.started_at
                    again.setdefault(share, []).append(trial)
                    self.progress.put_off(trial, f"{failure.line}; again later")
                else:
                    self._close(failure)
                    failed.append(trial)
            waiting += again.items()
        return failed

    def _pass(self, trials: Sequence[Trial], share: Resources) -> list[Failure]:
        plan, recorder, folder = self.plan, self.recorder, self.storage / "trials"
        outbox = Outbox(Patience(self.patience, self.progress.say), recorder.lanes)
        bridge = Bridge(trials, recorder, outbox, self.lease, self.progress, folder)
        place = Place(threads=self.threads, gpu=bool(share.gpus), data=self.data)
        gpus = gpu_request(share.gpus or 0.0)
        tasks = [{"key": trial.key, "config": dict(trial.config), "seed": trial.seed} for trial in trials]
        trainable = partial(run_trial, task=Task(self.trainer, place, folder, self.stall))
        trainable.__name__ = "trial"  # type: ignore[attr-defined]  # Tune names its files by it
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": share.cpus, "gpu": gpus}),
            param_space={"trial": tune.grid_search(tasks)},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=share.max_concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.config["trial"]["key"][:16],
            ),
            run_config=tune.RunConfig(
                name=plan.study.name,
                storage_path=str(self.storage / "ray"),
                callbacks=[bridge],
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=_LOST_RETRIES),
            ),
        )
        try:
            with spread_over_gpus(gpus) as bridge.started:
                tuner.fit()
            outbox.drain()
        except KeyboardInterrupt:
            outbox.post("", partial(recorder.interrupt, bridge.unfinished))
            with suppress(Stopped):
                outbox.drain(_INTERRUPT_SECONDS)
            raise
        return bridge.failures

    def _close(self, failure: Failure) -> None:
        """Records a trial that is given up."""
        trial = failure.trial
        Patience(self.patience, self.progress.say).keep_trying(
            partial(self.recorder.fail, trial, failure.error, failure.traceback)
        )
        self.progress.ended(trial, "failed", f": {failure.line}")


def _doubled(share: Resources) -> Resources | None:
    """Twice the share of a GPU, or of a machine as far as the largest node goes; None if it has all of that."""
    if share.gpus:
        return replace(share, gpus=min(1.0, 2 * share.gpus)) if share.gpus < 1 else None
    most = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    return replace(share, cpus=min(2 * share.cpus, most)) if share.cpus < most else None
