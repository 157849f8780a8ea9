"""A worker that has run other trials runs the next one as a fresh worker would."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from orchestrator.trainer import Place
from studies.image_trainer import ImageTrainer
from tests.conftest import TINY

Run = tuple[dict[str, Any], int, int]  # settings, seed, threads

RUNS: list[Run] = [
    ({"method": "SortedNet", "norm": "batch", "precision": "bf16"}, 0, 1),
    ({"method": "LCS-p", "norm": "instance", "updates": 6}, 1, 2),
    ({"method": "Extracted-tuned", "norm": "batch-recalibrated", "updates": 6, "deterministic": True}, 0, 1),
    ({"method": "NS", "norm": "group", "precision": "bf16", "updates": 4}, 2, 2),
    ({"method": "US-distilled", "norm": "batch", "sampler": "sandwich(3)", "updates": 6}, 0, 1),
]


def last_metrics(runs: list[Run]) -> list[dict[str, float]]:
    """What every trial ends with, one after the other in this process."""
    trainer, found = ImageTrainer(), []
    for settings, seed, threads in runs:
        config = trainer.resolve({**TINY, "evaluations": 1, **settings})
        *_, last = trainer.fit(config, seed, Place(threads, gpu=False, data=None), None)
        found.append(last.metrics)
    return found


def in_a_fresh_process(runs: list[Run]) -> list[dict[str, float]]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(last_metrics, runs).result()


def test_trials_in_any_order_on_fresh_or_reused_workers_give_identical_results() -> None:
    alone = [metrics for run in RUNS for metrics in in_a_fresh_process([run])]
    assert in_a_fresh_process(RUNS) == alone
    assert in_a_fresh_process(RUNS[::-1]) == alone[::-1]
