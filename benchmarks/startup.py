"""From the command line to the first training step of a study on CIFAR-10, its data in the cache.

    python -m benchmarks.startup [--rounds 5]

Runs itself as the study: the Table 1 study with a trainer that leaves a mark once its first step is done. Appended to
benchmarks/results/startup.csv.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measuring import append
from orchestrator.commands.command_line import main as study_main
from orchestrator.trainer import Place, Snapshot
from studies.cifar_norm_ablation import STUDY
from studies.image_trainer import ImageTrainer
from trainers.data.datasets import dataset

_MARK = "FIRST_STEP_MARK"
_PATIENCE = 120.0


class Marking(ImageTrainer):
    """Writes the file named by the environment once a step is done."""

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Snapshot]:
        for snapshot in super().fit(config, seed, place, resume_from):
            Path(os.environ[_MARK]).touch()
            yield snapshot


def seconds_to_first_step() -> float:
    """Starts the study, waits for the mark and ends it."""
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / "mark"
        command = [sys.executable, "-m", "benchmarks.startup", "run", "--storage", folder]
        started = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, _MARK: str(mark)}, stdout=subprocess.DEVNULL)
        while not mark.exists() and time.perf_counter() - started < _PATIENCE:
            time.sleep(0.01)
        seconds = time.perf_counter() - started
        process.send_signal(signal.SIGINT)  # so that Ray ends too, and leaves the next round alone
        process.wait()
    return seconds


def measure(rounds: int) -> None:
    """Measures and appends to the results."""
    dataset("cifar10").load(None)
    found = [seconds_to_first_step() for _ in range(rounds)]
    row = {"rounds": rounds, "median_seconds": round(statistics.median(found), 2)}
    append("startup", [{**row, "least": round(min(found), 2), "greatest": round(max(found), 2)}])


if __name__ == "__main__":
    if _MARK in os.environ:
        study_main(STUDY, Marking())
    measure(int(sys.argv[2]) if sys.argv[1:2] == ["--rounds"] else 5)
