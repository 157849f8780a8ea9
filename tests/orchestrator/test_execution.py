"""What runs trials may itself fail: the study ends in one line, its runs as resumable."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.noop import STUDY, NoopTrainer
from orchestrator.errors import Stopped
from orchestrator.run.attempts import Attempts
from orchestrator.run.cluster import cluster
from orchestrator.run.execution import Execution, Executor
from orchestrator.run.in_process_executor import InProcessExecutor
from orchestrator.run.progress import Progress
from orchestrator.run.resources import Resources
from orchestrator.run.tune_executor import TuneExecutor
from orchestrator.run.worker import WorkerContext, train
from orchestrator.study.plan import Plan, Trial, make_plan
from orchestrator.study.study import Layout
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import Tracker

TWO = Layout(only=(("arm", "000"), ("arm", "001")))


class Breaking(InProcessExecutor):
    """Runs the first trial to its end, begins the second, and fails as Tune does for a callback's error."""

    def run(self, trials: Sequence[Trial], share: Resources, context: WorkerContext, attempts: Attempts) -> None:
        super().run(trials[:1], share, context, attempts)
        second = trials[1]
        attempts.reported(second, next(train(context, second.key, second.config, second.seed)))
        try:
            raise KeyError("what nobody foresaw")
        except KeyError as error:
            raise RuntimeError("Traceback (most recent call last): ...\n  a line") from error


class BreakingProgress(Progress):
    """Fails in Tune's processing of a result."""

    def update(self, trial: Trial, report: Mapping[str, Any]) -> None:
        if trial.arm.label == "001":
            raise KeyError("what nobody foresaw")
        super().update(trial, report)


@pytest.fixture
def ray_here() -> Iterator[None]:
    with cluster(None, print):
        yield


def stopped(executor: Executor, kind: type[Progress], folder: Path) -> list[str]:
    """How runs stand once the study has been stopped: of its trials, then of the base config."""
    trainer = NoopTrainer()
    plan: Plan = make_plan(STUDY, trainer, "none", {}, (0,), TWO)
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    recorder = Recorder(tracker, plan, {})
    with (folder / "log").open("w") as log:
        progress = kind(plan, Console(file=log), 1)
        execution = Execution(executor, trainer, recorder, progress, folder, None, threads=1, patience=60, stall=600)
        with pytest.raises(Stopped) as told:
            execution.run(plan.trials, Resources(1, 0.0, 1))
    assert "what runs the trials failed (KeyError: 'what nobody foresaw'; its traceback is in " in str(told.value)
    assert "\n" not in str(told.value)
    assert "raise KeyError" in (folder / "stopped.txt").read_text()
    statuses = {trial.tags["arm"]: trial.status for trial in tracker.trials(recorder.experiment, plan.base_key)}
    parent = tracker.parent(recorder.experiment, plan.base_key)
    assert parent is not None
    return [*(statuses[arm] for arm in sorted(statuses)), parent.info.status]


def test_an_executor_that_fails_leaves_its_runs_resumable_and_says_so_in_one_line(tmp_path: Path) -> None:
    assert stopped(Breaking(), Progress, tmp_path) == ["FINISHED", "KILLED", "KILLED"]


def test_what_a_callback_raises_under_tune_ends_the_study_in_the_same_way(ray_here: None, tmp_path: Path) -> None:
    executor = TuneExecutor(STUDY.name, tmp_path / "ray")
    assert stopped(executor, BreakingProgress, tmp_path) == ["FINISHED", "KILLED", "KILLED"]
