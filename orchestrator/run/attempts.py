"""One pass over some trials: what they report goes to the recorder and the progress view, what failed is kept."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.errors import Stopped
from orchestrator.run.checkpoints import DIVERGED, FINISHED, CheckpointFolder
from orchestrator.run.lease import Lease
from orchestrator.run.legible import legible
from orchestrator.run.outbox import Outbox
from orchestrator.run.patience import Patience
from orchestrator.run.progress import Progress
from orchestrator.run.worker import OUT_OF_MEMORY, STALLED
from orchestrator.secrecy.redaction import without_passwords
from orchestrator.study.plan import Trial
from orchestrator.track.recorder import Recorder

LOST = "lost"
_ERROR, _LINE = 1000, 300  # characters
_MEMORY_LINES = 2  # of what Ray says; then come the command lines of whatever runs on the node
_LEAVE_SECONDS = 30


@dataclass(frozen=True)
class FailedAttempt:
    """A trial that did not get to its end, in one attempt.

    Attributes:
        kind: `out of memory`, `raised`, or `lost` with its process or node.
        started_at: the step of the checkpoint that the attempt went on from.
    """

    trial: Trial
    kind: str
    error: str
    traceback: str
    started_at: int

    @property
    def line(self) -> str:
        """The error's first line, the beginning of it."""
        line = (self.error.splitlines() or [self.kind])[0]
        return line if len(line) <= _LINE else f"{line[:_LINE]}…"


class Attempts:
    """What an executor tells of the trials it runs. Recording goes through the outbox, off the caller's thread.

    Attributes:
        failures: of this pass; filled further by the outbox until it is drained.
    """

    def __init__(
        self, recorder: Recorder, outbox: Outbox, lease: Lease | None, progress: Progress, folder: Path
    ) -> None:
        self._recorder, self._outbox, self._lease = recorder, outbox, lease
        self._progress, self._folder = progress, folder
        self._starts: dict[str, int] = {}
        self._last: dict[str, Mapping[str, Any]] = {}
        self._open: dict[str, Trial] = {}
        self._closed: set[str] = set()  # of these trials nothing more is to come: what comes all the same is old news
        self.failures: list[FailedAttempt] = []

    @property
    def begun(self) -> int:
        """How many trials have started."""
        return len(self._starts)

    def reported(self, trial: Trial, report: Mapping[str, Any]) -> None:
        """A report, as `worker.train` yields it. By a final one the trial is finished, whatever its process does."""
        if trial.key in self._closed:
            return
        if trial.key not in self._open or "starts" in report:
            self._outbox.post(trial.key, partial(self._recorder.start, trial, report["device"]))
            self._open[trial.key] = trial
            self._starts[trial.key] = report["step"]
            for passed_over in report["passed_over"]:
                self._progress.say(f"{trial.label}: a checkpoint cannot be used, {passed_over}")
            self._progress.started(trial, report["step"])
        self._last[trial.key] = report
        if not report.get("final") and report["points"]:  # the last point is written together with the trial's end
            self._outbox.post(trial.key, partial(self._recorder.record, trial, report["points"]))
        self._progress.update(trial, report)
        if report.get("final"):
            self._close(trial)
            self._outbox.post(trial.key, partial(self._finish, trial, report))
            self._progress.ended(trial, "done", " (diverged)" if report["diverged"] else "")

    def ended(self, trial: Trial) -> None:
        """It reports no more: unless it was finished before, it has failed."""
        if trial.key in self._closed:
            return
        if failure := self._last.get(trial.key, {}).get("failure"):
            self._failed(trial, failure["kind"], failure["error"], failure["traceback"])
        else:
            self._failed(trial, LOST, "it ended before its budget did", "")

    def _finish(self, trial: Trial, last: Mapping[str, Any]) -> None:
        """Runs in the outbox: reading and verifying the checkpoint is not the scheduler's work."""
        folder = CheckpointFolder(self._folder / trial.key)
        checkpoint = folder.latest()
        if checkpoint is None or checkpoint.step != last["step"]:
            self._failed(trial, LOST, "its last checkpoint cannot be read on the driver: is --storage shared?", "")
            return
        outcome = DIVERGED if last["diverged"] else FINISHED
        self._recorder.finish(trial, outcome, checkpoint.seconds, checkpoint.history, checkpoint.directory)
        with suppress(OSError):  # what is left, the next run of the study takes away
            ended = replace(checkpoint, outcome=outcome)  # an earlier version's says none
            folder.settle(ended, self._recorder.artifact_names, self._recorder.artifacts(trial))

    def goes_on(self, trial: Trial) -> None:
        """Its process or node is lost; it is started again."""
        if trial.key not in self._closed:
            what = "it hung" if self._where_it_hung(trial) else "its worker was lost"
            self._progress.say(f"{trial.label}: {what}; going on from its checkpoint")

    def out_of_memory(self, trial: Trial, reason: str) -> None:
        """Its process was ended since the memory of its node did not suffice."""
        if trial.key not in self._closed:
            why = "\n".join(reason.splitlines()[:_MEMORY_LINES])
            self._failed(trial, OUT_OF_MEMORY, "the memory of its node did not suffice: Ray ended its worker", why)

    def lost(self, trial: Trial, reason: str) -> None:
        """Its process or node is lost once too often."""
        if trial.key not in self._closed:
            where = self._where_it_hung(trial)
            error = "it hung (no step for longer than --stall)" if where else f"its worker was lost: {reason}"
            self._failed(trial, LOST, error, where or reason)

    def _where_it_hung(self, trial: Trial) -> str:
        try:
            return (self._folder / trial.key / STALLED).read_text(errors="replace")
        except OSError:
            return ""

    def _failed(self, trial: Trial, kind: str, error: str, traceback: str) -> None:
        self._close(trial)
        error, traceback = without_passwords(legible(error, _ERROR)), without_passwords(legible(traceback))
        self.failures.append(FailedAttempt(trial, kind, error, traceback, self._starts.get(trial.key, 0)))

    def _close(self, trial: Trial) -> None:
        self._open.pop(trial.key, None)
        self._closed.add(trial.key)

    def check(self) -> None:
        """To be called often, as trials run.

        Raises:
            Stopped: the tracking store failed for too long, or another driver has taken over.
        """
        self._outbox.check()
        if self._lease is not None:
            self._lease.check()
        self._progress.refresh()

    def leave(self) -> None:
        """Marks every open run as resumable, once what was told before is written, as far as the store takes it."""
        with suppress(Exception):  # what a lane died of is being raised already
            self._outbox.drain(_LEAVE_SECONDS)
        with suppress(Stopped):
            patience = Patience(_LEAVE_SECONDS, self._progress.say)
            patience.keep_trying(partial(self._recorder.interrupt, list(self._open.values())))
