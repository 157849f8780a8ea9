"""The exchange table is open: to layers of a user's own, to other dimensions, and to depth alone."""

import pytest
import torch
from torch import Tensor, nn

from trainers.lattice import Lattice
from trainers.measuring.cost import MacCounter
from trainers.nested.exchange import nest
from trainers.nested.layers.batch_norm import NestedBatchNorm
from trainers.nested.layers.linear import NestedLinear
from trainers.nested.layers.norms import NORM_POLICIES, NormPolicy
from trainers.nested.network import NestedNetwork
from trainers.nested.table import Exchange

HALF = Lattice.product(width=(0.3, 0.5, 1.0))
SHAPE = (3, 8, 8)


class Gain(nn.Module):
    """A user's own layer: a factor per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(1, 2, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain[:, None, None]


class NestedGain(Gain):
    """Its nested form: as many outputs as channels arrive."""

    dimension, axis = None, 1

    def __init__(self, plain: Gain, dimension: str | None) -> None:
        super().__init__(len(plain.gain))
        self.gain, self.inputs = plain.gain, len(plain.gain)

    def activate(self, sub_model): ...

    def forward(self, x):
        return x * self.gain[: x.shape[1], None, None]

    def plain(self, channels):
        alone = Gain(channels)
        alone.gain = nn.Parameter(self.gain[:channels].detach().clone())
        return alone

    def output_shape(self, shape, prefix):
        return shape


def with_gain() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), Gain(8), nn.ReLU(), nn.Conv2d(8, 5, 1))


def same_as_extracted(net: NestedNetwork, x: Tensor) -> None:
    for target in net.lattice:
        net.eval().activate(target)
        with torch.no_grad():
            assert torch.equal(net(x), net.extract(target)(x))


def test_a_layer_of_ones_own_is_nested_by_a_row_of_the_table() -> None:
    without = nest(with_gain(), HALF, "batch", SHAPE, frozenset({"3"}))  # as a parameter beside layers, found by trying
    assert [len(without.extract(target)[1].gain) for target in HALF] == [2, 4, 8]
    net = nest(with_gain(), HALF, "batch", SHAPE, frozenset({"3"}), exchanges={Gain: Exchange(NestedGain)})
    torch.manual_seed(0)
    x = torch.randn(2, *SHAPE)
    same_as_extracted(net, x)
    assert [len(net.extract(target)[1].gain) for target in HALF] == [2, 4, 8]
    assert type(net.extract(HALF.smallest)[1]) is Gain
    net.train().activate(HALF.smallest)
    net(x).sum().backward()
    gradient = net.network[1].gain.grad
    assert gradient[:2].all()
    assert not gradient[2:].any()
    assert MacCounter(net)(HALF.smallest) == 6 * 6 * (27 * 2 + 2 * 5)


def test_a_form_that_is_no_nested_layer_is_refused_with_what_it_lacks() -> None:
    rows = {Gain: Exchange(lambda layer, dimension: nn.Identity())}
    lacking = "'1' of Sequential: its nested form Identity lacks dimension, inputs, axis, activate, plain, output_shape"
    with pytest.raises(ValueError, match=lacking):
        nest(with_gain(), HALF, "batch", SHAPE, frozenset({"3"}), exchanges=rows)


def test_a_row_takes_the_place_of_the_table_s_own() -> None:
    seen = []

    def linear(layer: nn.Linear, dimension: str | None) -> nn.Module:
        seen.append((layer.out_features, dimension))
        return NestedLinear(layer, dimension)

    plain = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))
    nest(plain, HALF, "batch", (6,), frozenset({"2"}), exchanges={nn.Linear: Exchange(linear)})
    assert seen == [(8, "width"), (5, None)] * 2  # once to try it


class Twice(nn.Module):
    """A layer of two parts that is exchanged as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.LayerNorm(8))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


class WholeTwice(Twice):
    """Reads all of its features, and so may stand where all arrive."""

    dimension, inputs, axis = None, 8, -1

    def __init__(self, plain: Twice, dimension: str | None) -> None:
        super().__init__()
        self.inner = plain.inner

    def activate(self, sub_model): ...

    def plain(self, channels):
        return Twice()

    def output_shape(self, shape, prefix):
        return shape


def test_what_lies_inside_an_exchanged_layer_is_left_to_it() -> None:
    plain = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 8), Twice(), nn.Linear(8, 5))
    net = nest(plain, HALF, "batch", (6,), frozenset({"1", "3"}), exchanges={Twice: Exchange(WholeTwice)})
    assert type(net.network[2].inner[0][0]) is nn.Linear


class Expand(nn.Linear):
    """A linear layer whose outputs are a dimension of their own."""


class Residual(nn.Module):
    """`x + end(begin(x))`, behind a stem and before a classifier."""

    def __init__(self, mixes: bool = False) -> None:
        super().__init__()
        self.mixes = mixes
        self.stem, self.begin, self.end = nn.Linear(6, 8), Expand(8, 8), nn.Linear(8, 8)
        self.classifier = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        hidden = self.begin(y).relu()
        out: Tensor = self.classifier(y + hidden if self.mixes else y + self.end(hidden))
        return out


def test_a_layer_obeys_the_dimension_that_its_row_names() -> None:
    lattice = Lattice.product(width=(0.5, 1.0), expansion=(0.25, 1.0))
    rows = {Expand: Exchange(NestedLinear, obeys="expansion")}
    net = nest(Residual(), lattice, "batch", (6,), frozenset({"classifier"}), exchanges=rows)
    same_as_extracted(net, torch.randn(4, 6))
    for target in lattice:
        plain = net.extract(target)
        assert plain.stem.out_features == plain.end.out_features == 8 * target["width"]
        assert plain.begin.out_features == plain.end.in_features == 8 * target["expansion"]


def test_two_dimensions_that_meet_in_a_sum_are_refused_though_they_are_alike_in_some_sub_models() -> None:
    lattice = Lattice.product(width=(0.5, 1.0), expansion=(0.5, 1.0))
    rows = {Expand: Exchange(NestedLinear, obeys="expansion")}
    with pytest.raises(ValueError, match=r"^cannot nest Residual: it does not run with fewer channels"):
        nest(Residual(mixes=True), lattice, "batch", (6,), frozenset({"classifier"}), exchanges=rows)


class Deep(nn.Module):
    """Three residual blocks of one convolution and one norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)) for _ in range(3)))
        self.classifier = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.blocks(self.stem(x)).mean((2, 3)))
        return logits


BLOCKS = ("blocks.1", "blocks.2")
HEAD = frozenset({"classifier"})


@pytest.mark.parametrize("norm", NORM_POLICIES)
def test_depth_needs_no_width(norm: NormPolicy) -> None:
    depths = Lattice.product(depth=(1, 2))
    net = nest(Deep(), depths, norm, SHAPE, HEAD, BLOCKS)
    same_as_extracted(net, torch.randn(2, *SHAPE))
    shallow, deep = (MacCounter(net)(target) for target in depths)
    assert deep - shallow == 8 * 8 * 16
    if norm == "batch-switchable":  # between what?
        assert isinstance(net.network.blocks[0][1], NestedBatchNorm)


REFUSED = {
    "unknown": ({"width": (0.5, 1.0), "heads": (1, 2)}, (), "in 'heads': none of its layers obeys that dimension"),
    "no blocks": ({"width": (0.5, 1.0), "depth": (1, 2)}, (), "in 'depth': none .*: name its optional blocks"),
    "no depth": ({"width": (0.5, 1.0)}, BLOCKS, "with optional blocks: the lattice has no dimension 'depth'"),
    "too deep": ({"depth": (1, 3)}, BLOCKS, "in depths 1, 3: give numbers of its 2 optional blocks"),
    "a share of depth": ({"depth": (0.5, 1.0)}, BLOCKS, r"in depths 0\.5, 1: give numbers of its 2"),
    "a number of channels": ({"width": (2, 4)}, (), "in width=4: give shares"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_dimension_that_no_layer_obeys_is_refused_by_name(kind: str) -> None:
    supports, optional, reason = REFUSED[kind]
    network = Deep()
    with pytest.raises(ValueError, match=f"^cannot nest Deep {reason}") as caught:
        nest(network, Lattice.product(**supports), "batch", SHAPE, HEAD, optional)
    assert "\n" not in str(caught.value)
    assert type(network.stem) is nn.Conv2d


def test_a_line_of_affine_parameters_needs_the_width_that_it_runs_along() -> None:
    with pytest.raises(ValueError, match="the lattice has no dimension of their width"):
        nest(Deep(), Lattice.product(depth=(1, 2)), "instance", SHAPE, HEAD, BLOCKS, affine="line")
