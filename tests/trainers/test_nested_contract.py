"""What `nest` promises of any network: the largest sub-model is it, all others are masks of it; or it is refused."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2
from torchvision.ops import StochasticDepth

from tests.trainers.timm_networks import TIMM, TIMM_REFUSED
from trainers.extraction.export import program
from trainers.lattice import Lattice
from trainers.nested.exchange import nest
from trainers.nested.layers.attention import NestedSelfAttention
from trainers.nested.layers.batch_norm import NestedBatchNorm
from trainers.nested.layers.convolution import NestedConv2d
from trainers.nested.layers.layer import NestedLayer, PlacedLayer
from trainers.nested.layers.layer_norm import NestedLayerNorm
from trainers.nested.layers.norms import NormPolicy
from trainers.nested.network import NestedNetwork
from trainers.submodel import SubModel

HALF = Lattice.product(width=(0.3, 0.5, 1.0))
SIZE = 64  # pixels a side
LARGER = {"Inception v3": 96}  # which has no strides to spare


def randomised(network: nn.Module) -> nn.Module:
    """The network with random weights, affine parameters and statistics, of a scale that neither dies nor explodes."""
    generator = torch.Generator().manual_seed(0)
    if next(network.parameters()).is_meta:
        network.to_empty(device="cpu")
    for name, value in network.state_dict().items():
        if name.endswith("position_index"):
            continue
        if value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif name.endswith(("weight", "running_var")):
            value.uniform_(0.5, 1.5, generator=generator)
        else:
            value.zero_() if name.endswith("tracked") else value.normal_(0, 0.3, generator=generator)
    return network


def vgg() -> nn.Module:
    network = models.vgg11_bn(dropout=0)
    network.classifier = nn.Sequential(nn.Linear(512 * 49, 32), nn.ReLU(), nn.Linear(32, 10))  # 120M parameters fewer
    return network


def alexnet() -> nn.Module:
    network = models.alexnet(dropout=0)
    network.classifier = nn.Sequential(nn.Linear(256 * 36, 32), nn.ReLU(), nn.Linear(32, 10))
    return network


def on_cpu(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Without stochastic depth; made where its widths and tables of positions are computed by tensors."""

    def build() -> nn.Module:
        with torch.device("cpu"):
            network = make()
        for module in network.modules():
            if isinstance(module, StochasticDepth):
                module.p = 0
        return network

    return build


def squeezenet() -> nn.Module:
    network = models.squeezenet1_1(dropout=0)
    network.classifier[2] = nn.Identity()  # its last ReLU leaves nothing of some classes
    return network


def swin_v2() -> nn.Module:
    return models.SwinTransformer(
        [4, 4], 32, [1, 2], [2, 4], [4, 4], block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2
    )


ACCEPTED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "AlexNet": (alexnet, "classifier.2"),
    "ConvNeXt": (lambda: models.convnext_tiny(stochastic_depth_prob=0), "classifier.2"),
    "DenseNet": (models.densenet121, "classifier"),
    "EfficientNet": (lambda: models.efficientnet_b0(dropout=0, stochastic_depth_prob=0), "classifier.1"),
    "GoogLeNet": (lambda: models.googlenet(init_weights=False, aux_logits=False, dropout=0), "fc"),
    "Inception v3": (lambda: models.inception_v3(init_weights=False, aux_logits=False, dropout=0), "fc"),
    "MaxViT": (
        on_cpu(lambda: models.MaxVit((64, 64), 32, 4, [32, 64], [1, 2], 16, 0.0, num_classes=10)),
        "classifier.5",
    ),
    "MNASNet": (lambda: models.mnasnet0_5(dropout=0), "classifier.1"),
    "MobileNet v2": (lambda: models.mobilenet_v2(dropout=0), "classifier.1"),
    "MobileNet v3": (lambda: models.mobilenet_v3_small(dropout=0), "classifier.3"),
    "RegNet": (on_cpu(models.regnet_x_400mf), "fc"),
    "RegNet Y": (on_cpu(models.regnet_y_400mf), "fc"),
    "ResNeXt": (lambda: ResNet(Bottleneck, [1, 1, 1, 1], groups=32, width_per_group=4), "fc"),
    "ResNet": (lambda: models.resnet18(zero_init_residual=True), "fc"),
    "SqueezeNet": (squeezenet, "classifier.1"),
    "Swin": (on_cpu(models.swin_t), "head"),
    "Swin v2": (on_cpu(swin_v2), "head"),
    "VGG": (vgg, "classifier.2"),
    "ViT": (lambda: models.VisionTransformer(SIZE, 16, 3, 4, 128, 256), "heads.head"),
    "Wide ResNet": (lambda: ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=128), "fc"),
    **{family: (on_cpu(make), head) for family, (make, head) in TIMM.items()},
}
NORMS_BEHIND_CONCATENATIONS = ("DenseNet", "timm DenseNet")
REFUSED: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "ShuffleNet v2": (
        models.shufflenet_v2_x0_5,
        "fc",
        r"'stage2\.1\.branch2\.0' of ShuffleNetV2: ",
    ),
    **{family: (on_cpu(make), head, reason) for family, (make, head, reason) in TIMM_REFUSED.items()},
}


def published(family: str) -> tuple[nn.Module, frozenset[str]]:
    make, head = ACCEPTED[family]
    with torch.device("meta"):
        network = make()
    randomised(network)
    for parameter in network.parameters() if family == "SqueezeNet" else ():  # without norms narrow ones would die out
        parameter.data.mul_(1.8)
    return network, frozenset({head})


def images(count: int = 4, channels: int = 3, size: int = SIZE) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def as_mask(net: NestedNetwork, sub_model: SubModel, x: Tensor) -> tuple[Tensor, Tensor]:
    """The output of a sub-model, and of the whole network with zeros after each layer outside of what that has."""
    had: dict[str, Tensor] = {}
    layers = {path: layer for path, layer in net.network.named_modules() if isinstance(layer, NestedLayer)}
    layers = {path: layer for path, layer in layers.items() if "affine" not in path}

    def hooked(hook: Callable[[str, nn.Module, Tensor, dict[str, Any], Any], Any]) -> Tensor:
        handles = [
            layer.register_forward_hook(
                lambda layer, inputs, options, out, path=path: hook(path, layer, inputs[0], options, out),
                with_kwargs=True,
            )
            for path, layer in layers.items()
        ]
        with torch.no_grad():
            out: Tensor = net(x)
        for handle in handles:
            handle.remove()
        return out

    def remember(path: str, layer: nn.Module, x: Tensor, options: dict[str, Any], out: Any) -> None:
        out = out[0] if isinstance(out, tuple) else out
        channels, places = out.shape[dimension(layer)], getattr(layer, "places", None)
        follows = places is not None and layer.dimension is None and len(places) == channels  # a norm does
        had[path] = places if follows else torch.arange(channels)

    def mask(path: str, layer: nn.Module, x: Tensor, options: dict[str, Any], out: Any) -> Any:
        if isinstance(layer, NestedLayerNorm):
            return normed_alone(layer, x, had[path])
        if isinstance(layer, NestedSelfAttention):
            out = with_heads(layer, x, options, len(had[path]))
        whole = out[0] if isinstance(out, tuple) else out
        lacking = torch.ones(whole.shape[dimension(layer)], dtype=torch.bool).index_fill_(0, had[path], False)
        whole.index_fill_(dimension(layer), lacking.nonzero().flatten(), 0)
        return out

    net.activate(sub_model)
    sliced = hooked(remember)
    net.activate(net.lattice.largest)
    return sliced, hooked(mask)


def normed_alone(norm: NestedLayerNorm, x: Tensor, features: Tensor) -> Tensor:
    """What a LayerNorm gives if it has some features only: the others are no zeros that it takes into its mean."""
    assert norm.bias is not None
    x, out = x.movedim(norm.axis, -1), torch.zeros_like(x.movedim(norm.axis, -1))
    own = F.layer_norm(x[..., features], features.shape, norm.weight[features], norm.bias[features], norm.eps)
    return out.index_copy_(-1, features, own).movedim(-1, norm.axis)


def with_heads(attention: NestedSelfAttention, x: Tensor, options: dict[str, Any], features: int) -> Any:
    """What a self-attention gives if the values of its other heads are zero."""
    masked = copy.deepcopy(attention.attention)
    for parameter in masked.parameters():
        if parameter.shape[0] == 3 * attention.inputs:
            parameter.data[2 * attention.inputs + features :] = 0
    same = (x, x) if isinstance(masked, nn.MultiheadAttention) else ()
    return masked(x, *same, **options)


def dimension(layer: nn.Module) -> int:
    assert isinstance(layer, NestedLayer)
    return layer.axis


@pytest.mark.parametrize("family", ACCEPTED)
def test_a_sub_model_is_the_whole_network_with_a_mask(family: str) -> None:
    network, head = published(family)
    size = LARGER.get(family, SIZE)
    net = nest(network.double(), HALF, "batch", (3, size, size), head)
    for sub_model in (HALF.smallest, SubModel(width=0.77)):
        # In training, where BatchNorm keeps narrow sub-models, too, from dying out.
        sliced, masked = as_mask(net, sub_model, images(size=size).double())
        assert sliced.std(0).min() > 1e-3
        torch.testing.assert_close(sliced, masked, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", REFUSED)
def test_a_network_without_such_sub_models_is_refused_by_path(family: str) -> None:
    make, head, reason = REFUSED[family]
    with torch.device("meta"):
        network = make()
    before = [type(module) for module in network.modules()]
    with pytest.raises(ValueError, match=r"^cannot nest .*" + reason) as caught:
        nest(network, HALF, "batch", (3, 224, 224), frozenset({head}))
    assert "\n" not in str(caught.value)
    assert [type(module) for module in network.modules()] == before


@pytest.mark.parametrize("norm", ["batch", "batch-switchable"])
@pytest.mark.parametrize("family", ACCEPTED)
def test_the_largest_sub_model_is_the_plain_network_bit_for_bit(family: str, norm: NormPolicy) -> None:
    plain, head = published(family)
    size = LARGER.get(family, SIZE)
    if norm == "batch-switchable" and family in NORMS_BEHIND_CONCATENATIONS:
        with pytest.raises(ValueError, match=r"isn't the first .* SwitchableBatchNorm knows no others"):
            nest(plain, HALF, norm, (3, size, size), head)
        return
    net = nest(copy.deepcopy(plain), HALF, norm, (3, size, size), head)
    x = images(size=size)
    with torch.no_grad():
        assert torch.equal(net.eval()(x), plain.eval()(x))
        assert torch.equal(net.train()(x), plain.train()(x))
        assert torch.equal(net.eval()(x), plain.eval()(x))  # by the statistics that training has moved
        alone = net.extract(HALF.largest)
        assert torch.equal(alone(x), plain(x))
        assert torch.equal(alone.train()(x), plain.train()(x))
        assert torch.equal(alone.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("family", ACCEPTED)
def test_a_cut_out_sub_model_is_exported_for_any_batch_size(family: str) -> None:
    plain, head = published(family)
    shape = (3, LARGER.get(family, SIZE), LARGER.get(family, SIZE))
    alone = nest(plain, HALF, "batch", shape, head).extract(HALF.smallest).eval()
    batches = [images(count, size=shape[-1]) for count in (1, 3)]
    answers = [alone(x) for x in batches]  # gradients are on, as in the export: without them ViT takes another kernel
    exported = program(alone, shape).module()
    for x, answer in zip(batches, answers, strict=True):
        assert torch.equal(exported(x), answer)


@pytest.mark.parametrize("family", ["DenseNet", "GoogLeNet", "SqueezeNet", "timm DenseNet"])
def test_behind_a_concatenation_a_sub_model_is_cut_out_and_touches_only_its_own(family: str) -> None:
    plain, head = published(family)
    net = nest(plain, HALF, "batch", (3, SIZE, SIZE), head)
    x = images()
    for sub_model in (HALF.smallest, SubModel(width=0.77)):
        net.zero_grad(set_to_none=True)
        net.train().activate(sub_model)
        before = {name: buffer.clone() for name, buffer in net.named_buffers()}
        alone = net.extract(sub_model)
        assert not any(isinstance(module, NestedLayer) for module in alone.modules())
        for each in (net, alone):
            each(x).square().sum().backward()
        read = {path: layer.places for path, layer in net.network.named_modules() if isinstance(layer, PlacedLayer)}
        assert any(places is not None for places in read.values())
        for path, layer in net.network.named_modules():
            if isinstance(layer, NestedConv2d):
                own = alone.get_submodule(path)
                assert isinstance(own, nn.Conv2d)
                assert layer.weight.grad is not None
                inside = layer.weight.grad[: len(own.weight)]
                if (places := read[path]) is not None:
                    inside = inside.index_select(1, places)
                else:
                    inside = inside[:, : own.weight.shape[1]]
                assert torch.equal(inside, own.weight.grad)
                assert layer.weight.grad.count_nonzero() == own.weight.grad.count_nonzero()  # zero beside it
            if isinstance(layer, NestedBatchNorm):
                own = alone.get_submodule(path)
                own = own[0] if isinstance(own, nn.Sequential) else own
                places = read[path]
                places = torch.arange(own.num_features) if places is None else places
                assert torch.equal(layer.running_var[places], own.running_var)
                elsewhere = torch.ones(layer.inputs, dtype=torch.bool).index_fill_(0, places, False)
                name = f"network.{path}.running_var"
                assert torch.equal(layer.running_var[elsewhere], before[name][elsewhere])
                assert not torch.equal(layer.running_var, before[name])
        with torch.no_grad():
            assert torch.equal(net.eval()(x), alone.eval()(x))


@pytest.mark.parametrize("family", ACCEPTED)
def test_training_a_sub_model_trains_what_is_cut_out_and_nothing_else(family: str) -> None:
    plain, head = published(family)
    size = LARGER.get(family, SIZE)
    net = nest(plain.double(), HALF, "batch", (3, size, size), head).train()
    net.activate(HALF.smallest)
    alone, x = net.extract(HALF.smallest), images(size=size).double()
    assert not any(isinstance(module, NestedLayer) for module in alone.modules())
    before = [{name: value.clone() for name, value in each.state_dict().items()} for each in (net, alone)]
    optimizers = [torch.optim.SGD(each.parameters(), lr=1e-3, momentum=0.9) for each in (net, alone)]
    for _ in range(3):
        for each, optimizer in zip((net, alone), optimizers, strict=True):
            optimizer.zero_grad()
            each(x).square().mean().backward()
            optimizer.step()
    moved = [
        sum(int((value != old[name]).sum()) for name, value in each.state_dict().items() if value.is_floating_point())
        for each, old in zip((net, alone), before, strict=True)
    ]
    again = net.extract(HALF.smallest).state_dict()
    for name, value in alone.state_dict().items():
        if not name.endswith("tracked"):
            torch.testing.assert_close(again[name], value)
    # What moved is what moved in the cut-out one, and nothing beside it. A step below rounding may differ.
    assert abs(moved[0] - moved[1]) <= 1e-5 * moved[1]


@pytest.mark.parametrize("family", ["RegNet", "RegNet Y", "ResNeXt", "timm RegNet Y"])
def test_a_convolution_in_groups_keeps_whole_groups_and_the_one_before_it_a_multiple(family: str) -> None:
    plain, head = published(family)
    net = nest(plain, HALF, "batch", (3, SIZE, SIZE), head)
    assert net.anatomy.multiples
    for sub_model in (HALF.smallest, SubModel(width=0.77), SubModel(width=0.01)):
        net.activate(sub_model)
        alone = net.train().extract(sub_model)
        pairs = [
            (alone.get_submodule(path), layer)
            for path, layer in net.network.named_modules()
            if isinstance(layer, NestedConv2d) and layer.grouped
        ]
        assert pairs
        for own, layer in pairs:
            assert isinstance(own, nn.Conv2d)
            assert own.in_channels == own.groups * layer.per_group <= layer.inputs
        net.zero_grad(set_to_none=False)
        for each in (net, alone):
            each(images()).square().sum().backward()
        for own, layer in pairs:
            assert isinstance(own, nn.Conv2d)
            assert layer.weight.grad is not None
            # Without AVX512 gradients that come through weights with gaps are summed in another order.
            rounding = 1e-5 * float(own.weight.grad.abs().max())
            torch.testing.assert_close(layer.weight.grad[: len(own.weight)], own.weight.grad, rtol=0, atol=rounding)
            assert not layer.weight.grad[len(own.weight) :].any()
        with torch.no_grad():
            assert torch.equal(net.eval()(images()), alone.eval()(images()))


def test_groups_of_channels_are_not_those_of_the_whole_behind_a_concatenation() -> None:
    plain, head = published("DenseNet")
    with pytest.raises(ValueError, match="NestedGroupNorm knows no others"):
        nest(plain, HALF, "group", (3, SIZE, SIZE), head)
    nest(plain, HALF, "instance", (3, SIZE, SIZE), head)


def test_groups_of_a_sum_are_refused_and_not_taken_for_another_layers() -> None:
    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = (nn.Conv2d(3, 8, 3, padding=1) for _ in range(3))
            self.parted, self.classifier = nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.classifier((self.parted(self.first(x) + self.second(x)) + self.third(x)).mean((2, 3)))
            return logits

    with pytest.raises(ValueError, match=r"'parted' of Summed: it is in groups, .* not the outputs of one convolution"):
        nest(Summed(), HALF, "batch", (3, 8, 8), frozenset({"classifier"}))


def test_places_are_found_by_the_paths_of_the_plain_network_inside_optional_blocks_and_out() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.ModuleList([nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 8, 1)])

        def forward(self, x: Tensor) -> Tensor:
            left, right, join = self.block
            return x + torch.as_tensor(join(torch.cat([left(x), right(x)], 1)))

    lattice = Lattice.product(width=(0.5, 1.0), depth=(1, 2))
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), Branches(), Branches(), Branches(), nn.Conv2d(8, 5, 1))
    net = nest(plain, lattice, "batch", (3, 8, 8), frozenset({"4"}), ("2", "1")).eval()
    x = images(2, size=8)
    sliced, masked = as_mask(net, SubModel(width=0.5, depth=2), x)
    torch.testing.assert_close(sliced, masked)
    for sub_model in lattice:
        net.activate(sub_model)
        with torch.no_grad():
            assert torch.equal(net.extract(sub_model)(x), net(x))
