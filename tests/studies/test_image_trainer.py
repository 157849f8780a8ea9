"""The binding of the training loop to the orchestrator."""

import multiprocessing
import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import psutil
import pytest
import torch

from orchestrator.trainer import Place
from studies import image_trainer
from studies.image_trainer import ImageTrainer
from tests.conftest import TINY

HERE = Place(1, gpu=False, data=None)


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
        yield None
        raise raised

    monkeypatch.setattr(image_trainer, "train", failing)
    trainer = ImageTrainer()
    with pytest.raises(Exception, match=str(raised)) as caught:
        list(trainer.fit(trainer.resolve(TINY), 0, HERE, None))
    assert caught.type is expected
