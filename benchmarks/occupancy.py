"""How busy the slots of a study are: trials of one minute that only wait, and the share of slot time they fill.

    python -m benchmarks.occupancy [--trials 24] [--seconds 60]

From the first trial handed to Ray to the last one finished; a slot is busy only while a trial waits, so workers that
start, checkpoints, reports and MLflow all count as idle. Appended to benchmarks/results/occupancy.csv.
"""

import os
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from benchmarks.measuring import append
from benchmarks.noop import STUDY, NoopTrainer
from orchestrator.run.cluster import cluster
from orchestrator.run.execution import Execution
from orchestrator.run.progress import Progress
from orchestrator.run.resources import Resources
from orchestrator.run.tune_executor import TuneExecutor
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Layout
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import Tracker


@click.command()
@click.option("--trials", default=24, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
def main(trials: int, seconds: float) -> None:
    """Runs the study and measures."""
    only = tuple(("arm", level) for level in list(STUDY.factors[0].levels)[:trials])
    plan = make_plan(STUDY, NoopTrainer(), "none", {"seconds": seconds}, (0,), Layout(only=only))
    with tempfile.TemporaryDirectory() as made, cluster(None, print), Path(os.devnull).open("w") as nowhere:
        folder = Path(made)
        recorder = Recorder(Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts"), plan, {})
        executor = TuneExecutor(STUDY.name, folder / "ray")
        resources, slots = executor.allot(Resources())
        progress = Progress(plan, Console(file=nowhere), slots)
        started = time.perf_counter()
        execution = Execution(
            executor, NoopTrainer(), recorder, progress, folder, None, threads=1, patience=60, stall=600
        )
        failed = execution.run(plan.trials, resources)
        wall = time.perf_counter() - started
    assert not failed
    row = {"trials": trials, "slots": slots, "seconds_each": seconds, "wall_seconds": round(wall, 1)}
    append("occupancy", [{**row, "busy_per_cent": round(100 * trials * seconds / (slots * wall), 2)}])


if __name__ == "__main__":
    main()
