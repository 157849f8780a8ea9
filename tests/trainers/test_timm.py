"""Layers of timm's own classes: known by name, taken apart where they are two in one, put together if refused."""

import subprocess
import sys

import pytest
import timm
import torch
from timm.layers.attention import Attention
from timm.layers.norm import LayerNorm
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from tests.trainers.test_nested_contract import HALF, images, randomised
from trainers.nested.exchange import nest
from trainers.nested.layers.batch_norm import NestedBatchNorm
from trainers.nested.network import NestedNetwork
from trainers.nested.table import Exchange

SHAPE = (3, 8, 8)
ALONE = """
import sys, torch, torchvision
from trainers import Lattice, nest
lattice = Lattice.product(width=(0.5, 1.0))
nest(torchvision.models.resnet18(), lattice, "batch", (3, 64, 64), heads=frozenset({"fc"}))
assert "timm" not in sys.modules
"""


def around(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers, nn.Conv2d(8, 5, 1))


def nested(plain: nn.Module, head: str) -> NestedNetwork:
    return nest(plain, HALF, "batch", SHAPE, frozenset({head}))


def test_timm_is_not_imported_for_networks_that_are_none_of_its() -> None:
    subprocess.run([sys.executable, "-c", ALONE], check=True)


def test_a_norm_with_its_activation_is_nested_as_the_two_and_a_relu_is_the_norm_s() -> None:
    plain = around(BatchNormAct2d(8, act_layer=nn.SiLU), BatchNormAct2d(8), BatchNormAct2d(8, apply_act=False))
    net = nested(plain, "4")
    assert type(net.network.get_submodule("1.1")) is nn.SiLU
    for path, relu in {"1.0": False, "2": True, "3": False}.items():
        norm = net.network.get_submodule(path)
        assert isinstance(norm, NestedBatchNorm)
        assert norm.relu == relu
    alone = net.extract(HALF.smallest)
    assert not any(isinstance(module, BatchNormAct2d) for module in alone.modules())


def test_a_refused_network_is_put_together_again() -> None:
    plain = randomised(around(BatchNormAct2d(8, act_layer=nn.SiLU), nn.Softmax2d())).eval()
    before, answer = list(plain.modules()), plain(images(2, size=8))
    with pytest.raises(ValueError, match="cannot nest layer '3' of Sequential"):
        nested(plain, "3")
    assert list(plain.modules()) == before
    assert torch.equal(plain(images(2, size=8)), answer)


def test_what_a_norm_with_its_activation_does_beside_them_is_refused() -> None:
    hooked = BatchNormAct2d(8)
    hooked.register_forward_hook(lambda layer, inputs, out: 2 * out)
    with pytest.raises(ValueError, match=r"^cannot nest layer '1' of Sequential: it has hooks"):
        nested(around(hooked), "2")
    with pytest.raises(ValueError, match=r"^cannot nest layer '1\.1' of Sequential: dropout draws from a generator"):
        nested(around(BatchNormAct2d(8, drop_layer=lambda: nn.Dropout2d(0.1))), "2")
    twice = BatchNormAct2d(8)
    with pytest.raises(ValueError, match=r"^cannot nest layer '2' of Sequential: it is '1', too"):
        nested(around(twice, twice), "3")


def test_a_row_of_one_s_own_takes_it_whole() -> None:
    def mine(layer: BatchNormAct2d, dimension: str | None) -> nn.Module:
        raise ValueError(f"my form of {type(layer).__name__}")

    row = {BatchNormAct2d: Exchange(mine)}
    with pytest.raises(ValueError, match=r"^cannot nest layer '1' of Sequential: my form of BatchNormAct2d"):
        nest(around(BatchNormAct2d(8)), HALF, "batch", SHAPE, frozenset({"2"}), exchanges=row)


class Tokens(nn.Module):
    """Attention over the pixels of an image."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.stem, self.attention, self.head = nn.Conv2d(3, 8, 1), attention, nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.attention(self.stem(x).flatten(2).mT).mean(1))
        return logits


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"gated": True}, "self-attention with gate.weight has no nested form"),
        ({"scale_norm": True, "norm_layer": nn.LayerNorm}, "self-attention with norm.weight, norm.bias has no nested"),
        ({"attn_drop": 0.1}, "dropout draws from a generator"),
        ({"attn_head_dim": 8}, "whose heads have other features together than arrive"),
    ],
)
def test_attention_that_does_more_is_refused_by_what_it_has(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^cannot nest layer 'attention' of Tokens: .*{reason}"):
        nested(Tokens(Attention(8, 2, **settings)), "head")


def test_a_fast_norm_is_refused() -> None:
    timm.layers.set_fast_norm(True)
    try:
        fast = LayerNorm(8)
    finally:
        timm.layers.set_fast_norm(False)
    with pytest.raises(ValueError, match="'attention' of Tokens: timm's fast norm"):
        nested(Tokens(fast), "head")
