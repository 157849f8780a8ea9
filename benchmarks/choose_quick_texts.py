"""Holds out a seventh of Rotten Tomatoes' training texts and trains on the rest: how the recipe of `quick` is chosen.

    python benchmarks/choose_quick_texts.py learning_rate=1e-4 method=SortedNet

The test part is never looked at. Prints elapsed seconds and the score of every sub-model at each evaluation.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from orchestrator.commands.numbers import setting
from studies.glue_bert_ablation import STUDY
from trainers.data.text.datasets import register, text_dataset
from trainers.data.text.examples import TextData, split
from trainers.training.loop import fit
from trainers.trials.texts import TEXT_TRIALS

_FROM, _HELD_OUT = "rotten-tomatoes", 7


def _load(folder: Path | None) -> TextData:
    whole = text_dataset(_FROM).load(folder)
    train, test = split(whole.train, _HELD_OUT)
    return replace(whole, train=train, test=test)


def main() -> None:
    """Trains on one thread with the settings given over those of `quick`."""
    torch.set_num_threads(1)
    source, data = text_dataset(_FROM), _load(None)
    counted = replace(source, train_examples=len(data.train), test_examples=len(data.test))
    register("held-out", replace(counted, load=_load))
    given = dict(setting(argument) for argument in sys.argv[1:])
    whole = {"dataset": "held-out", "evaluations": 3, "interim_examples": None}
    config = TEXT_TRIALS.resolve({**STUDY.presets["quick"].settings, **whole, **given})
    parts = TEXT_TRIALS.assemble(config, 0, None, torch.device("cpu"))
    started = time.perf_counter()
    for snapshot in fit(parts.recipe, 0, parts.task, parts.network, parts.macs, torch.device("cpu")):
        if snapshot.metrics:
            scores = {target.label: snapshot.metrics[f"test_score/{target.label}"] for target in config.lattice}
            found = {label: round(score, 1) for label, score in scores.items()}
            print(f"{time.perf_counter() - started:.0f} s, update {snapshot.step}: {found}", flush=True)


if __name__ == "__main__":
    main()
