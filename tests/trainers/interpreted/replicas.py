"""Passes and updates of several networks in shared launches give each the bits that it has alone."""

from unittest.mock import patch

import torch
from torch import Tensor, nn

from tests.conftest import FOUR
from trainers.accelerated import additions, convolution
from trainers.accelerated.cpreresnet import CPreResNet20, FusedNetwork, fuse, fuse_together
from trainers.accelerated.replicas import lay_in_one
from trainers.accelerated.triton_classification import CrossEntropy
from trainers.build import initialise
from trainers.nested.exchange import nest
from trainers.nested.layers.norms import NormPolicy
from trainers.nested.network import NestedNetwork
from trainers.submodel import SubModel


def replicas_are_what_they_are_alone(
    norm: NormPolicy, width: float, images: int, size: int, tile: int, filling: int, apart: bool
) -> None:
    with (
        patch.multiple(convolution, _TILE=tile, _FILLING=filling, _LARGE=64),
        patch.multiple(additions, _WEIGHTS=1024, _FEW=512, _SPLITS=2),  # fewer programs; of sums, many and few parts
    ):
        batches = [batch(seed, images, size) for seed in range(2)]
        alone = [network(norm, width, seed, size) for seed in range(2)]
        for one, (inputs, labels) in zip(alone, batches, strict=True):
            fused = fuse(one.network)
            assert fused is not None
            trained(fused, inputs, labels, None, apart)
        together = [network(norm, width, seed, size) for seed in range(2)]
        for one in together:
            lay_in_one(one.network)
        shared = fuse_together([one.network for one in together])
        assert shared is not None
        assert not same(alone[0], together[0])
        trained(shared, *(torch.cat(parts) for parts in zip(*batches, strict=True)), 2, apart)
        assert same(alone[0], together[0])
        assert same(alone[1], together[1])


def network(norm: NormPolicy, width: float, seed: int, size: int) -> NestedNetwork:
    torch.manual_seed(seed)
    plain = CPreResNet20(channels=3, size=size)
    plain.blocks = nn.Sequential(*plain.blocks[:3])  # with projection, without, with stride
    plain.norm = nn.Sequential(nn.BatchNorm2d(128), nn.ReLU(inplace=True))
    plain.classifier = nn.Conv2d(128, 10, 1, bias=False)
    initialise(plain, seed)
    nested = nest(plain, FOUR, norm, (3, size, size), frozenset({"classifier"})).train()
    nested.to(memory_format=torch.channels_last)
    for parameter in nested.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
        parameter.grad = torch.randn_like(parameter)
    nested.activate(SubModel(width=width))
    return nested


def batch(seed: int, images: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, 3, size, size, generator=generator), torch.randint(10, (images,), generator=generator)


def trained(fused: FusedNetwork, inputs: Tensor, labels: Tensor, count: int | None, apart: bool) -> None:
    """One pass of it, or of them, side by side with others or not."""
    if not apart:
        CrossEntropy.apply(fused(inputs), labels, count).sum().backward()
        return
    with fused.apart(0) as passed:
        CrossEntropy.apply(fused(inputs), labels, count).sum().backward()
        passed.due().add_up()


def same(one: nn.Module, other: nn.Module) -> bool:
    parameters = zip(one.parameters(), other.parameters(), strict=True)
    gradients = [(mine.grad, theirs.grad) for mine, theirs in parameters]
    buffers = list(zip(one.buffers(), other.buffers(), strict=True))
    return all(torch.equal(mine, theirs) for mine, theirs in [*gradients, *buffers])  # type: ignore[arg-type]
