"""How the engine's own costs grow: planning, skipping what is finished, reporting. Trials are made up, not trained.

    python -m benchmarks.scale [--shrink 10]

Three sizes each, every measurement in a process of its own (its peak memory is its own); the report also beside the
usual way, `search_runs` and `get_metric_history` per run and key. Results go to benchmarks/results/scale.csv and
scale.html.
"""

import json
import resource
import shutil
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from benchmarks.measuring import RESULTS, append, in_a_process
from orchestrator.report.reading import read_results
from orchestrator.report.results import Results
from orchestrator.report.writer import write_report
from orchestrator.study.plan import Plan, Trial, make_plan
from orchestrator.study.study import Factor, Layout, Preset, Study
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import ARM, FACTOR, KEY, SEED, Tracker
from studies.image_trainer import ImageTrainer

_POINTS = 200
_ARMS = 10  # of the trials that are recorded; seeds make up the number
_RATES = Study(
    name="scale",
    title="Learning rates, never trained",
    presets={"made_up": Preset({"dataset": "cifar10", "precision": "fp32"}, 1, "")},
    factors=(Factor("rate", {f"{index:04d}": {"learning_rate": 1e-4 * (index + 1)} for index in range(1000)}),),
)


def _plan(trials: int, arms: int = _ARMS) -> Plan:
    only = tuple(("rate", level) for level in list(_RATES.factors[0].levels)[:arms])
    return make_plan(_RATES, ImageTrainer(), "made_up", {}, tuple(range(trials // arms)), Layout(only=only))


def _points(trial: Trial, count: int) -> list[dict[str, Any]]:
    """Evaluations as a trial reports them."""
    labels = ("w025", "w050", "w075", "w100")
    base = 50 + int(trial.key[:4], 16) / 65536
    return [
        {
            "step": (index + 1) * 391,
            "time": 1_700_000_000_000 + index,
            "metrics": {
                **{f"test_acc/{label}": base + index / 10 + place for place, label in enumerate(labels)},
                **{f"test_loss/{label}": 2 - index / 200 for label in labels},
                **{f"updates/{label}": float(index * 98) for label in labels},
                **{
                    f"ledger/{unit}": float(index * 391)
                    for unit in ("updates", "passes", "samples", "macs", "forwards")
                },
                "test_acc_average": base + index / 10 + 1.5,
                "train_loss": 2 - index / 200,
            },
        }
        for index in range(count)
    ]


def _record(folder: Path, trials: int, points: int) -> None:
    """A store with finished runs: one written by the recorder, the others as copies of its rows and files."""
    plan = _plan(trials)
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    recorder = Recorder(tracker, plan, {"git.commit": "0" * 40, "version.torch": "0", "version.ray": "0"})
    first, *others = plan.trials
    weights = folder / "weights"
    weights.mkdir(parents=True)
    recorder.start(first, "CPU")
    recorder.finish(first, "finished", 1.0, _points(first, points), weights)
    (origin,) = tracker.trials(recorder.experiment, plan.base_key)
    with sqlite3.connect(folder / "mlflow.db") as database:
        for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
            _copy_rows(database, table, origin.run_id, others, points)
    artifacts = folder / "artifacts" / "scale"
    for trial in others:
        made = artifacts / _run_id(trial) / "artifacts"
        shutil.copytree(artifacts / origin.run_id / "artifacts", made)
        (made / "history.json").write_text(json.dumps({"points": _points(trial, points)}))


def _run_id(trial: Trial) -> str:
    return uuid.UUID(trial.key[:32]).hex


def _copy_rows(database: sqlite3.Connection, table: str, origin: str, trials: list[Trial], points: int) -> None:
    cursor = database.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (origin,))
    columns = [column[0] for column in cursor.description]
    originals = cursor.fetchall()

    def rows() -> Iterator[list[Any]]:
        for trial in trials:
            values = {
                metric: value for point in _points(trial, points)[-1:] for metric, value in point["metrics"].items()
            }
            tags = {KEY: trial.key, ARM: trial.arm.label, SEED: str(trial.seed), "mlflow.runName": trial.label}
            tags |= {f"{FACTOR}{name}": level for name, level in trial.arm.levels}
            for original in originals:
                row = dict(zip(columns, original, strict=True))
                row["run_uuid"] = _run_id(trial)
                if table == "runs":
                    row["artifact_uri"] = row["artifact_uri"].replace(origin, _run_id(trial))
                if table == "tags":
                    row["value"] = tags.get(row["key"], row["value"])
                if table == "latest_metrics":
                    row["value"] = values.get(row["key"], row["value"])
                yield list(row.values())

    places = ",".join("?" * len(columns))
    database.executemany(f"INSERT INTO {table} ({','.join(columns)}) VALUES ({places})", rows())


def plan_trials(folder: Path, trials: int) -> None:
    """Ten seeds of as many learning rates as it takes."""
    assert len(_plan(trials, arms=trials // 10).trials) == trials


def skip_finished(folder: Path, trials: int) -> None:
    """Asks a store of so many finished runs which are missing."""
    plan = _plan(trials)
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    experiment = tracker.experiment("scale", create=False)
    assert experiment is not None
    standings = tracker.standings(experiment, plan.base_key)
    assert not plan.missing(key for key, standing in standings.items() if standing.status == "FINISHED")


def report(folder: Path, trials: int) -> None:
    """The whole report, files included."""
    plan = _plan(trials)
    write_report(plan, _results(folder, plan), folder / "report")


def read(folder: Path, trials: int) -> None:
    """What the report reads: curves and everything else."""
    assert len(_results(folder, _plan(trials)).curves) == trials * 4 * _POINTS


def _results(folder: Path, plan: Plan) -> Results:
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    experiment = tracker.experiment("scale", create=False)
    assert experiment is not None
    return read_results(tracker, experiment, plan)


def read_the_usual_way(folder: Path, trials: int) -> None:
    """The same curves, and nothing else."""
    client = Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts").client
    experiment = client.get_experiment_by_name("scale")
    assert experiment is not None
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs([experiment.experiment_id], "tags.`study.role` = 'trial'", page_token=token)
        runs += page
        token = page.token
        if not token:
            break
    found = 0
    for run in runs:
        for label in ("w025", "w050", "w075", "w100"):
            found += len(client.get_metric_history(run.info.run_id, f"test_acc/{label}"))
    assert found == trials * 4 * _POINTS


def _measured(work: Callable[[Path, int], None], folder: Path, trials: int) -> tuple[float, float]:
    """Seconds without imports, and peak MB with them."""
    started = time.perf_counter()
    work(folder, trials)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--usual-rounds", default=1, show_default=True, help="Of the usual way to read, which takes minutes.")
@click.option("--shrink", default=1, show_default=True, help="Divides every size, for a look.")
def main(rounds: int, usual_rounds: int, shrink: int) -> None:
    """Measures and writes the results."""
    rows: list[dict[str, Any]] = []

    def measure(work: Callable[[Path, int], None], folder: Path, trials: int, rounds: int) -> None:
        found = [in_a_process(_measured, work, folder, trials) for _ in range(rounds)]
        rows.append(
            {
                "what": work.__name__,
                "trials": trials,
                "rounds": rounds,
                "median_seconds": round(statistics.median(seconds for seconds, _ in found), 3),
                "peak_megabytes": round(max(megabytes for _, megabytes in found)),
            }
        )
        append("scale", rows[-1:])

    for trials in (100, 1_000, 10_000):
        measure(plan_trials, Path(), trials // shrink, rounds)
    for trials in (100, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            _record(Path(folder), trials // shrink, points=1)
            measure(skip_finished, Path(folder), trials // shrink, rounds)
    for trials in (10, 100, 1_000):
        with tempfile.TemporaryDirectory() as folder:
            _record(Path(folder), max(10, trials // shrink), _POINTS)
            measure(report, Path(folder), max(10, trials // shrink), rounds)
            measure(read, Path(folder), max(10, trials // shrink), rounds)
            measure(read_the_usual_way, Path(folder), max(10, trials // shrink), usual_rounds)
    _plot(rows).write_html(RESULTS / "scale.html", include_plotlyjs="cdn")


def _plot(rows: list[dict[str, Any]]) -> go.Figure:
    figure = make_subplots(rows=1, cols=2, subplot_titles=("seconds", "peak MB"))
    for what in dict.fromkeys(row["what"] for row in rows):
        mine = [row for row in rows if row["what"] == what]
        for column, name in enumerate(("median_seconds", "peak_megabytes"), start=1):
            x, y = [row["trials"] for row in mine], [row[name] for row in mine]
            figure.add_scatter(x=x, y=y, name=what, legendgroup=what, showlegend=column == 1, row=1, col=column)
    figure.update_xaxes(type="log", title_text="trials")
    figure.update_yaxes(type="log")
    return figure


if __name__ == "__main__":
    main()
