"""The binding of the training loop to the orchestrator."""

import multiprocessing
import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from orchestrator.run.packing import heaviest
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Layout
from orchestrator.testing.trainer_contract import TrainerContract
from orchestrator.trainer import Place, Trainer
from studies.cifar_norm_ablation import STUDY
from studies.image_trainer import ImageTrainer
from tests.conftest import TINY
from tests.trainers.own_tables import put_back
from trainers.data.datasets import Dataset, dataset, register
from trainers.data.images.arrays import ImageArrays
from trainers.errors import ConfigError

HERE = Place(1, gpu=False, data=None)


class TestImageTrainer(TrainerContract):
    @pytest.fixture
    def trainer(self) -> Trainer:
        return ImageTrainer()

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {**TINY, "updates": 3, "evaluations": 2, "batch_size": 4, "widths": [0.5, 1.0]}

    @pytest.fixture
    def bad_settings(self) -> list[dict[str, Any]]:
        return [{"updates": 0}, {"widths": [0.5]}, {"dataset": "digit"}, {"method": "SortdNet"}]


@pytest.mark.parametrize("left_out", [{"interim_examples": 20}, {"interim_sub_models": 1}])
def test_where_evaluations_leave_something_out_it_reports_and_resumes_as_it_declares(
    left_out: dict[str, int], tmp_path: Path
) -> None:
    suite, trainer = TrainerContract(), ImageTrainer()
    config = trainer.resolve(
        {
            **TINY,
            "updates": 3,
            "evaluations": 2,
            "batch_size": 4,
            "evaluates_start": True,
            "widths": [0.5, 1.0],
            **left_out,
        }
    )
    assert trainer.declaration.interim(config)
    suite.test_metrics_are_those_declared_and_every_one_is_a_number(trainer, config, HERE)
    suite.test_resumed_from_any_snapshot_a_trial_ends_with_the_same_metrics(trainer, config, HERE, tmp_path)


def test_the_arm_whose_steps_take_most_stands_for_all_in_a_packing() -> None:
    plan = make_plan(STUDY, ImageTrainer(), "smoke", {}, (0,), Layout())
    assert heaviest(ImageTrainer(), plan.trials).arm.label.startswith("LCS-p")  # 1.96 times the whole; NS: 1.88
    others = [trial for trial in plan.trials if "LCS-p" not in trial.arm.label]
    assert heaviest(ImageTrainer(), others[::-1]).arm.label.startswith("NS")


def test_it_names_the_versions_of_all_it_computes_with() -> None:
    versions = ImageTrainer().versions()
    assert versions.keys() == {"torch", "torchvision", "triton", "cuda", "cudnn", "scikit-learn"}
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]


def train_with_little_memory() -> str:
    """Trains on all images at once with room for a fraction of that; says how it ended."""
    trainer = ImageTrainer()
    config = trainer.resolve({**TINY, "batch_size": 1400})
    next(iter(trainer.fit(trainer.resolve(TINY), 0, HERE, None)))  # libraries take their memory
    limit = psutil.Process().memory_info().vms + (96 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        list(trainer.fit(config, 0, HERE, None))
    except MemoryError as error:
        return f"out of memory: {error}"
    return "trained"


def test_memory_refused_to_the_processor_is_out_of_memory() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        assert fresh.submit(train_with_little_memory).result().startswith("out of memory")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(torch.OutOfMemoryError("CUDA out of memory"), MemoryError), (RuntimeError("shapes differ"), RuntimeError)],
)
def test_memory_refused_by_a_gpu_is_out_of_memory_and_nothing_else_is(
    raised: Exception, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> Iterator[None]:
        yield from ()
        raise raised

    monkeypatch.setattr("trainers.training.loop.fit", failing)
    trainer = ImageTrainer()
    with pytest.raises(Exception, match=str(raised)) as caught:
        list(trainer.fit(trainer.resolve(TINY), 0, HERE, None))
    assert caught.type is expected


@pytest.fixture
def registered() -> Iterator[str]:
    """The name of a data set that nothing else knows: 24 images of noise in three classes."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (24, 2, 8, 8), generator=generator, dtype=torch.uint8)
    arrays = ImageArrays(pixels, torch.arange(24) % 3, pixels[:9], torch.arange(9) % 3, (0.5,) * 2, (0.3,) * 2, "noise")
    source = Dataset(
        (2, 8, 8), 3, 9, 1, False, lambda: "noise", lambda: ((0.5,) * 2, (0.3,) * 2), print, lambda _: arrays
    )
    with put_back():
        register("noise of a test", source)
        yield "noise of a test"


def test_a_registered_data_set_needs_no_edit_elsewhere(registered: str) -> None:
    trainer = ImageTrainer()
    config = trainer.resolve({**TINY, "dataset": registered, "batch_size": 4, "updates": 1, "evaluations": 1})
    trainer.prepare(config, HERE)
    assert trainer.data_checksum(config, None) == "noise"
    assert len(trainer.costs(config)) == 4
    assert trainer.seconds(config, HERE) > 0
    *_, last = trainer.fit(config, 0, HERE, None)
    assert 0 <= last.metrics["test_acc_average"] <= 100
    with pytest.raises(ConfigError, match="is there already"):
        register(registered, dataset("digits"))
