import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import FOUR
from trainers.nested.network import nest
from trainers.nested.pointwise import pointwise, suits
from trainers.networks.cpreresnet import CPreResNet20


def _gradients(x: Tensor, weight: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    towards = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).bfloat16().to(out.dtype)
    by_input, by_weight = torch.autograd.grad(out, (x, weight), towards)
    return out.detach().double(), by_input.double(), by_weight.double()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("inputs", "outputs", "side"), [(16, 64, 8), (7, 3, 5), (64, 16, 4)])
def test_a_pointwise_convolution_errs_by_no_more_than_bf16_rounds(
    inputs: int, outputs: int, side: int, stride: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, inputs, side, side, generator=generator).bfloat16().requires_grad_()
    weight = torch.randn(outputs, inputs, 1, 1, generator=generator).bfloat16().float().requires_grad_()
    x64, weight64 = (tensor.detach().double().requires_grad_() for tensor in (x, weight))
    exact = _gradients(x64, weight64, F.conv2d(x64, weight64, stride=stride))
    ours = _gradients(x, weight, pointwise(x, weight, (stride, stride)))
    single = x[:1].detach().requires_grad_()
    (alone,) = torch.autograd.grad(pointwise(single, weight, (stride, stride)).sum(), weight)
    assert alone.dtype == torch.float32
    for truth, by_us in zip(exact, ours, strict=True):
        assert by_us.shape == truth.shape
        assert 0 < (by_us - truth).norm() <= 2**-8 * truth.norm()  # 8 mantissa bits


def test_it_stands_in_only_where_it_is_meant_to() -> None:
    x = torch.randn(2, 4, 8, 8)
    assert not suits(x, (1, 1), (0, 0))  # fp32: bit for bit as nn.Conv2d
    with torch.autocast("cpu", torch.bfloat16):
        assert suits(x, (1, 1), (0, 0))
        assert not suits(x, (3, 3), (1, 1))
        assert not suits(x.contiguous(memory_format=torch.channels_last), (1, 1), (0, 0))
    with torch.autocast("cpu", torch.float16):
        assert not suits(x, (1, 1), (0, 0))


def test_a_network_of_them_is_the_same_network_within_the_rounding_of_bf16() -> None:
    torch.manual_seed(0)
    net = nest(CPreResNet20(), FOUR, "instance", (3, 32, 32), frozenset({"classifier"})).eval()
    x = torch.randn(4, 3, 32, 32)
    for target in FOUR:
        net.activate(target)
        with torch.no_grad():
            exact = net(x)
            with torch.autocast("cpu", torch.bfloat16):
                fast, usual = net(x), net.extract(target)(x)
        assert (fast - exact).norm() <= 1.5 * (usual - exact).norm()
