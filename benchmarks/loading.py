"""From data to the first batch: cached, and fetched anew.

    python -m benchmarks.loading [--rounds 5]

Each measurement in a process of its own, after its imports. Results are appended to benchmarks/results/loading.csv.
"""

import statistics
import tempfile
import time
from pathlib import Path

import click
import torch

from benchmarks.measuring import append, in_a_process
from trainers.data.datasets import dataset
from trainers.tasks.images import ImageClassification


def first_batch() -> float:
    """Verified arrays from the cache, moved to where batches are made, and one augmented batch of 128."""
    started = time.perf_counter()
    task = ImageClassification(dataset("cifar10").load(None), 128, 0, torch.device("cpu"), 4, True)
    task.gather(task.selection(0))
    return time.perf_counter() - started


def fetched() -> float:
    """Fetched from the first source that answers into an empty folder, and verified."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        dataset("cifar10").load(Path(folder))
        return time.perf_counter() - started


@click.command()
@click.option("--rounds", default=5, show_default=True)
def main(rounds: int) -> None:
    """Measures and appends to the results."""
    dataset("cifar10").load(None)
    for work in (first_batch, fetched):
        found = [in_a_process(work) for _ in range(rounds)]
        row = {
            "what": work.__name__,
            "rounds": rounds,
            "median_seconds": round(statistics.median(found), 3),
            "least": round(min(found), 3),
            "greatest": round(max(found), 3),
        }
        append("loading", [row])


if __name__ == "__main__":
    main()
