"""Evaluations before the last on a part of the test set: the same part every time, and nothing else is changed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainers.sequences import SEQUENCES, Sequences, counter, recipe, regressor
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.images import digits
from trainers.data.images.arrays import ImageArrays
from trainers.data.thinning import evenly_spread
from trainers.measuring.timing import trial_seconds
from trainers.training.ledger import Budget
from trainers.training.loop import fit
from trainers.trials.images import IMAGES, resolve, train

PART = 40
CPU = torch.device("cpu")


def config(**settings: Any) -> ImageTrialConfig:
    small = {"dataset": "digits", "precision": "fp32", "batch_size": 16, "widths": [0.25, 1.0], "updates": 6}
    return resolve({**small, "evaluations": 3, "norm": "batch-recalibrated", **settings})


def metrics(data: ImageArrays, **settings: Any) -> list[dict[str, float]]:
    return [each.metrics for each in train(config(**settings), 0, data, CPU) if each.metrics]


@pytest.fixture(scope="module")
def data() -> ImageArrays:
    return digits.load(None)


def test_the_part_is_the_same_at_every_evaluation_and_the_last_one_is_of_the_whole_set_too(data: ImageArrays) -> None:
    kept = evenly_spread(PART, len(data.test_labels))
    small = replace(data, test_images=data.test_images[kept], test_labels=data.test_labels[kept])
    usual, alone, found = metrics(data), metrics(small), metrics(data, interim_examples=PART)
    for place, at in enumerate(found):
        interim = {name.replace("interim", "test"): value for name, value in at.items() if name.startswith("interim")}
        assert interim == {f"test_acc/{label}": alone[place][f"test_acc/{label}"] for label in ("w025", "w100")}
        rest = {name: value for name, value in at.items() if not name.startswith("interim")}
        assert rest == (usual if place == len(found) - 1 else alone)[place]
    assert usual[-1]["test_acc/w100"] != alone[-1]["test_acc/w100"]


def test_it_is_told_apart_only_where_something_is_left_out_before_the_end() -> None:
    assert config(interim_examples=PART).identity() != config().identity()
    assert config(interim_examples=360) == config()
    assert config(interim_examples=PART, evaluations=1) == config(evaluations=1)


def test_whatever_the_task_its_measures_are_of_so_many_examples() -> None:
    task, network = Sequences(3, 2, CPU), regressor()
    how = replace(recipe(budget=Budget("updates", 6)), evaluations=2, interim_examples=SEQUENCES // 2)
    first, last = (each.metrics for each in fit(how, 3, task, network, counter(network, task), CPU) if each.metrics)
    assert all(first[f"interim_error/{label}"] == first[f"test_error/{label}"] for label in ("w050", "w100"))
    assert all(last[f"interim_error/{label}"] != last[f"test_error/{label}"] for label in ("w050", "w100"))


def test_the_estimate_of_a_trial_counts_what_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    def once(kind: object, config: ImageTrialConfig, device: torch.device) -> dict[Any, float]:
        return dict.fromkeys(config.lattice, 1.0)

    monkeypatch.setattr("trainers.measuring.timing.seconds_per_pass", once)

    def seconds(**settings: Any) -> float:
        return trial_seconds(IMAGES, config(**settings), CPU)

    evaluation = seconds(evaluations=2) - seconds(evaluations=1)
    assert np.isclose(
        seconds(evaluations=9, interim_examples=PART) - seconds(evaluations=1), 9 * evaluation * PART / 360
    )
