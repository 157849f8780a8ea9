"""What a trial does when nothing is said, against the figures of the published recipe (LCS's configs for CIFAR-10)."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from trainers.data.datasets import dataset
from trainers.data.images import cifar10
from trainers.optimizers.sgd import Sgd
from trainers.training.schedule import learning_rate
from trainers.trials.images import resolve

PUBLISHED = resolve({"precision": "fp32"})
EPOCHS, IMAGES, BATCH = 200, 50_000, 128


def moved(gradient: float, steps: int, rate: float) -> list[float]:
    """Where a parameter of one dimension, 1 at first, is after each step under a steady gradient."""
    network = nn.BatchNorm1d(1).double()
    optimizer = Sgd(network, PUBLISHED.optimizer.momentum, PUBLISHED.optimizer.weight_decay)
    optimizer.rate = torch.tensor(rate, dtype=torch.float64)
    places = []
    for _ in range(steps):
        assert network.weight.grad is not None
        network.weight.grad.fill_(gradient)
        optimizer.step()
        places.append(network.weight.item())
    return places


def test_it_trains_for_200_epochs_of_391_batches() -> None:
    assert PUBLISHED.task.batch_size == BATCH
    assert (PUBLISHED.budget.unit, PUBLISHED.budget.amount) == ("updates", EPOCHS * math.ceil(IMAGES / BATCH))
    assert PUBLISHED.budget.amount == 78_200
    assert PUBLISHED.method.accumulation == 1


def test_the_rate_peaks_at_a_tenth_once_five_epochs_are_over_and_is_halved_midway_between_there_and_the_end() -> None:
    by_epoch = [learning_rate(PUBLISHED, (epoch + 0.5) / EPOCHS) for epoch in range(EPOCHS)]
    assert max(by_epoch) == pytest.approx(0.1, rel=1e-12)
    assert by_epoch.index(max(by_epoch)) in (4, 5)
    assert by_epoch[0] == pytest.approx(0.1 / 5)
    assert (by_epoch[102] + by_epoch[103]) / 2 == pytest.approx(0.05)  # 97 and 98 of 195 epochs of cosine


def test_a_parameter_of_one_dimension_without_a_gradient_shrinks_by_the_rate_times_the_decay() -> None:
    """Five ten-thousandths of itself times the rate at the first step: neither exempt from decay nor Nesterov's 1.9."""
    assert 1 - moved(0.0, 1, rate=0.1)[0] == pytest.approx(0.1 * 5e-4, rel=1e-9)


def test_under_a_steady_gradient_steps_grow_to_ten_times_the_first() -> None:
    """1/(1 − .9), by way of 1, 1.9, 2.71; damped momentum would stay at 1, Nesterov's start at 1.9."""
    places = [1.0, *moved(1.0, 200, rate=1e-6)]
    strides = [before - after for before, after in pairwise(places)]
    first = 1e-6 * (1 + 5e-4)
    assert strides[:3] == pytest.approx([first, 1.9 * first, 2.71 * first], rel=1e-5)
    assert strides[-1] == pytest.approx(10 * first, rel=1e-5)


def test_images_are_padded_by_4_mirrored_and_normalised_with_the_published_figures() -> None:
    assert (PUBLISHED.task.crop_padding, PUBLISHED.task.flip) == (4, True)
    mean, std = dataset("cifar10").statistics()
    assert mean == (0.4914, 0.4822, 0.4465)  # red, green, blue
    assert std == (0.2023, 0.1994, 0.2010)
    assert (mean, std) == (cifar10.MEAN, cifar10.STD)
