"""What runs on a worker: one trial, from its newest checkpoint to its end, reporting to the driver.

An exception of the trial's own code is a result, reported with its traceback; only the loss of the process or the
node reaches Tune as an error, so only that is retried.
"""

import time
import traceback
from pathlib import Path
from typing import Any

from ray import tune

from orchestrator.checkpoints import CheckpointFolder
from orchestrator.trainer import Place, Snapshot, Trainer

_REPORT_SECONDS, _CHECKPOINT_SECONDS = 2.0, 60.0


def run_trial(task: dict[str, Any], trainer: Trainer, place: Place, folder: str) -> None:
    """Trains the trial described by `task["trial"]` (key, config, seed), keeping its state under `folder`/key."""
    trial = task["trial"]
    started = time.monotonic()
    checkpoints = CheckpointFolder(Path(folder) / trial["key"])
    checkpoint = checkpoints.latest()
    history = checkpoint.history if checkpoint else []
    report: dict[str, Any] = {
        "step": checkpoint.step if checkpoint else 0,
        "progress": 0.0,
        "seconds": 0.0,
        "passed_over": checkpoints.passed_over,
        "device": trainer.device_name(place),
    }
    tune.report({**report, "points": history})
    try:
        first_step = report["step"]
        saved = reported = time.monotonic()
        for snapshot in trainer.fit(
            trial["config"], trial["seed"], place, checkpoint.directory if checkpoint else None
        ):
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
                tune.report({**report, "points": points})
                reported = time.monotonic()
    except Exception as error:  # reported by name, with its traceback; the other trials go on
        failure = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        tune.report({**report, "points": [], "failure": failure})


def _points(snapshot: Snapshot) -> list[dict[str, Any]]:
    if not snapshot.metrics:
        return []
    return [{"step": snapshot.step, "time": int(time.time() * 1000), "metrics": snapshot.metrics}]
