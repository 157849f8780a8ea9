"""Does the fast loop learn what the reference loop learns? Both trained alike, several seeds, test accuracy per width.

    python -m benchmarks.same_accuracy [--passes 1600] [--batch 16] [--seeds 3] [--method SortedNet]…

Small batches, since some hundred updates of 128 images leave both at chance.

Same network, batch, learning rates, widths per step, passes and augmentation; random numbers are each one's own, so
two runs differ as two seeds do. Appended to benchmarks/results/same_accuracy.csv, a row per run and width.
"""

import random
import statistics
from typing import Any

import click
import torch
from torch import nn

from benchmarks import reference
from benchmarks.measuring import append
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.datasets import dataset
from trainers.data.images.arrays import ImageArrays
from trainers.training.schedule import learning_rate
from trainers.trials.images import resolve, train

_THREADS = 2


def config(method: str, norm: str, passes: int, batch: int) -> ImageTrialConfig:
    """The trial: its budget in passes."""
    settings = {"method": method, "norm": norm, "batch_size": batch, "equalize": "passes", "updates": passes // 4}
    return resolve({**settings, "evaluations": 1, "warmup": 0.1, "schedule_stages": 0})


def ours(trial: ImageTrialConfig, method: str, norm: str, seed: int, data: ImageArrays) -> dict[float, float]:
    """Accuracy by width."""
    *_, last = train(trial, seed, data, torch.device("cpu"))
    return {target["width"]: last.metrics[f"test_acc/{target.label}"] for target in trial.lattice}


def theirs(trial: ImageTrialConfig, method: str, norm: str, seed: int, data: ImageArrays) -> dict[float, float]:
    """Accuracy by width of the reference loop, with the same learning rates."""
    torch.manual_seed(seed)
    random.seed(seed)
    net = reference.network(norm).train()
    updates = trial.budget.amount // (1 if method == "SortedNet" else 4)
    rates = (learning_rate(trial, (step + 0.5) / updates) for step in range(updates))
    for _ in reference.steps(net, method, data, trial.task.batch_size, rates):
        pass
    return {width: accuracy(net.eval(), width, data) for width in reference.TARGETS}


def accuracy(net: nn.Module, width: float, data: ImageArrays) -> float:
    """On the whole test set, fp32."""
    reference.use_width(width)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (data.mean, data.std))
    correct = 0
    with torch.no_grad():
        for images, labels in zip(data.test_images.split(250), data.test_labels.split(250), strict=True):
            correct += int((net((images / 255 - mean) / std).argmax(1) == labels).sum())
    return 100 * correct / len(data.test_labels)


@click.command()
@click.option("--passes", default=1600, show_default=True)
@click.option("--batch", default=16, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--method", "methods", multiple=True, default=("SortedNet", "NS"), show_default=True)
def main(passes: int, batch: int, seeds: int, methods: tuple[str, ...]) -> None:
    """Trains and compares."""
    torch.set_num_threads(_THREADS)
    data = dataset("cifar10").load(None)
    for method in methods:
        for norm in ("instance", "batch"):
            trial = config(method, norm, passes, batch)
            rows: list[dict[str, Any]] = []
            for seed in range(seeds):
                for side, measured in (("ours", ours), ("reference", theirs)):
                    for width, found in measured(trial, method, norm, seed, data).items():
                        rows.append({"method": method, "norm": norm, "passes": passes, "seed": seed, "side": side})
                        rows[-1]["batch"] = batch
                        rows[-1] |= {"width": width, "accuracy": round(found, 2)}
            append("same_accuracy", rows)
            for side in ("ours", "reference"):
                by_seed = [
                    statistics.mean(row["accuracy"] for row in rows if (row["side"], row["seed"]) == (side, seed))
                    for seed in range(seeds)
                ]
                print(f"{method}, {norm}, {side}: {statistics.mean(by_seed):.2f} ± {statistics.stdev(by_seed):.2f}")


if __name__ == "__main__":
    main()
