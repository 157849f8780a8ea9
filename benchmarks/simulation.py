"""2,000 trials on resources that are not there, of every kind of failure 5 % at random: done, complete, in what memory.

    python -m benchmarks.simulation [--trials 2000] [--cpus 8]

A trial's first attempt, drawn by its key, raises, runs out of memory, loses its process, hangs, or diverges. The
driver's memory is sampled as trials finish; appended to benchmarks/results/simulation.csv, drawn in simulation.html.
"""

import logging
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import plotly.express as px
import psutil
from rich.console import Console

from benchmarks.measuring import append, in_a_process
from benchmarks.noop import STUDY, Failing, fault

_STALL = 3.0
_PARTS = 256  # points of the plot


def simulate(trials: int, cpus: int, folder: Path) -> list[tuple[int, int]]:
    """Runs them; gives the driver's memory in bytes by the number of finished trials."""
    import ray

    from orchestrator.run.execution import Execution
    from orchestrator.run.progress import Progress
    from orchestrator.run.resources import Resources
    from orchestrator.run.tune_executor import TuneExecutor
    from orchestrator.study.plan import make_plan
    from orchestrator.study.study import Layout
    from orchestrator.track.recorder import Recorder
    from orchestrator.track.tracker import Tracker

    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # its table
    marks = folder / "marks"
    marks.mkdir()
    arms = 200
    only = tuple(("arm", level) for level in list(STUDY.factors[0].levels)[:arms])
    trainer = Failing(folder=str(marks))
    plan = make_plan(STUDY, trainer, "none", {}, tuple(range(trials // arms)), Layout(only=only))
    recorder = Recorder(Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts"), plan, {})
    memory: list[tuple[int, int]] = []
    process = psutil.Process()

    class Sampled(Progress):
        def ended(self, *arguments: Any) -> None:
            super().ended(*arguments)
            done = len(recorder.finished)
            if not memory or done >= memory[-1][0] + max(1, trials // _PARTS):
                memory.append((done, process.memory_info().rss))

    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        with Path(os.devnull).open("w") as nowhere:
            executor = TuneExecutor(STUDY.name, folder / "ray")
            resources, slots = executor.allot(Resources())
            progress = Sampled(plan, Console(file=nowhere), slots)
            execution = Execution(
                executor, trainer, recorder, progress, folder, None, threads=1, patience=60, stall=_STALL
            )
            failed = execution.run(plan.trials, resources)
    finally:
        ray.shutdown()
    assert not failed, failed
    found = recorder.tracker.trials(recorder.experiment, plan.base_key)
    assert {trial.key for trial in found} == {trial.key for trial in plan.trials}
    assert len(found) == len(plan.trials)
    wrong = Counter(fault(trial.config["index"], trial.seed) for trial in plan.trials)
    assert Counter(trial.tags["outcome"] for trial in found)["diverged"] == wrong["nan"]
    print(f"{len(plan.trials)} trials, all finished; first attempts that failed: {dict(wrong)}")
    memory.append((len(recorder.finished), process.memory_info().rss))
    return memory


def _simulate(trials: int, cpus: int) -> list[tuple[int, int]]:
    with tempfile.TemporaryDirectory() as folder:
        return simulate(trials, cpus, Path(folder))


@click.command()
@click.option("--trials", default=2000, show_default=True)
@click.option("--cpus", default=8, show_default=True, help="That Ray believes in.")
def main(trials: int, cpus: int) -> None:
    """Simulates, draws and appends to the results."""
    started = time.perf_counter()
    memory = in_a_process(_simulate, trials, cpus)
    seconds = time.perf_counter() - started
    (first, before), (last, after) = memory[len(memory) // 10], memory[-1]
    row = {"trials": trials, "cpus": cpus, "seconds": round(seconds), "memory_mb": round(after / 1e6)}
    row["kb_per_trial"] = round((after - before) / max(1, last - first) / 1e3)
    append("simulation", [row])
    figure = px.line(
        x=[done for done, _ in memory],
        y=[size / 1e6 for _, size in memory],
        labels={"x": "finished trials", "y": "driver's memory, MB"},
    )
    figure.write_html(Path(__file__).parent / "results" / "simulation.html", include_plotlyjs="cdn")


if __name__ == "__main__":
    main()
