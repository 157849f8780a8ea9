"""Evaluations before the last on a part of the test set: the same part every time, and nothing else is changed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainers.sequences import SEQUENCES, WIDTHS, Sequences, counter, recipe, regressor
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.images import digits
from trainers.data.images.arrays import ImageArrays
from trainers.data.thinning import evenly_spread
from trainers.measuring.timing import trial_seconds
from trainers.tasks.images import ImageClassification
from trainers.training.ledger import Budget
from trainers.training.loop import fit
from trainers.training.recipe import Interim
from trainers.trials.images import IMAGES, resolve, train

PART = 40
CPU = torch.device("cpu")


def config(**settings: Any) -> ImageTrialConfig:
    small = {"dataset": "digits", "precision": "fp32", "batch_size": 16, "widths": [0.25, 1.0], "updates": 6}
    return resolve({**small, "evaluations": 3, "norm": "batch-recalibrated", **settings})


def metrics(data: ImageArrays, **settings: Any) -> list[dict[str, float]]:
    return [each.metrics for each in train(config(**settings), 0, data, CPU) if each.metrics]


def interim(at: dict[str, float]) -> dict[str, float]:
    """By the names of the whole test set."""
    return {name.replace("interim", "test"): value for name, value in at.items() if name.startswith("interim_")}


def whole(at: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in at.items() if name.startswith("test_")}


def rest(at: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in at.items() if not name.startswith(("test_", "interim_"))}


@pytest.fixture(scope="module")
def data() -> ImageArrays:
    return digits.load(None)


def test_the_part_is_the_same_at_every_evaluation_and_the_last_one_is_of_the_whole_set_too(data: ImageArrays) -> None:
    kept = evenly_spread(PART, len(data.test_labels))
    small = replace(data, test_images=data.test_images[kept], test_labels=data.test_labels[kept])
    usual, alone, found = metrics(data), metrics(small), metrics(data, interim_examples=PART)
    for place, at in enumerate(found):
        assert interim(at) == whole(alone[place])
        assert whole(at) == (whole(usual[place]) if place == len(found) - 1 else {})
        assert rest(at) == rest(usual[place])
    assert usual[-1]["test_acc/w100"] != alone[-1]["test_acc/w100"]
    assert found[0].keys() >= {"interim_acc/w025", "interim_loss/w100", "interim_acc_average"}


@pytest.mark.parametrize("part", [None, PART])
def test_of_some_sub_models_the_smallest_and_the_largest_are_always_among_them_and_the_end_is_of_all(
    part: int | None, data: ImageArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int | None] = []
    evaluate = ImageClassification.evaluate

    def noted(self: ImageClassification, *arguments: Any) -> dict[str, float]:
        measured.append(arguments[-1])
        return evaluate(self, *arguments)

    kept = evenly_spread(part or 360, len(data.test_labels))
    small = replace(data, test_images=data.test_images[kept], test_labels=data.test_labels[kept])
    four = {"widths": [0.25, 0.5, 0.75, 1.0], "updates": 3, "norm": "instance", "evaluates_start": True}
    usual, alone = metrics(data, **four), metrics(small, **four)
    monkeypatch.setattr(ImageClassification, "evaluate", noted)
    found = metrics(data, interim_examples=part, interim_sub_models=2, **four)
    assert measured == [part] * 2 * 3 + [None] * 4 + [part] * 2 * (part is not None)  # no image twice
    assert len(found) == 4
    for place, at in enumerate(found):
        labels = ("w025", "w100")
        expected = {f"test_{name}/{label}": 0.0 for name in ("acc", "loss") for label in labels}
        assert interim(at).keys() == {*expected, "test_acc_average"}
        assert all(interim(at)[name] == alone[place][name] for name in expected)
        assert interim(at)["test_acc_average"] == sum(alone[place][f"test_acc/{label}"] for label in labels) / 2
        assert whole(at) == (whole(usual[place]) if place == len(found) - 1 else {})
        assert rest(at) == rest(usual[place])


def test_it_is_told_apart_only_where_something_is_left_out_before_the_end() -> None:
    assert config(interim_examples=PART).identity() != config().identity()
    assert config(interim_examples=360) == config()
    assert config(interim_examples=PART, evaluations=1) == config(evaluations=1)
    assert config(interim_sub_models=1).identity() == {**config().identity(), "interim_sub_models": 1}
    assert config(interim_sub_models=2) == config(interim_sub_models=99) == config()  # there are two
    assert config(interim_sub_models=1, evaluations=1) == config(evaluations=1)
    assert config(interim_sub_models=1, evaluations=1, evaluates_start=True) != config(
        evaluations=1, evaluates_start=True
    )


def test_whatever_the_task_its_measures_are_of_so_many_examples() -> None:
    task, network = Sequences(3, 2, CPU), regressor()
    how = replace(
        recipe(budget=Budget("updates", 6)), evaluations=2, interim=Interim(WIDTHS.targets[1:], SEQUENCES // 2)
    )
    first, last = (each.metrics for each in fit(how, 3, task, network, counter(network, task), CPU) if each.metrics)
    names = {f"interim_error/{label}" for label in ("w050", "w100")} | {"interim_error_average"}
    assert {name for name in first if "error" in name} == names
    assert {name for name in last if name.startswith("interim_")} == names
    assert all(last[f"interim_error/{label}"] != last[f"test_error/{label}"] for label in ("w050", "w100"))
    assert "test_error/w025" in last


def test_the_estimate_of_a_trial_counts_what_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    def once(kind: object, config: ImageTrialConfig, device: torch.device) -> dict[Any, float]:
        return dict.fromkeys(config.lattice, 1.0)

    monkeypatch.setattr("trainers.measuring.timing.seconds_per_pass", once)

    def seconds(**settings: Any) -> float:
        return trial_seconds(IMAGES, config(**settings), CPU)

    once = seconds(evaluations=1)
    images = (seconds(evaluations=2) - once) / (360 + 1437)  # norms average anew over all training images there are
    assert np.isclose(seconds(evaluations=1, evaluates_start=True) - once, images * (360 + 1437))
    assert np.isclose(seconds(evaluations=9, interim_examples=PART) - once, 9 * images * (PART + 1437))
    of_one = {"interim_sub_models": 1, "evaluations": 9}  # of two that take as long
    assert np.isclose(seconds(**of_one) - once, 8 * images * (360 + 1437) / 2)
    assert np.isclose(seconds(**of_one, interim_examples=PART) - once, 9 * images * (PART + 1437) / 2)
    assert np.isclose(
        seconds(norm="instance", evaluations=3) - seconds(norm="instance", evaluations=1), 2 * images * 360
    )
