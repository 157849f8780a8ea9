"""How many trials at once, and on which GPU: real Ray with GPUs that it merely believes in."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from rich.console import Console

from benchmarks.noop import STUDY, NoopTrainer, Nothing
from orchestrator.run.execution import Execution
from orchestrator.run.packing import choose
from orchestrator.run.progress import Progress
from orchestrator.run.resources import Resources
from orchestrator.run.tune_executor import TuneExecutor
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Layout
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import DEVICE, Tracker
from orchestrator.trainer import Place
from tests.orchestrator.measured import Measured, Sharing

PLACE = Place(threads=1, gpu=False, data=None)


@dataclass(frozen=True)
class WhichGpu(NoopTrainer):
    """Says which GPU it has, and keeps it until four trials have begun, as files in `folder` say."""

    folder: str

    def device_name(self, place: Place) -> str:
        return str(ray.get_gpu_ids())

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Nothing]:
        begun = Path(self.folder)
        (begun / str(config["index"])).touch()
        while len(list(begun.iterdir())) < 4:
            time.sleep(0.05)
            yield Nothing(0, 0.0, final=False)
        yield from super().fit(config, seed, place, resume_from)


@pytest.fixture
def four_cores() -> Iterator[None]:
    ray.init("local", num_cpus=4, num_gpus=0, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def four_gpus() -> Iterator[None]:
    ray.init("local", num_cpus=8, num_gpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_on_cpu_the_packing_that_does_most_in_the_memory_there_is_wins(four_cores: None) -> None:
    said: list[str] = []
    best = choose(Measured({4: 10.0, 2: 6.0, 1: 2.0}), {}, PLACE, 1.0, said.append)
    assert (best.trials, best.cpus, best.gpus, best.rate) == (2, 2.0, 0.0, 12.0)
    assert [line.partition(" ")[0] for line in said] == ["1", "2", "4"]
    crowded = choose(Measured({4: 10.0, 2: 6.0, 1: 5.0}, memory=30), {}, PLACE, 1.0, said.append)
    assert crowded.trials == 2  # four would do 20 passes per second in 120 of 100 bytes
    assert said[-1].endswith("too much")


def test_on_a_gpu_more_than_one_trial_must_win_by_a_tenth(four_gpus: None) -> None:
    alike = choose(Measured({2: 10.0}), {}, PLACE, 2.0, lambda line: None)
    assert (alike.trials, alike.cpus) == (4, 2.0)  # nothing lost by sharing: as many as are tried

    taking_turns = choose(Sharing({}), {}, PLACE, 1.0, lambda line: None)
    assert (taking_turns.trials, taking_turns.gpus) == (1, 1.0)


def test_trials_with_half_a_gpu_take_one_each_before_two_share_one(four_gpus: None, tmp_path: Path) -> None:
    only = tuple(("arm", level) for level in list(STUDY.factors[0].levels)[:6])
    (tmp_path / "begun").mkdir()
    trainer = WhichGpu(str(tmp_path / "begun"))
    plan = make_plan(STUDY, trainer, "none", {}, (0,), Layout(only=only))
    tracker = Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    recorder = Recorder(tracker, plan, {})
    with (tmp_path / "log").open("w") as log:
        executor = TuneExecutor(STUDY.name, tmp_path / "ray")
        resources, slots = executor.allot(Resources(cpus=1, gpus=0.5))
        assert slots == 8
        progress = Progress(plan, Console(file=log), slots)
        execution = Execution(executor, trainer, recorder, progress, tmp_path, None, threads=1, patience=60, stall=600)
        failed = execution.run(plan.trials, resources)
    assert not failed
    devices = [trial.tags[DEVICE] for trial in tracker.trials(recorder.experiment, plan.base_key)]
    assert len(devices) == 6
    assert len(set(devices[:4])) == 4
