"""Holds out the last 2,000 training images and trains one arm on the rest: how the recipe of `quick` is chosen.

    python benchmarks/choose_quick.py batch_size=16 learning_rate=0.1 norm=instance updates=2500

The test set is never looked at. Prints elapsed seconds and accuracy per width at each evaluation.
"""

import sys
import time

import torch

from orchestrator.commands.numbers import setting
from studies.presets import QUICK
from trainers.data.datasets import dataset
from trainers.trials.images import resolve, train

_HELD_OUT = 2_000


def main() -> None:
    """Trains on one thread with the settings given over those of `quick`."""
    torch.set_num_threads(1)
    given = dict(setting(argument) for argument in sys.argv[1:])
    config = resolve({**QUICK.settings, "equalize": "updates", "interim_examples": None, **given})
    data = dataset(config.task.dataset).load(None).hold_out(_HELD_OUT)
    started = time.perf_counter()
    for snapshot in train(config, 0, data, torch.device("cpu")):
        if snapshot.metrics:
            found = {target.label: round(snapshot.metrics[f"test_acc/{target.label}"], 1) for target in config.lattice}
            print(f"{time.perf_counter() - started:.0f} s, update {snapshot.step}: {found}", flush=True)


if __name__ == "__main__":
    main()
