"""What the engine costs beside the trials: milliseconds per trial that does nothing, beside bare Ray Tune.

    python -m benchmarks.orchestration [--trials 200] [--rounds 5]

The three run in turns, each in a process of its own: ours (planned, tracked in MLflow with its artifacts,
checkpointed), Tune as it is, and Tune with reused workers and without file loggers. Ours is timed from the first
trial's start to the last one's end, as Tune's `fit` is. Results are appended to benchmarks/results/orchestration.csv.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

import click

from benchmarks.measuring import append, in_a_process
from benchmarks.noop import STUDY, NoopTrainer, report_once
from orchestrator.run.cluster import cluster
from orchestrator.run.execution import Execution
from orchestrator.run.progress import Progress
from orchestrator.run.resources import Resources
from orchestrator.run.tune_executor import TuneExecutor
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Layout


def ours(trials: int, folder: Path) -> float:
    """Seconds for the study."""
    from rich.console import Console

    from orchestrator.track.recorder import Recorder
    from orchestrator.track.tracker import Tracker

    only = tuple(("arm", level) for level in list(STUDY.factors[0].levels)[:trials])
    plan = make_plan(STUDY, NoopTrainer(), "none", {}, (0,), Layout(only=only))
    recorder = Recorder(Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts"), plan, {})
    with cluster(None, print), Path(os.devnull).open("w") as nowhere:
        executor = TuneExecutor(STUDY.name, folder / "ray")
        resources, slots = executor.allot(Resources())
        progress = Progress(plan, Console(file=nowhere), slots)
        started = time.perf_counter()
        execution = Execution(
            executor, NoopTrainer(), recorder, progress, folder, None, threads=1, patience=60, stall=600
        )
        failed = execution.run(plan.trials, resources)
        seconds = time.perf_counter() - started
    assert not failed
    assert len(recorder.finished) == trials
    return seconds


def tune_as_it_is(trials: int, folder: Path) -> float:
    """Seconds of `Tuner.fit` with nothing set."""
    return _bare(trials, folder, reuse=False)


def tune_reusing(trials: int, folder: Path) -> float:
    """Seconds of `Tuner.fit` with workers reused and no file loggers."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "3600"
    return _bare(trials, folder, reuse=True)


def _bare(trials: int, folder: Path, reuse: bool) -> float:
    import ray
    from ray import tune

    with cluster(None, print):
        tuner = tune.Tuner(
            tune.with_resources(report_once, {"cpu": 1}),
            param_space={"index": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=reuse, max_concurrent_trials=int(ray.cluster_resources()["CPU"])),
            run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
        )
        started = time.perf_counter()
        tuner.fit()
        return time.perf_counter() - started


def _seconds(name: str, trials: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return {"ours": ours, "tune": tune_as_it_is, "tune, reusing": tune_reusing}[name](trials, Path(folder))


@click.command()
@click.option("--trials", default=200, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--plain-rounds", default=1, show_default=True, help="Of Tune as it is, which takes a second a trial.")
def main(trials: int, rounds: int, plain_rounds: int) -> None:
    """Measures and appends to the results."""
    seconds: dict[str, list[float]] = {"ours": [], "tune, reusing": [], "tune": []}
    for turn in range(rounds):
        for name, found in seconds.items():
            if name != "tune" or turn < plain_rounds:
                found.append(in_a_process(_seconds, name, trials))
                print(f"{name}: {1000 * found[-1] / trials:.1f} ms per trial", flush=True)
    rows = [
        {
            "what": name,
            "trials": trials,
            "rounds": len(found),
            "median_ms_per_trial": round(1000 * statistics.median(found) / trials, 1),
            "least": round(1000 * min(found) / trials, 1),
            "greatest": round(1000 * max(found) / trials, 1),
        }
        for name, found in seconds.items()
        if found
    ]
    append("orchestration", rows)


if __name__ == "__main__":
    main()
