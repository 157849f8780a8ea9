"""What runs where a trial runs: one trial, from its newest checkpoint to its end, saying how far it is.

It knows nobody who listens: a worker of Ray's hands its reports to Tune, `--debug` reads them in the same process.
An exception of the trial's own code is a result, reported with its traceback; only the loss of the process or the
node is more than a report. A trial that hangs loses its process: it says where it hung and ends it.
"""

import faulthandler
import time
import traceback
from bdb import BdbQuit
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.run.checkpoints import CheckpointFolder
from orchestrator.trainer import Place, Snapshot, Trainer

OUT_OF_MEMORY, RAISED = "out of memory", "raised"
STALLED = "stalled.txt"
_REPORT_SECONDS, _CHECKPOINT_SECONDS = 2.0, 60.0


@dataclass(frozen=True)
class WorkerContext:
    """What all trials of a study share on a worker.

    Attributes:
        folder: the checkpoints, one folder per trial key.
        stall: seconds without a step after which a trial hangs and its process is ended; None: it may take any time.
    """

    trainer: Trainer
    place: Place
    folder: Path
    stall: float | None


def train(context: WorkerContext, key: str, config: Mapping[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    """Trains a trial, keeping its state in the folder of its key, and yields what there is to report.

    Yields:
        `step`, `progress` (0 to 1), `seconds`, `device`, `passed_over` (unusable checkpoints), the new `points` (step,
        time, metrics) and, of the last, `final` with `diverged`, or `failure` (kind, error, traceback). The first one
        `starts`: its points are all that the checkpoint holds.

    Raises:
        BdbQuit: somebody has left the debugger.
    """
    started = time.monotonic()
    checkpoints = CheckpointFolder(context.folder / key)
    report: dict[str, Any] = {"step": 0, "progress": 0.0, "seconds": 0.0, "passed_over": [], "device": ""}
    try:
        checkpoints.claim()
        checkpoint = checkpoints.latest()
        history = checkpoint.history if checkpoint else []
        report |= {"step": checkpoint.step if checkpoint else 0, "passed_over": checkpoints.passed_over}
        report |= {"device": context.trainer.device_name(context.place)}
        yield {**report, "points": history, "starts": True}
        if checkpoint is not None and (end := checkpoint.end) is not None:  # for another study, or another store
            ended = {"final": True, "diverged": end.outcome == "diverged", "seconds": end.seconds, "steps_done": 0}
            yield {**report, **ended, "progress": 1.0, "points": []}
            return
        first_step, resume_from = report["step"], checkpoint.directory if checkpoint else None
        saved = reported = time.monotonic()
        with _watched(checkpoints.folder / STALLED, context.stall) as alive:
            for snapshot in context.trainer.fit(config, seed, context.place, resume_from):
                alive()
                now = time.monotonic()
                points = _points(snapshot)
                history.extend(points)
                if points or snapshot.final or now - saved > _CHECKPOINT_SECONDS:
                    checkpoints.save(snapshot.step, history, snapshot.save)
                    saved = time.monotonic()
                if points or snapshot.final or now - reported > _REPORT_SECONDS:
                    report |= {
                        "step": snapshot.step,
                        "steps_done": snapshot.step - first_step,
                        "progress": snapshot.progress,
                        "seconds": now - started,
                        "final": snapshot.final,
                        "diverged": snapshot.diverged,
                    }
                    yield {**report, "points": points}
                    reported = time.monotonic()
    except BdbQuit:
        raise
    except Exception as error:  # reported by name, with its traceback; the other trials go on
        kind = OUT_OF_MEMORY if isinstance(error, MemoryError) else RAISED
        failure = {"kind": kind, "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        yield {**report, "points": [], "failure": failure}


@contextmanager
def _watched(log: Path, seconds: float | None) -> Iterator[Callable[[], None]]:
    """Ends this process if what is yielded is not called for so long; every thread's stack is in `log` then.

    By a timer that needs no lock of Python's, so that code which never returns to the interpreter is ended too.
    """
    if seconds is None:
        yield lambda: None
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stacks:
        armed = 0.0

        def alive() -> None:
            nonlocal armed
            if (now := time.monotonic()) - armed > seconds / 10:  # not at every step: arming starts a thread
                armed = now
                faulthandler.dump_traceback_later(seconds, file=stacks, exit=True)

        alive()
        try:
            yield alive
        finally:
            faulthandler.cancel_dump_traceback_later()
            log.unlink(missing_ok=True)


def _points(snapshot: Snapshot) -> list[dict[str, Any]]:
    if not snapshot.metrics:
        return []
    return [{"step": snapshot.step, "time": int(time.time() * 1000), "metrics": snapshot.metrics}]
