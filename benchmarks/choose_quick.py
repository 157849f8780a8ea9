"""Holds out training images and trains one arm on the others: how the recipes of `quick` and `smoke` are chosen.

    python benchmarks/choose_quick.py quick batch_size=16 learning_rate=0.1 norm=instance updates=2500
    python benchmarks/choose_quick.py smoke learning_rate=0.2 norm=instance method=NS

The last 2,000 of CIFAR-10's and the last 300 of the digits' are held out; the test set is never looked at. Prints
elapsed seconds and accuracy per sub-model at each evaluation.
"""

import sys
import time

import torch

from orchestrator.commands.numbers import setting
from studies.presets import PRESETS
from trainers.data.datasets import dataset
from trainers.trials.images import resolve, train

_HELD_OUT = {"cifar10": 2_000, "digits": 300}


def main() -> None:
    """Trains on one thread with the settings given over those of a preset."""
    torch.set_num_threads(1)
    preset, *arguments = sys.argv[1:]
    given = dict(setting(argument) for argument in arguments)
    config = resolve({**PRESETS[preset].settings, "equalize": "updates", "interim_examples": None, **given})
    data = dataset(config.task.dataset).load(None).hold_out(_HELD_OUT[config.task.dataset])
    started = time.perf_counter()
    for snapshot in train(config, 0, data, torch.device("cpu")):
        if snapshot.metrics:
            found = {target.label: round(snapshot.metrics[f"test_acc/{target.label}"], 1) for target in config.lattice}
            print(f"{time.perf_counter() - started:.0f} s, update {snapshot.step}: {found}", flush=True)


if __name__ == "__main__":
    main()
