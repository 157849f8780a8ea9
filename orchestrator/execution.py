"""Runs the missing trials of a plan on Ray Tune, recording as they report. Tune schedules; it decides nothing else."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ray import tune

from orchestrator.bridge import Bridge, Failure
from orchestrator.cluster import Resources, doubled
from orchestrator.errors import Stopped
from orchestrator.lease import Lease
from orchestrator.outbox import Outbox
from orchestrator.packing import gpu_request, spread_over_gpus
from orchestrator.patience import Patience
from orchestrator.plan import Plan, Trial
from orchestrator.progress import Progress
from orchestrator.recorder import Recorder
from orchestrator.trainer import Place, Trainer
from orchestrator.worker import OUT_OF_MEMORY, Task, run_trial

_LOST_RETRIES = 3  # of a trial whose worker or node is lost
_INTERRUPT_SECONDS = 30


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
            wider = doubled(share)
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
