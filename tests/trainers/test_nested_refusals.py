"""Small networks of each kind: what breaks prefixes, or does more than a nested layer would, is refused by its path."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torchvision.models import efficientnet_b0
from torchvision.ops import stochastic_depth

from tests.trainers.test_nested_contract import HALF, as_mask, images
from trainers.accelerated.accelerator import OF_NETWORKS
from trainers.accelerated.cpreresnet import fuse
from trainers.accelerated.norm import EPS
from trainers.nested.exchange import nest
from trainers.nested.layers.norms import NORM_POLICIES, NormPolicy
from trainers.networks.cpreresnet import CPreResNet20
from trainers.submodel import SubModel

SHAPE = (3, 8, 8)


class Between(nn.Module):
    """Two convolutions, something between them, a classifier."""

    def __init__(
        self,
        glue: Callable[["Between", Tensor], Tensor],
        inputs: int = 8,
        end: Callable[[Tensor], Tensor] = lambda x: x.mean((2, 3)),
        features: int = 12,
    ) -> None:
        super().__init__()
        self.glue, self.end = glue, end
        self.first, self.beside = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(inputs, 12, 3, padding=1)
        self.classifier = nn.Linear(features, 5)
        self.register_buffer("scale", torch.linspace(1, 2, 8).view(1, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.first(x)) + 0 * self.beside(x)
        logits: Tensor = self.classifier(self.end(self.second(self.glue(self, y))))
        return logits


def shuffled(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


BROKEN: dict[str, tuple[Callable[[Between, Tensor], Tensor], int]] = {
    "concatenated with its half": (lambda net, x: torch.cat((x, x[:, : x.shape[1] // 2]), 1), 12),
    "shuffled": (lambda net, x: shuffled(x), 8),
    "shuffled by torch": (lambda net, x: F.channel_shuffle(x, 4), 8),
    "first half": (lambda net, x: x.chunk(2, 1)[0], 4),
    "halves swapped": (lambda net, x: torch.cat(x.chunk(2, 1)[::-1], 1), 8),
    "split in constants": (lambda net, x: x.split((3, 5), 1)[1], 5),
    "without the first": (lambda net, x: x[:, 3:], 5),
    "added in another order": (lambda net, x: x + x.flip(1), 8),
    "rolled": (lambda net, x: x.roll(1, 1), 8),
    "picked": (lambda net, x: x.index_select(1, torch.tensor([7, 6, 5, 4])), 4),
    "sorted": (lambda net, x: x.sort(1).values, 8),
    "pixels from channels": (lambda net, x: F.pixel_shuffle(x, 2), 2),
    "channels and rows exchanged": (lambda net, x: x.transpose(1, 2), 8),
    "softmax": (lambda net, x: x.softmax(1), 8),
    "centred over channels": (lambda net, x: x - x.mean(1, keepdim=True), 8),
    "normalised over channels": (lambda net, x: F.group_norm(x, 1), 8),
    "gated by the other half": (lambda net, x: F.glu(x, 1), 4),
    "summed up": (lambda net, x: x + x.cumsum(1).flip(1), 8),
    "multiplied as matrices": (lambda net, x: (x.flatten(2) @ x.flatten(2).mT).unsqueeze(1).flip(-1), 1),
    "by a weight of another": (lambda net, x: F.conv2d(x, net.second.weight[:8]), 8),
    "only when wide": (lambda net, x: net.norm(x) if x.shape[1] > 7 else x, 8),
    "in training alone": (lambda net, x: x.flip(1) if net.training else x, 8),
    "in evaluation alone": (lambda net, x: x if net.training else x.flip(1), 8),
}  # fmt: skip
PLACED: dict[str, tuple[Callable[[Between, Tensor], Tensor], int]] = {
    "concatenated": (lambda net, x: torch.cat((x, x.neg()), 1), 16),
    "stacked": (lambda net, x: torch.stack((x, x), 1).flatten(1, 2), 16),
    "flipped": (lambda net, x: x.flip(1), 8),
    "channels from pixels": (lambda net, x: F.pixel_unshuffle(x, 2).flip(1), 32),
}
KEPT: dict[str, Callable[[Between, Tensor], Tensor]] = {
    "activations": lambda net, x: F.silu(x).sigmoid(),  # which are not zero outside of the prefix, but constant
    "in place": lambda net, x: x.mul_(2).relu_(),
    "gated per channel": lambda net, x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "scaled per channel": lambda net, x: x * net.scale,
    "pooled": lambda net, x: F.avg_pool2d(x.sigmoid(), 3, 1, 1),
    "two branches": lambda net, x: x + F.max_pool2d(x, 3, 1, 1) * x.tanh(),
    "there and back": lambda net, x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "a layer twice": lambda net, x: net.norm(x),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_moves_channels_between_layers_is_refused_at_the_layer_behind_it(kind: str) -> None:
    glue, inputs = BROKEN[kind]
    with pytest.raises(ValueError, match=r"^cannot nest (layer '(second|norm)' of )?Between: ") as caught:
        nest(Between(glue, inputs), HALF, "batch", SHAPE, frozenset({"classifier"}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KEPT)
def test_what_keeps_channels_apart_is_nested(kind: str) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    plain = Between(KEPT[kind])
    torch.set_rng_state(before)
    net = nest(plain, HALF, "batch", SHAPE, frozenset({"classifier"}))
    assert torch.equal(torch.get_rng_state(), before)  # nesting draws nothing
    if kind in ("activations", "pooled", "gated per channel"):
        return  # a mask of outputs is no mask of what the next layer reads: sigmoid(0) is not zero
    sliced, masked = as_mask(net.eval(), SubModel(width=0.5), images(2, size=8))
    torch.testing.assert_close(sliced, masked)


@pytest.mark.parametrize("kind", PLACED)
def test_what_puts_channels_elsewhere_in_their_order_is_nested(kind: str) -> None:
    glue, inputs = PLACED[kind]
    net = nest(Between(glue, inputs), HALF, "batch", SHAPE, frozenset({"classifier"}))
    for sub_model in (SubModel(width=0.5), SubModel(width=0.63)):
        sliced, masked = as_mask(net.eval(), sub_model, images(2, size=8))
        torch.testing.assert_close(sliced, masked)
        assert torch.equal(net.extract(sub_model)(images(2, size=8)), sliced)


def test_features_of_flattened_channels_are_followed_wherever_channels_come() -> None:
    head = frozenset({"classifier"})
    nest(Between(lambda net, x: x, end=lambda x: x.flatten(1), features=12 * 64), HALF, "batch", SHAPE, head)
    last = Between(lambda net, x: x, end=lambda x: x.permute(0, 2, 3, 1).reshape(len(x), -1), features=12 * 64)
    sliced, masked = as_mask(nest(last, HALF, "batch", SHAPE, head).eval(), SubModel(width=0.5), images(2, size=8))
    torch.testing.assert_close(sliced, masked)
    flat = Between(lambda net, x: x, end=lambda x: x.flatten(1), features=12 * 64)
    with pytest.raises(ValueError, match=r"'classifier' of Between: it reads 768 channels, but 3072 reach it"):
        nest(flat, HALF, "batch", (3, 16, 16), head)


class MyConv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda layer, inputs, out: 2 * out)
    return layer


def replaced(layer: nn.Module) -> nn.Module:
    layer.forward = lambda x: 2 * x
    return layer


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 3, 3, padding=1)


SHARED = conv()


def tied_norms() -> list[nn.Module]:
    norms = [nn.BatchNorm2d(3), nn.BatchNorm2d(3)]
    norms[1].weight = norms[0].weight
    return norms


REFUSED: dict[str, tuple[Callable[[], list[nn.Module]], str]] = {
    "a subclass": (lambda: [MyConv(3, 3, 3)], "'0' of Sequential: MyConv may do more than"),
    "statistics of all machines": (lambda: [nn.SyncBatchNorm(3)], "'0' of Sequential: SyncBatchNorm has parameters"),
    "hooks": (lambda: [hooked(conv())], "'0' of Sequential: it has hooks"),
    "hooks of a fused ReLU": (lambda: [nn.Sequential(nn.BatchNorm2d(3), hooked(nn.ReLU()))], "'0' .*: it has hooks"),
    "a forward of its own": (lambda: [replaced(conv())], "'0' of Sequential: its forward was replaced"),
    "a parametrisation": (lambda: [parametrizations.weight_norm(conv())], "'0' .*: ParametrizedConv2d may do more"),
    "a layer twice": (lambda: [SHARED, nn.ReLU(), SHARED], r"'2' of Sequential: it is '0', too"),
    "a tied γ": (tied_norms, "'0' of Sequential: its weight is tied to another layer's, which is lost in NestedBatch"),
    "no γ": (lambda: [nn.BatchNorm2d(3, affine=False)], "'0' of Sequential: .*affine=True"),
    "no statistics": (lambda: [nn.BatchNorm2d(3, track_running_stats=False)], "'0' of .*track_running_stats=True"),
    "an average of all": (lambda: [nn.BatchNorm2d(3, momentum=None)], "'0' of Sequential: .*momentum a number"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_layer_that_does_more_than_its_nested_form_is_refused(kind: str) -> None:
    layers, reason = REFUSED[kind]
    with pytest.raises(ValueError, match=f"^cannot nest layer {reason}"):
        nest(nn.Sequential(*layers()), HALF, "batch", SHAPE, frozenset())


def test_a_parameter_beside_layers_that_is_a_layer_s_too_is_refused_and_so_is_a_head_that_is_none() -> None:
    net = Between(lambda net, x: x)
    net.gain = net.norm.weight
    with pytest.raises(ValueError, match=r"^cannot nest Between: its gain is tied to another's"):
        nest(net, HALF, "batch", SHAPE, frozenset({"classifier"}))
    with pytest.raises(ValueError, match="'0' of Sequential: a head must be"):
        nest(nn.Sequential(nn.Sequential(conv(), conv())), HALF, "batch", SHAPE, frozenset({"0"}))


def test_only_a_relu_is_fused() -> None:
    for activation in (nn.ReLU6(), nn.SiLU(inplace=True), nn.LeakyReLU(0.1)):
        plain = nn.Sequential(conv(), nn.Sequential(nn.BatchNorm2d(3), activation), conv())
        net = nest(plain, HALF, "batch", SHAPE, frozenset())
        assert type(net.network.get_submodule("1.1")) is type(activation)


@pytest.mark.parametrize("affine", ["shared", "line"])
@pytest.mark.parametrize("norm", NORM_POLICIES)
def test_norms_start_from_the_plain_network_s_own(norm: NormPolicy, affine: str) -> None:
    if (norm, affine) == ("batch-switchable", "line"):
        return
    plain = nn.BatchNorm2d(8, eps=0.1, momentum=0.3)
    for value in (plain.weight, plain.bias, plain.running_mean, plain.running_var):
        assert value is not None
        nn.init.uniform_(value, 0.5, 1.5)
    plain.bias.requires_grad_(False)
    net = nest(nn.Sequential(conv(), nn.Conv2d(3, 8, 1), plain), HALF, norm, SHAPE, frozenset(), affine=affine)
    alone = net.extract(SubModel(width=0.5))[2]
    assert alone.eps == 0.1
    ratio = (alone.weight / plain.weight[:4]).detach()
    torch.testing.assert_close(ratio, torch.full((4,), float(ratio[0])))
    assert affine == "line" or torch.equal(alone.weight, plain.weight[:4])
    assert torch.equal(alone.bias, plain.bias[:4])
    assert alone.weight.requires_grad
    assert not alone.bias.requires_grad
    if norm.startswith("batch"):
        assert alone.momentum == 0.3
        assert torch.equal(alone.running_mean, plain.running_mean[:4])
        assert torch.equal(alone.running_var, plain.running_var[:4])


@pytest.mark.parametrize("norm", ["instance", "batch", "group", "layer"])
@pytest.mark.parametrize("training", [True, False])
def test_our_kernels_take_the_layer_s_eps(norm: NormPolicy, training: bool) -> None:
    plain = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, eps=0.5))
    net = nest(plain, HALF, norm, (8, 4, 4), frozenset(), accelerator=OF_NETWORKS).train(training)
    layer, x = net.network.get_submodule("1"), images(4, channels=8, size=4)
    with torch.no_grad():
        fast = layer(x.bfloat16().contiguous(memory_format=torch.channels_last))
        exact = layer(x)
    assert (fast.float() - exact).norm() <= 2**-7 * exact.norm()


def test_passes_are_not_fused_for_another_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.accelerated.cpreresnet.has_triton", lambda: True)
    for eps, fused in ((EPS, True), (1e-3, False)):
        plain = CPreResNet20()
        plain.get_submodule("norm.0").eps = eps
        net = nest(plain, HALF, "batch", (3, 32, 32), frozenset({"classifier"}))
        assert (fuse(net.network) is not None) == fused


DRAWN: dict[str, Callable[[Between, Tensor], Tensor]] = {
    "dropout": lambda net, x: F.dropout(x, 0.01, net.training),
    "stochastic depth": lambda net, x: stochastic_depth(x, 0.01, "row", net.training),
    "noise": lambda net, x: x + torch.randn_like(x) if net.training else x,
    "a layer left out": lambda net, x: x if net.training and torch.rand(()) < 0.01 else net.again(x),
    "left out by Python": lambda net, x: x if net.training and random.random() < 0.01 else net.again(x),
    "left out by NumPy": lambda net, x: x if net.training and np.random.random() < 0.01 else net.again(x),  # noqa: NPY002
    "noise in evaluation": lambda net, x: x if net.training else x + torch.rand(1),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_what_a_global_generator_decides_is_refused_since_a_resumed_trial_has_lost_it(kind: str) -> None:
    network = Between(DRAWN[kind])
    network.again = nn.Conv2d(8, 8, 1)
    with pytest.raises(ValueError, match="cannot nest Between: it draws random numbers"):
        nest(network, HALF, "batch", SHAPE, frozenset({"classifier"}))


def test_stochastic_depth_of_torchvision_is_refused_by_its_path_and_accepted_without() -> None:
    head = frozenset({"classifier.1"})
    with pytest.raises(ValueError, match=r"layer 'features\.2\.1\.stochastic_depth' .*it draws random numbers"):
        nest(efficientnet_b0(dropout=0), HALF, "batch", (3, 64, 64), head)
    nest(efficientnet_b0(dropout=0, stochastic_depth_prob=0), HALF, "batch", (3, 64, 64), head)
