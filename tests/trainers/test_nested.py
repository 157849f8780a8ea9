import copy
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import FOUR, tiny
from trainers.building.image_costs import target_costs
from trainers.building.image_networks import build, multiply
from trainers.building.initial_weights import initialise
from trainers.lattice import Lattice
from trainers.measuring.cost import MacCounter, measure
from trainers.nested.depth import OptionalBlock
from trainers.nested.exchange import nest
from trainers.nested.layers.affine import LineAffine, line_cosine_squared
from trainers.nested.layers.batch_norm import NestedBatchNorm, SwitchableBatchNorm
from trainers.nested.layers.convolution import NestedConv2d
from trainers.nested.layers.group_norm import NestedGroupNorm
from trainers.nested.layers.linear import NestedLinear
from trainers.nested.layers.norms import NORM_POLICIES, NormPolicy
from trainers.nested.network import NestedNetwork, recalibrated
from trainers.networks.cpreresnet import CPreResNet20
from trainers.networks.torchvision_nets import mobilenet_v2, mobilenet_v2_blocks, resnet18, resnet18_blocks
from trainers.submodel import SubModel

CONTINUOUS = [norm for norm in NORM_POLICIES if norm != "batch-switchable"]
NESTED = NestedConv2d | NestedLinear | OptionalBlock | NestedGroupNorm | NestedBatchNorm | SwitchableBatchNorm


def network(norm: NormPolicy) -> NestedNetwork:
    return build(tiny(dataset="cifar10", norm=norm), seed=0)


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_macs_and_parameters_are_the_published_network_s() -> None:
    costs = target_costs(tiny(dataset="cifar10"))
    assert [round(cost.macs / 1e6, 3) for cost in costs.values()] == [2.196, 8.554, 19.073, 33.754]
    assert costs["w100"].parameters == 219_472
    assert sum(p.numel() for p in CPreResNet20().parameters()) == 219_472


def convolutions() -> nn.Module:
    """Of every kind."""
    return nn.Sequential(
        nn.Conv2d(3, 8, (3, 5), (2, 3), (4, 1), (2, 1)),
        nn.ConvTranspose2d(8, 4, 3, 2),
        nn.Conv2d(4, 8, 3, padding="same", groups=4),
        nn.Flatten(),
        nn.LazyLinear(7),
    )


@pytest.mark.parametrize("make", [convolutions, lambda: mobilenet_v2((3, 33, 47), 10)], ids=["of every kind", "v2"])
def test_multiply_accumulates_are_torch_s_count(make: Callable[[], nn.Module]) -> None:
    net = make().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 33, 47))
    assert measure(net, (3, 33, 47)).macs == counter.get_total_flops() // 2 > 0


@pytest.mark.usefixtures("restless")
def test_trials_of_one_process_count_side_by_side() -> None:
    widths = [SubModel(width=0.25 + place / 48) for place in range(36)]
    count, asked_at_once = MacCounter(network("instance")), [*FOUR, *widths] * 2
    with ThreadPoolExecutor(4) as trials:
        found = list(trials.map(count, asked_at_once))
    alone = MacCounter(network("instance"))
    assert found == [alone(sub_model) for sub_model in asked_at_once]


@pytest.mark.parametrize("norm", NORM_POLICIES)
def test_extracted_equals_nested_bit_for_bit(norm: NormPolicy) -> None:
    net = network(norm)
    net.train()
    for target in FOUR:  # moves running statistics away from their start
        net.activate(target)
        net(images())
    net.eval()
    extra = [] if norm == "batch-switchable" else [SubModel(width=0.33), SubModel(width=0.01)]
    for sub_model in [*FOUR, *extra]:
        net.activate(sub_model)
        plain = net.extract(sub_model)
        assert not any(isinstance(module, NESTED) for module in plain.modules())
        with torch.no_grad():
            assert torch.equal(net(images()), plain(images()))
        assert measure(plain, (3, 32, 32)).macs == MacCounter(net)(sub_model)


@settings(max_examples=15, deadline=None)
@given(width=st.floats(0.01, 1.0), norm=st.sampled_from(CONTINUOUS))
def test_any_width_keeps_the_rounded_prefix(width: float, norm: NormPolicy) -> None:
    net = network(norm)
    sub_model = SubModel(width=width)
    plain = net.extract(sub_model)
    convs = [module for module in plain.modules() if isinstance(module, nn.Conv2d)]
    full = [module for module in CPreResNet20().modules() if isinstance(module, nn.Conv2d)]
    for conv, whole in zip(convs[:-1], full[:-1], strict=True):
        assert conv.out_channels == max(1, round(whole.out_channels * width))
    assert convs[0].in_channels == 3
    assert convs[-1].out_channels == 10


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("norm", NORM_POLICIES)
def test_gradients_equal_those_of_slicing(norm: NormPolicy, layout: torch.memory_format) -> None:
    """The leaf views' gradients land in the full parameters as autograd's own slicing would put them."""
    net = network(norm).to(memory_format=layout)
    labels = torch.tensor([0, 1, 2, 3])
    for target in (FOUR.smallest, FOUR.largest):
        net.zero_grad(set_to_none=True)
        net.activate(target)
        plain = net.extract(target).train().to(memory_format=layout)
        for each in (net, plain):
            F.cross_entropy(each(images().to(memory_format=layout)), labels).backward()
        ours = {name.replace(".affine.", "."): p for name, p in net.network.named_parameters()}
        for path, parameter in plain.named_parameters():
            name = re.sub(r"(norm\d?)\.0\.", r"\1.", path)  # in the plain network a norm is one of two with its ReLU
            if norm == "batch-switchable" and name not in ours:
                continue  # its norms are whole modules, not prefixes
            gradient = ours[name].grad
            assert gradient is not None
            assert parameter.grad is not None
            prefix = gradient[tuple(slice(size) for size in parameter.shape)]
            torch.testing.assert_close(prefix, parameter.grad, rtol=0, atol=0)
            assert gradient.count_nonzero() == prefix.count_nonzero()  # and nothing outside
            assert gradient.stride() == ours[name].stride()


def test_gradients_of_two_sub_models_add_up() -> None:
    net, labels = network("instance"), torch.tensor([0, 1, 2, 3])
    single = {}
    for target in (FOUR.smallest, FOUR.largest):
        net.zero_grad(set_to_none=True)
        net.activate(target)
        F.cross_entropy(net(images()), labels).backward()
        single[target] = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad(set_to_none=False)
    for target in (FOUR.smallest, FOUR.largest):
        net.activate(target)
        F.cross_entropy(net(images()), labels).backward()
    for both, a, b in zip(net.parameters(), *single.values(), strict=True):
        assert both.grad is not None
        torch.testing.assert_close(both.grad, a + b)


def test_a_copy_and_a_moved_network_train_their_own_weights() -> None:
    net = network("instance")
    net(images()).sum().backward()
    twin = copy.deepcopy(net)
    twin.zero_grad(set_to_none=True)
    net.zero_grad(set_to_none=True)
    twin(images()).sum().backward()
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(parameter.grad is not None for parameter in twin.parameters())
    net.double()
    net(images().double()).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float64 for parameter in net.parameters())


def test_instance_norm_is_instance_norm() -> None:
    net = network("instance")
    norm = net.network.get_submodule("blocks.0.norm1")
    x = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(norm(x), F.instance_norm(x).relu())


def test_group_norm_of_a_prefix_is_the_prefix_of_group_norm() -> None:
    norm = network("group").network.get_submodule("blocks.0.norm1")
    x = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(norm(x)[:, :8], norm(x[:, :8]))


@pytest.mark.parametrize("separate", [False, True], ids=["nested", "separate"])
def test_recalibration_averages_batches_cumulatively_and_leaves_no_trace(separate: bool) -> None:
    nested = network("batch-recalibrated")
    net = (multiply(nested, seed=0) if separate else nested).eval()
    own = net.get_submodule("networks.w025" if separate else "network")
    stem, norm = own.get_submodule("stem"), own.get_submodule("blocks.0.norm1.0" if separate else "blocks.0.norm1")
    before = copy.deepcopy(net.state_dict())
    batches = [images(8) + shift for shift in (0.0, 1.0, 2.0)]
    net.activate(FOUR.smallest)
    with torch.no_grad():
        inputs = [stem(batch) for batch in batches]
    means, variances = (torch.stack([moment(x, (0, 2, 3)) for x in inputs]) for moment in (torch.mean, torch.var))
    with recalibrated(net, net, ((batch,) for batch in batches)):
        assert not net.training
        torch.testing.assert_close(norm.running_mean[:4], means.mean(0))
        torch.testing.assert_close(norm.running_var[:4], variances.mean(0))
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    net.train()(images(8))
    torch.testing.assert_close(norm.running_mean[:4], 0.1 * means[0])  # its usual momentum, once trained again


def test_switchable_norm_refuses_a_width_it_has_no_statistics_for() -> None:
    with pytest.raises(ValueError, match=r"w033 .*norm=batch"):
        network("batch-switchable").activate(SubModel(width=0.33))


def test_a_layer_without_a_nested_form_is_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4))
            self.classifier = nn.Linear(4, 2)

    with pytest.raises(ValueError, match=r"'body\.1' of Odd"):
        nest(Odd(), FOUR, "batch", (3, 8, 8), frozenset({"classifier"}))
    with pytest.raises(ValueError, match="no layer named clasifier in Odd"):
        nest(Odd(), FOUR, "batch", (3, 8, 8), frozenset({"clasifier"}))
    with pytest.raises(ValueError, match=r"'0' of Sequential: it is in groups, and the channels .* not the outputs"):
        nest(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 8, 3)), FOUR, "batch", (4, 8, 8), frozenset())
    with pytest.raises(ValueError, match=r"'1' of Sequential: a convolution in groups with another number of outputs"):
        nest(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, groups=2)), FOUR, "batch", (3, 8, 8), frozenset())
    with pytest.raises(ValueError, match=r"'1' of Sequential: dropout.*p=0"):
        nest(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.1)), FOUR, "batch", (3, 8, 8), frozenset())


GRID_WIDTHS, GRID_DEPTHS = (0.35, 0.5, 1.0), (1, 4, 10)
GRID = Lattice.product(width=GRID_WIDTHS, depth=GRID_DEPTHS)


@pytest.mark.parametrize("norm", NORM_POLICIES)
def test_torchvision_s_mobilenet_is_nested_in_width_and_depth_unedited(norm: NormPolicy) -> None:
    dimensions = {"width": GRID_WIDTHS, "depth": GRID_DEPTHS}
    net = build(tiny(dataset="cifar10", network="mobilenet_v2", dimensions=dimensions, norm=norm), seed=0)
    net.train()
    for target in GRID:
        net.activate(target)
        net(images())
    net.eval()
    sizes = []
    for target in GRID:
        net.activate(target)
        plain = net.extract(target)
        assert not any(isinstance(module, NESTED) for module in plain.modules())
        with torch.no_grad():
            assert torch.equal(net(images()), plain(images()))
        blocks = [path for path in mobilenet_v2_blocks() if not isinstance(plain.get_submodule(path), nn.Identity)]
        assert blocks == list(mobilenet_v2_blocks()[: int(target["depth"])])
        sizes.append(measure(plain, (3, 32, 32)).macs)
        assert sizes[-1] == MacCounter(net)(target)
    assert len(set(sizes)) == len(GRID)


def test_the_full_sub_model_is_torchvision_s_own_network() -> None:
    """Same weights, same output: nesting changes nothing at the largest sub-model."""
    for name, original in (("mobilenet_v2", mobilenet_v2), ("resnet18", resnet18)):
        plain = original((3, 32, 32), 10)
        initialise(plain, seed=0)
        net = build(tiny(dataset="cifar10", network=name, norm="batch"), seed=0).eval()
        with torch.no_grad():
            assert torch.equal(net(images()), plain.eval()(images()))


def test_depth_is_nested_every_depth_keeps_the_blocks_of_the_one_before() -> None:
    assert len(mobilenet_v2_blocks()) == 10
    residual = [n for n, m in mobilenet_v2((3, 32, 32), 10).named_modules() if getattr(m, "use_res_connect", False)]
    assert sorted(residual) == sorted(mobilenet_v2_blocks())
    assert len(resnet18_blocks()) == 4


def test_lcs_l_puts_norm_parameters_on_a_line_between_two_endpoints() -> None:
    net = build(tiny(dataset="cifar10", affine="line"), seed=0)
    norm = net.network.get_submodule("blocks.0.norm1")
    assert isinstance(norm, NestedGroupNorm)
    assert isinstance(norm.affine, LineAffine)
    with torch.no_grad():
        norm.affine.start.weight.fill_(1.0)
        norm.affine.end.weight.fill_(3.0)
    for width, expected in ((0.25, 1.0), (0.5, 1 + 2 / 3), (1.0, 3.0)):
        net.activate(SubModel(width=width))
        assert norm.affine.prefix(4)[0].tolist() == pytest.approx([expected] * 4)
        torch.testing.assert_close(net.extract(SubModel(width=width))(images()), net(images()), rtol=0, atol=0)


def test_the_lines_of_lcs_l_start_at_one_and_end_at_a_half() -> None:
    """Its second endpoint, the full width's, starts at γ = ½, as its `cpreresnet.py` fills `weight1`."""
    net = build(tiny(dataset="cifar10", affine="line"), seed=0)
    assert len(_lines(net)) == 19
    for width, scale in ((0.25, 1.0), (0.5, 5 / 6), (1.0, 0.5)):
        net.activate(SubModel(width=width))
        for line in _lines(net):
            gamma, beta = line.prefix(4)
            assert gamma.tolist() == pytest.approx([scale] * 4)
            assert beta.tolist() == [0.0] * 4


def test_the_regulariser_of_lcs_l_is_the_squared_cosine_of_gammas_alone() -> None:
    net = build(tiny(dataset="cifar10", affine="line"), seed=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in (p for line in _lines(net) for p in line.parameters()):
        parameter.data.uniform_(0.2, 1.8, generator=generator)  # γ and β alike: only γ may count
    starts = torch.cat([line.start.weight.detach() for line in _lines(net)])
    ends = torch.cat([line.end.weight.detach() for line in _lines(net)])
    penalty = line_cosine_squared(net)
    assert penalty.item() == pytest.approx(F.cosine_similarity(starts, ends, dim=0).item() ** 2)
    penalty.backward()
    for line in _lines(net):
        assert line.start.bias.grad is None
        assert line.end.bias.grad is None


def _lines(net: NestedNetwork) -> list[LineAffine]:
    return [module for module in net.modules() if isinstance(module, LineAffine)]


def test_arms_with_one_seed_start_from_the_same_weights() -> None:
    one, other = network("instance"), network("batch")
    for (name, a), (_, b) in zip(one.network.named_parameters(), other.network.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    elsewhere = CPreResNet20()
    initialise(elsewhere, seed=1)
    assert not torch.equal(elsewhere.stem.weight, one.network.get_parameter("stem.weight"))
