"""What runs where a trial runs: one trial, from its newest checkpoint to its end, saying how far it is.

It knows nobody who listens: a worker of Ray's hands its reports to Tune, `--debug` reads them in the same process.
An exception of the trial's own code is a result, reported with its traceback; only the loss of the process or the
node is more than a report. A trial that hangs loses its process: it says where it hung and ends it.
"""

import faulthandler
import math
import time
import traceback
from bdb import BdbQuit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.run.checkpoints import DIVERGED, FINISHED, CheckpointFolder
from orchestrator.run.legible import legible, what_it_says
from orchestrator.run.points import measured, share_done, whole_step
from orchestrator.trainer import Place, Snapshot, Trainer

OUT_OF_MEMORY, RAISED = "out of memory", "raised"
STALLED = "stalled.txt"
_REPORT_SECONDS, _CHECKPOINT_SECONDS = 2.0, 60.0
_DEVICE_CHARACTERS = 500


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


def train(
    context: WorkerContext, key: str, config: Mapping[str, Any], seed: int, labels: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Trains a trial, keeping its state in the folder of its key, and yields what there is to report.

    Args:
        labels: of the sub-models that its last evaluation is to be of.

    Yields:
        `step`, `progress` (0 to 1), `seconds` of this attempt, `device`, `passed_over` (unusable checkpoints), the new
        `points` (step, time, metrics) and, of the last, `final` with `diverged`, or `failure` (kind, error, traceback).
        The first one `starts`: its points are all that the checkpoint holds. What a trainer does after its final
        snapshot is not waited for, and a trial whose checkpoint is final is not handed to it again.

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
        before = checkpoint.seconds if checkpoint else 0.0
        report |= {"step": checkpoint.step if checkpoint else 0, "passed_over": checkpoints.passed_over}
        report |= {"device": legible(context.trainer.device_name(context.place), _DEVICE_CHARACTERS)}
        yield {**report, "points": history, "starts": True}
        if checkpoint and checkpoint.outcome:  # it is finished, for another study or another store
            ended = {"progress": 1.0, "final": True, "diverged": checkpoint.outcome == DIVERGED, "seconds": before}
            yield {**report, **ended, "steps_done": 0, "points": []}
            return
        first_step, resume_from = report["step"], checkpoint.directory if checkpoint else None
        saved = reported = time.monotonic()
        with _watched(checkpoints.folder / STALLED, context.stall) as alive:
            for snapshot in context.trainer.fit(config, seed, context.place, resume_from):
                alive()
                now = time.monotonic()
                final = bool(snapshot.final)
                due = final or bool(snapshot.metrics)
                if not due and now - min(saved, reported) < _REPORT_SECONDS:
                    continue
                step, points = whole_step(snapshot.step), _points(snapshot)
                history.extend(points)
                diverged = final and (bool(snapshot.diverged) or not _is_measured(context.trainer, labels, history))
                if due or now - saved > _CHECKPOINT_SECONDS:
                    outcome = (DIVERGED if diverged else FINISHED) if final else ""
                    checkpoints.save(step, history, snapshot.save, before + now - started, outcome)
                    saved = time.monotonic()
                if due or now - reported > _REPORT_SECONDS:
                    report |= {
                        "step": step,
                        "steps_done": step - first_step,
                        "progress": share_done(snapshot.progress, step),
                        "seconds": now - started,
                        "final": final,
                        "diverged": diverged,
                    }
                    yield {**report, "points": points}
                    reported = time.monotonic()
                if final:
                    break
    except (BdbQuit, KeyboardInterrupt, GeneratorExit):  # of whoever looks on, not of the trial
        raise
    except BaseException as error:  # a cancelled task or an exit, too: by name, with its traceback; the others go on
        kind = OUT_OF_MEMORY if isinstance(error, MemoryError) else RAISED
        trace = legible("".join(traceback.format_exception(error)))
        yield {**report, "points": [], "failure": {"kind": kind, "error": what_it_says(error), "traceback": trace}}


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
    step = whole_step(snapshot.step)
    return [{"step": step, "time": int(time.time() * 1000), "metrics": measured(snapshot.metrics, step)}]


def _is_measured(trainer: Trainer, labels: Sequence[str], history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a trial at its end has a finite primary metric of every sub-model.

    Raises:
        ValueError: it has none at all of one of them.
    """
    last = history[-1]["metrics"] if history else {}
    names = [f"{trainer.declaration.primary.name}/{label}" for label in labels]
    if lacking := [name for name in names if name not in last]:
        raise ValueError(f"its last evaluation lacks {lacking[0]}, which the trainer declares")
    return all(math.isfinite(last[name]) for name in names)
