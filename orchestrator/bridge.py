"""Hands Tune's events to the recorder and the progress view, and keeps what went wrong for the next pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

from orchestrator.checkpoints import CheckpointFolder
from orchestrator.lease import Lease
from orchestrator.outbox import Outbox
from orchestrator.plan import Trial
from orchestrator.progress import Progress
from orchestrator.recorder import Recorder
from orchestrator.worker import STALLED

LOST = "lost"


@dataclass(frozen=True)
class Failure:
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
        """The error's first line."""
        return (self.error.splitlines() or [self.kind])[0]


class Bridge(Callback):
    """For one pass over some trials.

    Attributes:
        started: told how many trials have begun.
        failures: of this pass; filled further by the outbox until it is drained.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        recorder: Recorder,
        outbox: Outbox,
        lease: Lease | None,
        progress: Progress,
        folder: Path,
    ) -> None:
        self._trials = {trial.key: trial for trial in trials}
        self._recorder, self._outbox, self._lease = recorder, outbox, lease
        self._progress, self._folder = progress, folder
        self.started: Callable[[int], None] = lambda trials: None
        self._starts: dict[str, int] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self._open: dict[str, Trial] = {}
        self.failures: list[Failure] = []

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
        if ours.key not in self._open or "starts" in result:
            self._outbox.post(ours.key, partial(self._recorder.start, ours, result["device"]))
            self._open[ours.key] = ours
            self._starts[ours.key] = result["step"]
            self.started(len(self._starts))
            for passed_over in result["passed_over"]:
                self._progress.say(f"{ours.label}: a checkpoint cannot be used, {passed_over}")
            self._progress.started(ours, result["step"])
        self._last[ours.key] = result
        if not result.get("final") and result["points"]:  # the last point is written together with the trial's end
            self._outbox.post(ours.key, partial(self._recorder.record, ours, result["points"]))
        self._progress.update(ours, result)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        ours = self._of(trial)
        last = self._last[ours.key]
        if "failure" in last:
            failure = last["failure"]
            self._failed(ours, failure["kind"], failure["error"], failure["traceback"])
        elif not last.get("final"):
            self._failed(ours, LOST, "it ended before its budget did", "")
        else:
            self._open.pop(ours.key, None)
            self._outbox.post(ours.key, partial(self._finish, ours, last))
            self._progress.ended(ours, "done", " (diverged)" if last["diverged"] else "")

    def _finish(self, trial: Trial, last: dict[str, Any]) -> None:
        """Runs in the outbox: reading and verifying the checkpoint is not the scheduler's work."""
        checkpoint = CheckpointFolder(self._folder / trial.key).latest()
        if checkpoint is None or checkpoint.step != last["step"]:
            self._failed(trial, LOST, "its last checkpoint cannot be read on the driver: is --storage shared?", "")
            return
        outcome = "diverged" if last["diverged"] else "finished"
        self._recorder.finish(trial, outcome, last["seconds"], checkpoint.history, checkpoint.directory)

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        ours = self._of(trial)
        where = self._where_it_hung(ours)
        self._progress.say(
            f"{ours.label}: {'it hung' if where else 'its worker was lost'}; going on from its checkpoint"
        )

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        ours = self._of(trial)
        reason, where = str(trial.get_error()), self._where_it_hung(ours)
        error = "it hung (no step for longer than --stall)" if where else f"its worker was lost: {reason}"
        self._failed(ours, LOST, error, where or reason)

    def _where_it_hung(self, trial: Trial) -> str:
        try:
            return (self._folder / trial.key / STALLED).read_text()
        except OSError:
            return ""

    def _failed(self, trial: Trial, kind: str, error: str, traceback: str) -> None:
        self._open.pop(trial.key, None)
        self.failures.append(Failure(trial, kind, error, traceback, self._starts.get(trial.key, 0)))

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._outbox.check()
        if self._lease is not None:
            self._lease.check()
        self._progress.refresh()
