"""Networks of torchvision and timm as published, at their own size: deep and wide ones, not made small for a test."""

import copy
from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from tests.trainers.test_nested_contract import images, on_cpu, randomised
from trainers.lattice import Lattice
from trainers.nested.exchange import nest

HALF = Lattice.product(width=(0.5, 1.0))
SIZE = 224
MEMBERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "convnext_tiny": (models.convnext_tiny, "classifier.2"),
    "densenet121": (models.densenet121, "classifier"),
    "efficientnet_b0": (lambda: models.efficientnet_b0(dropout=0), "classifier.1"),
    "maxvit_t": (models.maxvit_t, "classifier.5"),
    "regnet_y_400mf": (models.regnet_y_400mf, "fc"),
    "swin_t": (models.swin_t, "head"),
    "swin_v2_t": (models.swin_v2_t, "head"),
    "vit_b_32": (models.vit_b_32, "heads.head"),
    "timm convnext_tiny": (lambda: timm.create_model("convnext_tiny"), "head.fc"),
    "timm mobilenetv3_large_100": (lambda: timm.create_model("mobilenetv3_large_100"), "classifier"),
    "timm resnet50": (lambda: timm.create_model("resnet50"), "fc"),
    "timm swin_tiny": (lambda: timm.create_model("swin_tiny_patch4_window7_224", drop_path_rate=0), "head.fc"),
    "timm vit_small_patch16_224": (lambda: timm.create_model("vit_small_patch16_224"), "head"),
}


@pytest.mark.parametrize("member", MEMBERS)
def test_a_published_network_is_its_largest_sub_model_and_half_of_it_is_cut_out(member: str) -> None:
    make, head = MEMBERS[member]
    plain = randomised(on_cpu(make)()).eval()
    net = nest(copy.deepcopy(plain), HALF, "batch", (3, SIZE, SIZE), frozenset({head})).eval()
    x = images(2, size=SIZE)
    with torch.no_grad():
        assert torch.equal(net(x), plain(x))
        net.activate(HALF.smallest)
        answers = net(x)
        assert answers[0].std() > 0
        assert not torch.equal(answers[0], answers[1])
        assert torch.equal(net.extract(HALF.smallest)(x), answers)
