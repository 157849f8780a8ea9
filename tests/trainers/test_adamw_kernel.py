"""AdamW's kernel for CPU gives the bits of torch's fused AdamW, and leaves alone what no gradient has reached."""

import copy
import shutil

import pytest
import torch
from torch import Tensor, nn

from trainers.accelerated import adamw as kernels
from trainers.acceleration import AdamWRule
from trainers.building.accelerators import accelerator
from trainers.optimizers.adamw import AdamW

VOCABULARY = 2048
needs_a_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")


def network() -> nn.ModuleDict:
    """An embedding, a linear layer, a convolution in channels-last, and small ones that are left to torch."""
    torch.manual_seed(1)
    return nn.ModuleDict(
        {
            "embedding": nn.Embedding(VOCABULARY, 64),
            "linear": nn.Linear(256, 512),
            "convolution": nn.Conv2d(64, 64, 3).to(memory_format=torch.channels_last),
            "classifier": nn.Linear(256, 2),
        }
    )


def gradients(net: nn.Module, step: int) -> list[Tensor]:
    """Of few rows of the embedding, others at every step; of none of it beyond the first half."""
    generator = torch.Generator().manual_seed(step)
    found = [torch.randn(parameter.shape, generator=generator) for parameter in net.parameters()]
    words = torch.randint(0, VOCABULARY // 2, (20,), generator=generator)
    unmet = torch.ones(VOCABULARY, dtype=torch.bool).index_fill(0, words, False)
    found[0][unmet] = torch.tensor([0.0, -0.0])[step % 2]
    return found


def step(net: nn.Module, optimizer: AdamW, steps: range) -> None:
    for number in steps:
        for parameter, gradient in zip(net.parameters(), gradients(net, number), strict=True):
            assert parameter.grad is not None
            parameter.grad.copy_(gradient)
        optimizer.rate.fill_(0.01 / (number + 1))
        optimizer.step()
        assert not any(parameter.grad.count_nonzero() for parameter in net.parameters() if parameter.grad is not None)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@needs_a_compiler
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.3, 0.9)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_weights_and_moments_are_torchs_bit_for_bit(weight_decay: float, betas: tuple[float, float]) -> None:
    ours, theirs = network(), network()
    make = accelerator(torch.device("cpu")).adamw
    mine, torchs = AdamW(ours, weight_decay, betas, make_kernel=make), AdamW(theirs, weight_decay, betas)
    for steps in (range(6), range(6, 12)):  # its state is asked for in between
        step(ours, mine, steps)
        step(theirs, torchs, steps)
        assert same(ours.state_dict(), theirs.state_dict())
        assert same(mine.state(), torchs.state())


@needs_a_compiler
def test_moments_that_are_copied_in_move_rows_that_it_had_left_alone() -> None:
    ours, theirs = network(), network()
    mine, torchs = AdamW(ours, 0.0, make_kernel=kernels.rows), AdamW(theirs, 0.0)
    step(ours, mine, range(2))
    step(theirs, torchs, range(2))
    for optimizer in (mine, torchs):
        for name, tensor in optimizer.state().items():
            if name != "steps":
                tensor.fill_(0.25)
    before = copy.deepcopy(ours["embedding"].weight)
    step(ours, mine, range(2, 4))
    step(theirs, torchs, range(2, 4))
    assert same(ours.state_dict(), theirs.state_dict())
    assert (ours["embedding"].weight != before).all()


@needs_a_compiler
def test_a_row_is_left_alone_until_a_gradient_reaches_it() -> None:
    weight, gradient, first, second = torch.ones(4, VOCABULARY, 64).unbind()
    gradient.zero_(), first.zero_(), second.zero_()
    kernel = kernels.rows(weight, gradient, first, second, AdamWRule((0.9, 0.999), 1e-8, 0.0))
    assert kernel is not None
    kernel.step(0.1, 1)
    first[7] = 1.0  # unseen: such a row is not read
    gradient[3, 60] = float("nan")
    kernel.step(0.1, 2)
    moved = (weight != 1).any(1).nonzero().flatten()
    assert moved.tolist() == [3]
    assert weight[3].isnan().nonzero().flatten().tolist() == [60]
    kernel.forget()
    kernel.step(0.1, 3)
    assert (weight != 1).any(1).nonzero().flatten().tolist() == [3, 7]


RULE = AdamWRule((0.9, 0.999), 1e-8, 0.01)


@pytest.mark.parametrize(
    ("shape", "kind", "rule"),
    [
        ((VOCABULARY, 64), torch.float64, RULE),
        ((16, 64), torch.float32, RULE),  # small
        ((VOCABULARY * 64,), torch.float32, RULE),  # has no rows
        ((VOCABULARY + 1, 63), torch.float32, RULE),  # torch rounds the remainder otherwise
        ((VOCABULARY, 64), torch.float32, AdamWRule((0.9, 0.999), 0.0, 0.01)),  # nothing by nothing
        ((VOCABULARY, 64), torch.float32, AdamWRule((0.9, 1.0), 1e-8, 0.01)),
    ],
)
def test_what_it_would_compute_otherwise_is_left_to_torch(
    shape: tuple[int, ...], kind: torch.dtype, rule: AdamWRule
) -> None:
    tensors = [torch.zeros(shape, dtype=kind) for _ in range(4)]
    assert kernels.rows(tensors[0], tensors[1], tensors[2], tensors[3], rule) is None


def test_tensors_that_lie_otherwise_are_left_to_torch() -> None:
    weight, first, second = torch.zeros(3, VOCABULARY, 64).unbind()
    across = torch.zeros(64, VOCABULARY).t()
    assert kernels.rows(weight, across, first, second, RULE) is None
    assert kernels.rows(across, across, across, across, RULE) is None
    assert kernels.rows(*(torch.zeros(VOCABULARY, 128)[:, :64] for _ in range(4)), rule=RULE) is None
