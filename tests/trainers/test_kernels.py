"""Our norm kernels against torch's, in double precision; against themselves on other numbers of threads."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.conftest import FOUR
from trainers.accelerated import library, norm
from trainers.accelerated.accelerator import OF_NETWORKS
from trainers.accelerated.cpreresnet import fuse
from trainers.accelerated.norm import EPS
from trainers.building.accelerators import prefers_channels_last
from trainers.devices.cuda import has_triton
from trainers.nested.exchange import nest
from trainers.nested.layers.norms import NormPolicy
from trainers.networks.cpreresnet import CPreResNet20

LAST = torch.channels_last
BF16 = 2**-8  # 8 bits of mantissa
SHAPES = [(8, 16, 32, 32), (8, 64, 8, 8), (5, 4, 8, 8), (3, 11, 7, 5), (4, 1, 3, 3), (6, 256, 2, 2), (2, 130, 1, 3)]
SHAPES += [(2, 45, 32, 32), (2, 24, 38, 29), (2, 11, 33, 31)]  # gone through block by block, the last one shorter

pytestmark = pytest.mark.skipif(not norm.available(torch.device("cpu"), None), reason="needs a C++ compiler")


def values(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Activations off centre, their gradient, γ and β."""
    generator = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(shape, generator=generator).bfloat16().to(memory_format=LAST) for _ in range(2))
    weight = torch.rand(shape[1], generator=generator) + 0.5
    return (3 * x + 5).to(memory_format=LAST), gradient, weight, torch.randn(shape[1], generator=generator)


def image_norm(x: Tensor, weight: Tensor, bias: Tensor, size: int, relu: bool) -> Tensor:
    out = norm.image_norm(x, weight, bias, size, relu)
    assert out is not None
    return out


def groups(x: Tensor, weight: Tensor, bias: Tensor, size: int) -> Tensor:
    parts = [
        F.group_norm(x[:, low : low + size], 1, weight[low : low + size], bias[low : low + size], EPS)
        for low in range(0, x.shape[1], size)
    ]
    return torch.cat(parts, 1)


def check(shape: tuple[int, ...], ours: Callable[..., Tensor], truth: Callable[..., Tensor], relu: bool) -> None:
    x, gradient, weight, bias = values(shape)
    mine = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    exact = [tensor.double().requires_grad_() for tensor in (x, weight, bias)]
    out, expected = ours(*mine), truth(*exact)
    mask = (expected > 0).double() if relu else torch.ones_like(expected)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=LAST)
    # A value beside ReLU's edge may fall on either side of it: its gradient is then not compared.
    clear = ((expected.abs() > 1e-3) | (not relu)).double()
    out.backward((gradient * clear).to(out.dtype))
    expected.backward(gradient.double() * clear * mask)
    assert (out.double() - (expected.relu() if relu else expected)).norm() <= BF16 * expected.norm()
    for tensor, reference, bound in zip(mine, exact, (BF16, 1e-4, 1e-4), strict=True):
        assert tensor.grad is not None
        assert reference.grad is not None
        assert (tensor.grad.double() - reference.grad).norm() <= bound * reference.grad.norm() + 1e-9


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_image_norm_errs_by_no_more_than_bf16_rounds(shape: tuple[int, ...], size: int, relu: bool) -> None:
    check(
        shape,
        lambda x, weight, bias: image_norm(x, weight, bias, size, relu),
        lambda x, weight, bias: groups(x, weight, bias, size),
        relu,
    )


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_errs_by_no_more_than_bf16_rounds_and_moves_the_statistics(
    shape: tuple[int, ...], relu: bool
) -> None:
    mean, var = torch.full(shape[1:2], 2.0), torch.full(shape[1:2], 3.0)
    true_mean, true_var = mean.double(), var.double()
    check(
        shape,
        lambda x, weight, bias: norm.batch_norm(x, weight, bias, mean, var, 0.3, relu),
        lambda x, weight, bias: F.batch_norm(x, true_mean, true_var, weight, bias, True, 0.3, EPS),
        relu,
    )
    torch.testing.assert_close(mean.double(), true_mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(var.double(), true_var, rtol=1e-5, atol=1e-5)
    x, _, weight, bias = values(shape)
    known = norm.known_norm(x, weight, bias, mean, var, relu).double()
    exact = F.batch_norm(x.double(), true_mean, true_var, weight.double(), bias.double(), False, 0.0, EPS)
    assert (known - (exact.relu() if relu else exact)).norm() <= BF16 * exact.norm()


def test_the_number_of_threads_changes_no_bit() -> None:
    x, gradient, weight, bias = values((37, 12, 9, 9))

    def run(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
        mean, var = torch.zeros(12), torch.ones(12)
        out = image_norm(*leaves, 4, True) + norm.batch_norm(*leaves, mean, var, 0.1, True)
        out.backward(gradient)
        return [out.detach(), mean, var, *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    for one, two in zip(run(1), run(2), strict=True):
        assert torch.equal(one, two)


def test_a_loss_that_is_no_number_stays_none() -> None:
    x, _, weight, bias = values((4, 16, 8, 8))
    x[1, 3, 2, 2] = float("nan")
    poisoned = image_norm(x, weight, bias, 1, True).isnan()
    assert poisoned[1, 3].all()
    assert poisoned.sum() == 64
    mean, var = torch.zeros(16), torch.ones(16)
    assert norm.batch_norm(x, weight, bias, mean, var, 0.1, True)[:, 3].isnan().all()
    assert mean[3].isnan()


@pytest.mark.parametrize("policy", ["instance", "batch", "batch-switchable", "group", "layer"])
def test_a_network_with_them_is_the_same_network_within_the_rounding_of_bf16(
    policy: NormPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = nest(CPreResNet20(), FOUR, policy, (3, 32, 32), frozenset({"classifier"}), accelerator=OF_NETWORKS)
    net.to(memory_format=LAST)
    x = torch.randn(16, 3, 32, 32).to(memory_format=LAST)

    def gradients(autocast: bool) -> Tensor:
        net.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = net(x)
        out.float().square().sum().backward()
        return torch.cat([p.grad.flatten().double() for p in net.parameters() if p.grad is not None])

    for target in FOUR:
        net.activate(target)
        exact, fast = gradients(False), gradients(True)
        with monkeypatch.context() as without:
            without.setattr("trainers.accelerated.norm.library", lambda: None)
            usual = gradients(True)
        assert not torch.equal(fast, usual)
        assert (fast - exact).norm() <= 1.25 * (usual - exact).norm() < exact.norm()


def test_the_layout_is_the_one_that_the_kernels_of_the_device_know() -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert prefers_channels_last("batch", "fp32", cpu)
    assert prefers_channels_last("layer", "bf16", cpu)
    assert not prefers_channels_last("instance", "fp32", cpu)
    assert not prefers_channels_last("group", "bf16", cuda)
    assert prefers_channels_last("instance", "bf16", cuda) == has_triton()


def test_kernels_for_cuda_are_left_alone_where_nothing_can_compile_them(monkeypatch: pytest.MonkeyPatch) -> None:
    has_triton.cache_clear()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    try:
        assert not has_triton()
        assert fuse(nest(CPreResNet20(), FOUR, "batch", (3, 32, 32), frozenset({"classifier"})).network) is None
        assert not prefers_channels_last("instance", "bf16", torch.device("cuda"))
    finally:
        has_triton.cache_clear()


def test_norm_and_relu_of_a_sequential_become_one_layer_and_two_again_when_extracted() -> None:
    net = nest(CPreResNet20(), FOUR, "batch", (3, 32, 32), frozenset({"classifier"}))
    assert not any(isinstance(module, nn.ReLU) for module in net.modules())
    plain = net.extract(FOUR.smallest)
    assert [type(layer) for layer in plain.get_submodule("norm").children()] == [nn.BatchNorm2d, nn.ReLU]


def test_without_a_compiler_there_are_no_kernels_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    library.library.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    try:
        assert library.library() is None
    finally:
        monkeypatch.undo()
        library.library.cache_clear()
