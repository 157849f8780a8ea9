"""Trials of several steps against `tests.trainers.naive`, the recipe written a second time.

They run in double precision, which torch's default type brings without another line of code: in single precision a
ReLU whose input rounds across zero moves a bias by a per cent, so nothing tighter could be held. What is left is the
loss, always of single precision: some 1e-7.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import FOUR
from tests.trainers.golden_losses import double_precision
from tests.trainers.naive.recipe import METHODS, Images, Recipe
from tests.trainers.naive.trial import Trial
from trainers.data.datasets import DATASETS, Dataset
from trainers.data.images.arrays import ImageArrays
from trainers.extraction.export import trained
from trainers.trials.images import resolve, train

SEED = 7
COMMON: dict[str, Any] = {
    "dataset": "noise",
    "precision": "fp32",
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.02,
    "warmup": 0.25,
    "schedule_stages": 0,
    "evaluations": 2,
    "accumulation": 1,
    "updates": 4,
    "batch_size": 8,
    "crop_padding": 2,
    "flip": True,
    "line_penalty": 1000.0,  # endpoints start parallel, where the penalty has no slope
    "recalibration_batches": 2,
}
ACCUMULATED = {"accumulation": 4, "updates": 2, "batch_size": 4, "crop_padding": 0, "flip": False, "warmup": 0.5}
NAMED = {"method", "dataset", "precision", "equalize", "sampler", "objective", "distillation"}  # not a naive recipe's
NORMS = ("instance", "batch", "batch-switchable", "batch-recalibrated", "group", "layer")
PUBLISHED = ("SortedNet", "NS", "US", "US-distilled", "LCS-l", "Independent", "Extracted", "Extracted-tuned")
COMBINATIONS = [
    (method, norm)
    for method in PUBLISHED
    for norm in NORMS
    if norm != "batch-switchable" or method not in ("US", "US-distilled", "LCS-l")  # their widths have no norm there
]


SHAPES = {"noise": (1, 8, 8), "coloured noise": (3, 12, 12)}  # of pixels, as few as leave none of the arithmetic out
MEAN, STD = (0.48, 0.51, 0.45), (0.29, 0.31, 0.27)


@pytest.fixture(scope="module", autouse=True)
def _precise() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, double_precision():
        for name in SHAPES:
            patch.setitem(DATASETS, name, source(name))
        yield


def source(name: str) -> Dataset:
    channels = SHAPES[name][0]
    return Dataset(
        shape=SHAPES[name],
        classes=10,
        test_images=10,
        crop_padding=2,
        flip=True,
        checksum=lambda: name,
        statistics=lambda: (MEAN[:channels], STD[:channels]),
        fetch=lambda folder: None,
        load=lambda folder: noise(20, name),
    )


def noise(examples: int, name: str = "noise") -> ImageArrays:
    """Images of random pixels, each with a random label."""
    rng, shape = np.random.default_rng(1), SHAPES[name]

    def images(count: int) -> torch.Tensor:
        return torch.from_numpy(rng.integers(256, size=(count, *shape), dtype=np.uint8))

    def labels(count: int) -> torch.Tensor:
        return torch.from_numpy(rng.integers(10, size=count))

    train, test = (images(examples), labels(examples)), (images(10), labels(10))
    return ImageArrays(*train, *test, MEAN[: shape[0]], STD[: shape[0]], name)


def hold(folder: Path, naive_method: str = "", data: ImageArrays | None = None, **given: Any) -> None:
    """A trial measures what the naive one measures at every evaluation, and ends with the same networks."""
    settings, data = COMMON | given, noise(20) if data is None else data
    numbers = {name: value for name, value in settings.items() if name not in NAMED}
    method, unit = METHODS[naive_method or settings["method"]], settings.get("equalize", "updates")
    images = data.train_images, data.train_labels, data.test_images, data.test_labels, data.mean, data.std
    naive = Trial(Recipe(method=method, seed=SEED, unit=unit, **numbers), Images(*images))
    expected = list(naive.run())

    config = resolve(settings)
    *_, last = snapshots = list(train(config, SEED, data, torch.device("cpu")))
    measured = [snapshot.metrics for snapshot in snapshots if snapshot.metrics]
    assert len(measured) == len(expected) == 2
    for ours, theirs in zip(measured, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)

    last.save(folder)
    network = trained(config, folder / "weights.safetensors")
    for target in FOUR:
        plain = naive.networks[target["width"]]
        plain = plain if naive.apart else plain.cut(target["width"])
        exact, found = plain.parameters | plain.statistics, network.extract(target).state_dict()
        assert {name for name in found if not name.endswith("num_batches_tracked")} == exact.keys()
        for name, value in exact.items():
            off, size = float((found[name] - value).detach().norm()), float(value.detach().norm())
            assert off <= 1e-9 * size, f"{name} of {target.label} is off by {off:.1e} of {size:.1e}"


@pytest.mark.parametrize(("method", "norm"), COMBINATIONS)
def test_every_method_under_every_norm_is_the_naive_trial(method: str, norm: str, tmp_path: Path) -> None:
    hold(tmp_path, method=method, norm=norm)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("method", ["SortedNet", "NS", "US-distilled", "LCS-p", "LCS-l", "Extracted-tuned"])
def test_accumulated_micro_batches_are_those_of_the_naive_trial(method: str, norm: str, tmp_path: Path) -> None:
    hold(tmp_path, method=method, norm=norm, **ACCUMULATED)


@pytest.mark.parametrize("norm", ["group", "batch-switchable"])
def test_nested_dropout_is_the_naive_trial_whatever_of_it_is_accumulated(norm: str, tmp_path: Path) -> None:
    hold(tmp_path, method="NestedDropout", norm=norm, **ACCUMULATED)


@pytest.mark.parametrize(
    ("naive", "settings"),
    [
        ("SortedNet-summation", {"objective": "stochastic-summation"}),
        ("SortedNet-distilled", {"distillation": "in-place"}),
    ],
)
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_other_losses_of_one_drawn_target_are_the_naive_trial_s(
    naive: str, settings: dict[str, str], norm: str, tmp_path: Path
) -> None:
    hold(tmp_path, naive, method="SortedNet", norm=norm, **settings)


@pytest.mark.parametrize("method", ["SortedNet", "US"])
@pytest.mark.parametrize("unit", ["passes", "macs"])
def test_a_budget_of_passes_or_macs_ends_and_cools_where_the_naive_trial_does(
    unit: str, method: str, tmp_path: Path
) -> None:
    hold(tmp_path, method=method, norm="layer", equalize=unit, updates=3, batch_size=6)


@pytest.mark.parametrize("method", ["US", "Independent"])
def test_recalibration_averages_as_many_batches_as_configured(method: str, tmp_path: Path) -> None:
    """Two batches of 250 images, of the three that the training images would fill."""
    hold(tmp_path, method=method, norm="batch-recalibrated", updates=2, data=noise(600))


@pytest.mark.parametrize("method", ["SortedNet", "NS"])
def test_colour_images_and_a_rate_by_stages_are_the_naive_trial_s(method: str, tmp_path: Path) -> None:
    by_stage = {"schedule_stages": 4, "warmup": 0.5, "updates": 4}
    name = "coloured noise"
    hold(tmp_path, method=method, norm="batch", dataset=name, data=noise(20, name), crop_padding=4, **by_stage)
