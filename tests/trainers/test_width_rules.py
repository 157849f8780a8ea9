"""Widths by rule: in multiples of a number, and the largest within a budget of multiply-accumulates."""

import copy
from typing import Any

import pytest
import torch

from tests.trainers.test_nested_contract import SIZE, as_mask, images, published
from trainers.building.image_costs import mac_counter
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.nested.exchange import nest
from trainers.nested.layers.layer import SteppedLayer
from trainers.submodel import SubModel
from trainers.trials.images import IMAGES, resolve

LATTICE = Lattice.product(width=(0.3, 1.0))
CIFAR: dict[str, Any] = {"network": "cpreresnet20", "dataset": "cifar10", "updates": 3}


@pytest.mark.parametrize("family", ["MobileNet v2", "ResNeXt", "ViT", "DenseNet", "Swin"])
def test_channels_are_multiples_wherever_all_of_them_are(family: str) -> None:
    network, heads = published(family)
    plain = copy.deepcopy(network).eval()
    net = nest(network, LATTICE, "batch", (3, SIZE, SIZE), heads, multiple=16).eval()
    x = images()
    with torch.no_grad():
        assert torch.equal(net(x), plain(x))
    layers = [
        module for module in net.network.modules() if isinstance(module, SteppedLayer) and module.dimension is not None
    ]
    assert layers
    for width in (0.3, 0.51, 0.99):
        net.activate(SubModel(width=width))
        for layer in layers:
            assert layer.full % 16 or layer.outputs % 16 == 0
            assert 0 < layer.outputs <= layer.full
        with torch.no_grad():
            assert torch.equal(net.extract(SubModel(width=width))(x), net(x))
    sliced, masked = as_mask(net.double().train(), SubModel(width=0.51), x.double())
    torch.testing.assert_close(sliced, masked, rtol=1e-6, atol=1e-6)


def test_the_multiple_of_a_trial_counts_in_its_costs_and_in_what_it_is_known_by() -> None:
    usual, rounded = (resolve({**CIFAR, "widths": [0.3, 1], **more}) for more in ({}, {"multiple": 8}))
    (narrow, full), (narrow_rounded, full_rounded) = (IMAGES.costs(each).values() for each in (usual, rounded))
    assert full == full_rounded
    assert narrow != narrow_rounded
    assert usual.identity() != rounded.identity()


def test_a_budget_stands_for_the_largest_width_within_it() -> None:
    config = resolve({**CIFAR, "widths": [1], "within": [5e6, 10e6, 1e9]})
    macs, (small, middle, full) = mac_counter(config), config.network.dimensions["width"]
    assert full == 1.0
    for width, budget in ((small, 5e6), (middle, 10e6)):
        assert macs(SubModel(width=width)) <= budget < macs(SubModel(width=round(width + 0.001, 3)))
    assert config.network.within == ()
    assert resolve(config.as_dict()) == config
    assert config == resolve({**CIFAR, "widths": [small, middle, 1]})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"within": [5]}, "network.within=5: the narrowest cpreresnet20 takes 59,594 multiply-accumulates"),
        ({"within": [1e6], "widths": [], "widths_1": [0.5, 1]}, "network.within: there is no width to choose: give"),
        ({"within": "50M"}, "network.within='50M': give a list of numbers"),
        ({"within": ["50M"]}, r"network.within=\['50M'\]: give a list of numbers"),
        ({"multiple": 0}, "network.multiple=0: must be from 1 to 1024"),
        ({"multiple": 2.5}, r"network.multiple=2\.5: give a whole number"),
    ],
)
def test_what_is_no_rule_is_refused_in_a_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}"):
        resolve({**CIFAR, **settings})
