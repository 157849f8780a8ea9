"""Channels sorted by importance: the network stays what it is, and prefixes hold what matters."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.test_nested_contract import ACCEPTED, LARGER, SIZE, images, published
from trainers.building.initial_weights import initialise
from trainers.lattice import Lattice
from trainers.nested.exchange import nest
from trainers.nested.layers.attention import NestedSelfAttention
from trainers.nested.layers.linear import NestedLinear
from trainers.nested.reordering import IMPORTANCES, Importance, Reordering
from trainers.nested.table import Exchange
from trainers.networks.architectures import NETWORKS
from trainers.submodel import SubModel

SHAPE = (3, SIZE, SIZE)


def sorted_by(network: nn.Module, by: Importance, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    """A copy of a network with its channels sorted."""
    moved = copy.deepcopy(network)
    Reordering.of(network, shape).sort(moved, by)
    return moved


@pytest.mark.parametrize("family", ACCEPTED)
def test_a_sorted_network_is_the_same_function(family: str) -> None:
    network, heads = published(family)
    size = LARGER.get(family, SIZE)
    network.double().eval()
    reordering = Reordering.of(network, (3, size, size))
    assert reordering.channels.heads == heads  # found, not told
    x = images(size=size).double()
    with torch.no_grad():
        before = network(x)
        for by in IMPORTANCES:
            moved = copy.deepcopy(network)
            reordering.sort(moved, by)
            torch.testing.assert_close(moved(x), before, rtol=0, atol=1e-12 * float(before.abs().max()))
            stayed = [
                name
                for (name, one), other in zip(network.named_parameters(), moved.parameters(), strict=True)
                if one.numel() > 1 and torch.equal(one, other)
            ]
            # The head's classes stay; so may inside of attention what has an order of heads only, or of nothing.
            attentions = [path for path, form in reordering.forms.items() if isinstance(form, NestedSelfAttention)]
            assert all(name.startswith((*heads, *attentions)) for name in stayed), stayed


@pytest.mark.parametrize("by", IMPORTANCES)
def test_the_first_channels_are_the_most_important_ones(by: Importance) -> None:
    """On layers whose importance is plain to see: in every one it falls from the first channel to the last."""
    network, _ = published("VGG")
    moved = sorted_by(network.double(), by)
    convolutions = [module for module in moved.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in moved.modules() if isinstance(module, nn.BatchNorm2d)]
    scores = [norm.weight.detach().abs() for norm in norms]
    if by == "l1":
        scores = [convolution.weight.detach().abs().flatten(1).sum(1) for convolution in convolutions]
    assert len(scores) == 8
    for score in scores:
        assert (score.diff() <= 0).all()
        assert score[0] > score[-1]


def test_channels_that_are_added_are_sorted_by_their_sum() -> None:
    network, _ = published("ResNet")
    moved = sorted_by(network.double(), "l1")
    stream = [moved.get_parameter(f"{path}.weight") for path in ("conv1", "layer1.0.conv2", "layer1.1.conv2")]
    score = torch.stack([weight.detach().abs().flatten(1).sum(1) for weight in stream]).sum(0)
    assert (score.diff() <= 0).all()
    assert (stream[0].detach().abs().flatten(1).sum(1).diff() > 0).any()  # which alone it is not


def test_groups_of_a_convolution_move_as_a_whole() -> None:
    network, _ = published("ResNeXt")
    moved = sorted_by(network.double(), "l1")
    before, after = (each.get_parameter("layer1.0.bn1.weight").detach() for each in (network, moved))
    whole = {tuple(group.tolist()) for group in before.view(-1, 4)}
    assert {tuple(group.tolist()) for group in after.view(-1, 4)} == whole
    assert not torch.equal(before, after)


def test_heads_are_sorted_by_what_reads_them() -> None:
    network, _ = published("ViT")
    moved = sorted_by(network.double(), "l1")
    attentions = [module for module in moved.modules() if isinstance(module, nn.MultiheadAttention)]
    assert len(attentions) == 3
    for attention in attentions:
        read = attention.out_proj.weight.detach().abs().unflatten(1, (4, 32)).sum((0, 2))
        assert (read.diff() <= 0).all()


@pytest.mark.parametrize("by", IMPORTANCES)
def test_what_is_equally_important_stays_in_its_order(by: Importance) -> None:
    network, _ = published("MobileNet v3")
    for parameter in network.parameters():
        parameter.data.fill_(0.5)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.arange(len(parameter)))
    moved = sorted_by(network, by)
    for one, other in zip(network.parameters(), moved.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_smaller_sub_model_of_a_pruned_network_has_all_that_it_has() -> None:
    """Of a network half of whose channels are dead, wherever they lie, the half width is the whole network."""
    architecture = NETWORKS["cpreresnet20"]
    network = architecture.build((3, 32, 32), 10)
    initialise(network, seed=0)
    network.double().eval()
    reordering = Reordering.of(network, (3, 32, 32))
    generator = torch.Generator().manual_seed(4)
    dead = [
        torch.randperm(stream.channels, generator=generator)[: stream.channels // 2]
        for stream in reordering.channels.streams
    ]
    with torch.no_grad():
        for path, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                layer = next(each for each in (path, path.rpartition(".")[0]) if each in reordering.channels.read)
                streams, index = reordering.channels.read[layer]
                lacking = torch.isin(index, dead[int(streams[0])])
                module.weight[lacking] = module.bias[lacking] = 0
        for number, stream in enumerate(reordering.channels.streams):
            for source in stream.sources:
                if source.name not in reordering.channels.heads:
                    network.get_parameter(f"{source.name}.weight")[dead[number]] = 0
    x = torch.randn(3, 3, 32, 32, generator=generator, dtype=torch.double)
    for by in IMPORTANCES:
        moved = copy.deepcopy(network)
        reordering.sort(moved, by)
        lattice = Lattice.product(width=(0.5, 1.0))
        expected = network(x)
        assert expected.std(0).min() > 1e-3
        for start, same in ((network, False), (moved, True)):
            nested = nest(copy.deepcopy(start), lattice, "batch", (3, 32, 32), architecture.heads).eval()
            nested.activate(lattice.smallest)
            assert torch.allclose(nested(x), expected, rtol=0, atol=1e-10) is same


class Rolled(nn.Module):
    """Adds each channel to the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        out: Tensor = self.head(self.second(x + x.roll(1, 1)).mean((2, 3)))
        return out


class Padded(nn.Module):
    """Adds four channels to the first of eight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        few = self.first(x)
        sum_of_both = self.second(x) + torch.cat((few, torch.zeros_like(few)), 1)
        out: Tensor = self.head(sum_of_both.mean((2, 3)))
        return out


class Own(nn.Linear):
    """A layer of a user's own."""


class WithOwn(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 1), nn.Flatten(), Own(8, 8), nn.Linear(8, 5))


class OwnForm(NestedLinear):
    """Its nested form."""


@pytest.mark.parametrize(
    ("make", "shape", "said"),
    [
        (Rolled, (3, 4, 4), r"layer 'second' of Rolled: its channels can't be sorted: some are made of several"),
        (Padded, (3, 4, 4), r"layer 'first' of Padded: its channels can't be sorted: they are added to more of them"),
    ],
)
def test_channels_that_cannot_be_followed_are_refused_by_path(
    make: Callable[[], nn.Module], shape: tuple[int, ...], said: str
) -> None:
    network = make()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ValueError, match=said):
        Reordering.of(network, shape).sort(network, "l1")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_nested_form_of_its_own_is_refused_by_path() -> None:
    rows = {Own: Exchange(lambda layer, dimension: Unknown(layer, dimension))}
    with pytest.raises(ValueError, match=r"layer '2' of WithOwn: its channels can't be sorted: it is not known which"):
        Reordering.of(WithOwn(), (3, 1, 1), rows)
    subclass = {Own: Exchange(OwnForm)}
    Reordering.of(WithOwn(), (3, 1, 1), subclass).sort(WithOwn(), "l1")


class Unknown(nn.Module):
    """A nested layer like a linear one that derives from nothing that is known."""

    axis = -1

    def __init__(self, layer: nn.Linear, dimension: str | None) -> None:
        super().__init__()
        self.inner = NestedLinear(layer, dimension)
        self.dimension, self.inputs, self.outputs = dimension, self.inner.inputs, self.inner.outputs

    def activate(self, sub_model: SubModel) -> None:
        self.inner.activate(sub_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def plain(self, channels: int) -> nn.Module:
        return self.inner.plain(channels)

    def output_shape(self, shape: tuple[int, ...], prefix: Callable[[int], int]) -> tuple[int, ...]:
        return self.inner.output_shape(shape, prefix)
