"""Runs the missing trials of a plan in passes, recording as they report: whatever failed may run again, differently."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from orchestrator.errors import ClusterLost, Stopped, UserError, reason
from orchestrator.run.attempts import Attempts, FailedAttempt
from orchestrator.run.lease import Lease
from orchestrator.run.legible import legible
from orchestrator.run.outbox import Outbox
from orchestrator.run.patience import Patience
from orchestrator.run.progress import Progress
from orchestrator.run.resources import Resources
from orchestrator.run.worker import OUT_OF_MEMORY, WorkerContext
from orchestrator.secrecy.redaction import without_passwords
from orchestrator.study.plan import Trial
from orchestrator.track.recorder import Recorder
from orchestrator.trainer import Place, Trainer


class Executor(Protocol):
    """Where trials run. What is recorded and what is done about failures are the same whichever it is."""

    def allot(self, requested: Resources) -> tuple[Resources, int]:
        """The resources with GPUs decided, and how many trials run at once.

        Raises:
            UserError: there is nowhere what one trial asks for.
        """

    def doubled(self, share: Resources) -> Resources | None:
        """Twice the share, as far as there is more; None if a trial has all of it."""

    def run(self, trials: Sequence[Trial], share: Resources, context: WorkerContext, attempts: Attempts) -> None:
        """Runs `worker.train` for each trial to its end, and tells `attempts` what becomes of it.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            Stopped: as `Attempts.check`, which is to be called often.
            ClusterLost: where they run is gone.
        """


@dataclass(frozen=True)
class Execution:
    """What every pass over a study's trials shares.

    Attributes:
        executor: where trials run.
        threads: of each trial, whatever its share of the machine: results depend on it.
        patience: seconds that the tracking store may fail.
        stall: seconds without a step after which a trial hangs; None: it may take any time.
        lease: checked as the study runs.
    """

    executor: Executor
    trainer: Trainer
    recorder: Recorder
    progress: Progress
    storage: Path
    data: Path | None
    threads: int
    patience: float
    stall: float | None
    lease: Lease | None = None

    def run(self, missing: Sequence[Trial], resources: Resources) -> list[Trial]:
        """Trains the missing trials; gives those that failed for good.

        In passes: what ran out of memory runs again with twice the share, as far as there is more; what raised or was
        lost runs once more, and again as long as each attempt starts from further on than the one before.

        Raises:
            KeyboardInterrupt: Ctrl-C; every open run is marked as resumable first.
            Stopped: the tracking store failed for too long, or another driver has taken over; or what runs the trials
                is gone or failed, and every open run is marked as resumable.
        """
        try:
            return self._passes(missing, resources)
        except (Stopped, UserError):
            raise
        except Exception as error:  # whatever an executor raises that is no trial's own
            log = self.storage / "stopped.txt"
            log.write_text(without_passwords(legible(traceback.format_exc())))
            cause = error.__cause__ or error.__context__ or error  # Tune wraps what a callback raises
            raise Stopped(
                f"what runs the trials failed ({type(cause).__name__}: {reason(cause)}; its traceback is in {log}). "
                "Every trial has its checkpoint: run the same command again"
            ) from error

    def _passes(self, missing: Sequence[Trial], resources: Resources) -> list[Trial]:
        failed: list[Trial] = []
        starts: dict[str, int] = {}
        waiting = [(resources, list(missing))]
        while waiting:
            share, trials = waiting.pop(0)
            wider = self.executor.doubled(share)
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

    def _pass(self, trials: Sequence[Trial], share: Resources) -> list[FailedAttempt]:
        recorder, folder = self.recorder, self.storage / "trials"
        outbox = Outbox(Patience(self.patience, self.progress.say), recorder.lanes)
        attempts = Attempts(recorder, outbox, self.lease, self.progress, folder)
        place = Place(threads=self.threads, gpu=bool(share.gpus), data=self.data)
        try:
            self.executor.run(trials, share, WorkerContext(self.trainer, place, folder, self.stall), attempts)
            outbox.drain()
        except BaseException as error:
            if not isinstance(error, Stopped) or isinstance(error, ClusterLost):
                attempts.leave()
            raise
        return attempts.failures

    def _close(self, failure: FailedAttempt) -> None:
        """Records a trial that is given up."""
        trial = failure.trial
        Patience(self.patience, self.progress.say).keep_trying(
            partial(self.recorder.fail, trial, failure.error, failure.traceback)
        )
        self.progress.ended(trial, "failed", f": {failure.line}")
