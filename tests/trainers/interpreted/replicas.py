"""Passes and updates of several networks in shared launches give each the bits that it has alone, in any order."""

from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.replicas import Seeds, ways
from tests.conftest import FOUR
from tests.trainers.interpreted.disorder import in_disorder
from trainers.accelerated import additions, convolution, tiles
from trainers.accelerated.accelerator import classification
from trainers.accelerated.cpreresnet import AS_MEASURED, CPreResNet20, FusedNetwork, Fusion, fuse, fuse_together
from trainers.accelerated.replicas import lay_in_one
from trainers.accelerated.triton_classification import CrossEntropy
from trainers.accelerated.triton_sgd import Steps
from trainers.building.initial_weights import initialise
from trainers.data.images.arrays import ImageArrays
from trainers.nested.exchange import nest
from trainers.nested.layers.norms import NormPolicy
from trainers.nested.network import NestedNetwork
from trainers.submodel import SubModel
from trainers.tasks.images import ImageClassification
from trainers.training.graphs import Graphs

CPU = torch.device("cpu")


def replicas_are_what_they_are_alone(
    norm: NormPolicy,
    width: float,
    images: int,
    size: int,
    tile: int,
    filling: int,
    apart: bool,
    fusion: Fusion = AS_MEASURED,
) -> None:
    with (
        patch.multiple(tiles, TILE=tile, _FILLING=filling),
        patch.object(convolution, "_LARGE", 64),
        patch.multiple(additions, _WEIGHTS=1024, _FEW=512, _SPLITS=2),  # fewer programs; of sums, many and few parts
    ):
        batches = [batch(seed, images, size) for seed in range(2)]
        alone = [network(norm, width, seed, size) for seed in range(2)]
        for one, (inputs, labels) in zip(alone, batches, strict=True):
            fused = fuse(one.network, fusion)
            assert fused is not None
            trained(fused, inputs, labels, None, apart)
        together = [network(norm, width, seed, size) for seed in range(2)]
        for one in together:
            lay_in_one(one.network)
        shared = fuse_together([one.network for one in together], fusion)
        assert shared is not None
        assert not same(alone[0], together[0])
        with in_disorder(seed=0):  # no sum depends on the order in which programs run
            trained(shared, *(torch.cat(parts) for parts in zip(*batches, strict=True)), 2, apart)
        assert same(alone[0], together[0])
        assert same(alone[1], together[1])


def network(norm: NormPolicy, width: float, seed: int, size: int, blocks: int = 3) -> NestedNetwork:
    """With the first blocks: one with projection, one without, one with stride."""
    torch.manual_seed(seed)
    plain = CPreResNet20(channels=3, size=size)
    plain.blocks, channels = nn.Sequential(*plain.blocks[:blocks]), 64 if blocks < 3 else 128
    plain.norm = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    plain.classifier = nn.Conv2d(channels, 10, 1, bias=False)
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


def whole_steps_are_what_they_are_alone() -> None:
    """Batches in an order of each one's own, passes and updates, as the benchmark measures them."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (7, 3, 4, 4), generator=generator, dtype=torch.uint8)
    noise = ImageArrays(pixels, torch.arange(7), pixels, torch.arange(7), (0.5,) * 3, (0.5,) * 3, "noise")
    ends = {}
    with patch.multiple(additions, _WEIGHTS=2048, _FEW=512):  # fewer programs
        for name in ("in turn", "together"):
            networks = [network("batch", 0.25, seed, 4, blocks=1) for seed in range(2)]
            tasks = [ImageClassification(noise, 2, seed, CPU, 1, True, True, classification()) for seed in range(2)]
            seeds = Seeds(networks, tasks, classification(), Steps)
            start = seeds.state()
            step = ways(seeds, Graphs(None))[name]
            for index in (0, 3):  # the second runs across the end of an epoch
                seeds.show(index)
                step()
            ends[name] = seeds.state()
    assert not any(torch.equal(before, after) for before, after in zip(start, ends["together"], strict=True))
    assert all(torch.equal(one, other) for one, other in zip(ends["in turn"], ends["together"], strict=True))
