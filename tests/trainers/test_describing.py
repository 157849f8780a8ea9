"""What is found in a network before anything is trained: heads, residual blocks, stages; and dimensions of stages."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from tests.trainers.test_nested_contract import ACCEPTED, LARGER, SIZE, as_mask, images, published
from trainers.lattice import Lattice
from trainers.nested.decompose import decompose
from trainers.nested.describing import Description, describe, examine
from trainers.nested.exchange import nest
from trainers.nested.layers.layer import ElasticLayer
from trainers.networks.torchvision_nets import mobilenet_v2_blocks
from trainers.submodel import SubModel

SHAPE = (3, SIZE, SIZE)


def of(family: str) -> tuple[nn.Module, Description]:
    """A network and what is found in it, in evaluation mode."""
    network, heads = published(family)
    size = LARGER.get(family, SIZE)
    found = examine(network.eval(), (3, size, size))
    assert found.heads == heads
    return network, found


def test_the_blocks_that_were_listed_by_hand_are_found() -> None:
    _, found = of("MobileNet v2")
    assert found.optional == mobilenet_v2_blocks()
    _, found = of("ResNet")
    assert found.optional == ("layer1.0", "layer2.1", "layer3.1", "layer4.1", "layer1.1")


WIDTHS = ("025", "050", "075", "100")
BLOCKS = {
    "AlexNet": 0,
    "ConvNeXt": 18,
    "DenseNet": 0,
    "EfficientNet": 9,
    "GoogLeNet": 0,
    "MaxViT": 7,  # each attention over windows or a grid, and one convolution
    "MobileNet v3": 6,  # and none of its gates, whose output is as their input, too
    "RegNet": 18,
    "SqueezeNet": 0,
    "Swin": 12,
    "VGG": 0,
    "ViT": 3,
}


@pytest.mark.parametrize("family", BLOCKS)
def test_a_network_goes_on_without_the_blocks_that_are_found(family: str) -> None:
    network, found = of(family)
    assert len(found.optional) == BLOCKS[family]
    assert sorted(found.optional) == sorted(block for stage in found.stages for block in stage.blocks)
    for block in found.optional[:4]:
        without = copy.deepcopy(network)
        without.set_submodule(block, nn.Identity())
        x = images(2)
        assert without(x).shape == network(x).shape


@pytest.mark.parametrize("family", ACCEPTED)
def test_every_layer_but_the_heads_is_in_one_stage(family: str) -> None:
    network, found = of(family)
    decompose(network, {})
    size = LARGER.get(family, SIZE)
    net = nest(network, Lattice.product(width=(0.5, 1.0)), "batch", (3, size, size), found.heads)
    elastic = {path for path, layer in net.network.named_modules() if isinstance(layer, ElasticLayer)} - found.heads
    staged = [path for stage in found.stages for path in stage.layers]
    assert len(staged) == len({*staged})
    assert {path for path in elastic if getattr(net.network.get_submodule(path), "dimension", None)} <= {*staged}
    assert not found.heads & {*staged}


STAGED = ("DenseNet", "EfficientNet", "RegNet", "ResNet", "ResNeXt", "Swin", "VGG", "ConvNeXt")


@pytest.mark.parametrize("family", STAGED)
def test_widths_and_depths_of_stages_keep_the_contract(family: str) -> None:
    network, found = of(family)
    assert len(found.stages) >= 3
    values = {f"width_{number}": (0.3 + 0.1 * number, 1.0) for number in range(1, len(found.stages) + 1)}
    depths = {
        f"depth_{number}": (1, len(stage.blocks))
        for number, stage in enumerate(found.stages, start=1)
        if len(stage.blocks) > 1
    }
    ends = [SubModel(**{name: both[end] for name, both in {**values, **depths}.items()}) for end in (0, 1)]
    plain = copy.deepcopy(network)
    net = nest(network, Lattice(tuple(ends)), "batch", SHAPE, found.heads, stages=found.stages).eval()
    x = images()
    with torch.no_grad():
        assert torch.equal(net(x), plain(x))
    net.double()
    every_other = {name: both[number % 2] for number, (name, both) in enumerate(values.items())}
    mixed = SubModel(**every_other, **{name: both[0] for name, both in depths.items()})
    for sub_model in (ends[0], mixed):
        if not depths:  # whose masks would have to leave out blocks
            sliced, masked = as_mask(net.train(), sub_model, x.double())
            assert sliced.std(0).min() > 1e-3
            torch.testing.assert_close(sliced, masked, rtol=1e-6, atol=1e-6)
        net.eval().activate(sub_model)
        with torch.no_grad():
            assert torch.equal(net.extract(sub_model)(x.double()), net(x.double()))
    net.activate(mixed)
    for number, stage in enumerate(found.stages, start=1):
        for path in stage.layers:
            module = net.network.get_submodule(path) if path in dict(net.network.named_modules()) else None
            if isinstance(module, ElasticLayer) and module.dimension is not None:
                assert module.dimension == f"width_{number}"


def test_a_stage_whose_width_is_not_named_is_whole_or_follows_the_width() -> None:
    network, found = of("ResNet")
    lattice = Lattice.product(width_2=(0.5, 1.0))
    net = nest(copy.deepcopy(network), lattice, "batch", SHAPE, found.heads, stages=found.stages)
    net.activate(lattice.smallest)
    outputs = {path: net.network.get_submodule(path).outputs for path in ("conv1", "layer2.0.conv1", "layer3.0.conv1")}
    assert outputs == {"conv1": 64, "layer2.0.conv1": 64, "layer3.0.conv1": 256}
    lattice = Lattice.product(width=(0.25, 1.0), width_2=(0.5, 1.0))
    net = nest(network, lattice, "batch", SHAPE, found.heads, stages=found.stages)
    net.activate(SubModel(width=0.25, width_2=1.0))
    outputs = {path: net.network.get_submodule(path).outputs for path in outputs}
    assert outputs == {"conv1": 16, "layer2.0.conv1": 128, "layer3.0.conv1": 64}


@pytest.mark.parametrize(
    ("supports", "staged", "said"),
    [
        ({"width_5": (0.5, 1.0)}, True, "in 'width_5': none of its layers obeys that dimension: it has 4 stages"),
        ({"width_1": (0.5, 1.0)}, False, "in 'width_1': none of its layers obeys that dimension: give its stages"),
        ({"depth_2": (1, 2)}, True, "in depth_2 1, 2: give numbers of its stage's 1 optional blocks"),
        ({"width_2": (0.5, 2.0)}, True, "in width_2=2: give shares of its layers' outputs, up to 1"),
        ({"depth": (1, 5), "depth_1": (1, 2)}, True, "two depths count block 'layer1.0': choose one of them"),
    ],
)
def test_dimensions_that_no_stage_has_are_refused(
    supports: dict[str, tuple[float, ...]], staged: bool, said: str
) -> None:
    network, found = of("ResNet")
    optional = found.optional if "depth" in supports else ()
    lattice = Lattice(
        tuple(
            SubModel(**{n: int(v[e]) if v[e] > 1 or "depth" in n else v[e] for n, v in supports.items()})
            for e in (0, 1)
        )
    )
    with pytest.raises(ValueError, match=f"^cannot nest ResNet.* {said}"):
        nest(network, lattice, "batch", SHAPE, found.heads, optional, stages=found.stages if staged else ())


def test_a_description_says_what_can_be_nested_and_what_it_costs() -> None:
    lattice = Lattice.product(width=(0.5, 1.0), depth=(1, 5))
    network = models.resnet18()
    before = [(name, value.clone()) for name, value in network.state_dict().items()]
    assert str(describe(network, (3, 224, 224), lattice=lattice)) == (
        "ResNet: 21 layers, heads fc\n"
        "  stage 1: 5 layers of 64 channels, to 56×56, 2 optional blocks: layer1.0, layer1.1\n"
        "  stage 2: 5 layers of 128 channels, to 28×28, 1 optional block: layer2.1\n"
        "  stage 3: 5 layers of 256 channels, to 14×14, 1 optional block: layer3.1\n"
        "  stage 4: 5 layers of 512 channels, to 7×7, 1 optional block: layer4.1\n"
        "  dimensions: width 0 to 1, depth 1 to 5, width_1 0 to 1, depth_1 1 to 2, width_2 0 to 1, width_3 0 to 1, "
        "width_4 0 to 1\n"
        "  d01_w050: 251,938,816 multiply-accumulates, 1,487,240 parameters\n"
        "  d01_w100: 889,229,312 multiply-accumulates, 5,418,792 parameters\n"
        "  d05_w050: 483,149,824 multiply-accumulates, 3,055,880 parameters\n"
        "  d05_w100: 1,814,073,344 multiply-accumulates, 11,689,512 parameters"  # torchvision: 1.814 G, 11689512
    )
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before)
    usual = describe(network, (3, 224, 224)).costs
    assert [target.label for target in usual] == [f"d0{depth}_w{width}" for depth in (1, 5) for width in WIDTHS]


class PostNorm(nn.Module):
    """A residual block that ends with a norm, as in the first Transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x + self.inner(x))
        return out


class Gate(nn.Module):
    """No residual block, though its output is as its input."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.inner(x).sigmoid()


def test_blocks_that_end_with_a_norm_are_found_and_gates_are_none() -> None:
    network = nn.Sequential(
        nn.Linear(3, 8), PostNorm(), Gate(), PostNorm(), nn.Sequential(nn.Linear(8, 8)), nn.Linear(8, 2)
    )
    found = examine(network, (3,))
    assert found.optional == ("1", "3")
    assert found.heads == {"5"}


def test_labels_of_stages_tell_their_number() -> None:
    assert SubModel(width_2=0.5, depth_1=3, width=0.25).label == "d1-03_w025_w2-050"


class Alone(nn.Module):
    """A residual block with nothing that its stream comes from but what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        out: Tensor = x + self.inner(y, y, y, need_weights=False)[0]
        return out


def test_a_block_that_is_all_attention_is_found_and_its_network_has_stages() -> None:
    network = nn.Sequential(nn.Linear(3, 8), Alone(), Alone(), nn.Linear(8, 2))
    found = examine(network, (5, 3))
    assert found.optional == ("1", "2")
    assert [stage.blocks for stage in found.stages] == [("1", "2")]


def test_what_cannot_be_nested_is_described_as_far_as_it_goes_or_refused_in_a_line() -> None:
    network = models.shufflenet_v2_x0_5()
    assert examine(network, SHAPE).heads == {"fc"}
    with pytest.raises(ValueError, match=r"^cannot nest layer 'stage2\.1\.branch2\.0' of ShuffleNetV2: "):
        describe(network, SHAPE)
    with pytest.raises(ValueError, match=r"^cannot nest Sequential: it has no layers with channels of their own$"):
        describe(nn.Sequential(nn.ReLU()), (3,))
    with pytest.raises(ValueError, match=r"^cannot nest layer '0' of Sequential: it reads 3 channels, but 4 reach it"):
        describe(nn.Sequential(nn.Linear(3, 2)), (4,))
