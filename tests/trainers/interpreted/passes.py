"""A fused pass of a cPreResNet20 beside its layers' in double."""

import copy
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.conftest import FOUR
from trainers.accelerated import additions, convolution, tiles
from trainers.accelerated.cpreresnet import AS_MEASURED, Fusion, fuse
from trainers.building.initial_weights import initialise
from trainers.nested.exchange import nest
from trainers.nested.layers.norms import NormPolicy
from trainers.networks.cpreresnet import CPreResNet20
from trainers.submodel import SubModel

START = 2.0**-10  # of the gradients, to which more is added


def far(ours: Tensor, truth: Tensor) -> float:
    return ((ours.double() - truth).norm() / truth.norm()).item()


def passes(
    norm: NormPolicy, width: float, images: int, size: int, tile: int, filling: int, fusion: Fusion = AS_MEASURED
) -> None:
    with (
        patch.multiple(tiles, TILE=tile, _FILLING=filling),
        patch.object(convolution, "_LARGE", 64),
        patch.multiple(additions, _WEIGHTS=1024, _FEW=512, _SPLITS=2),  # fewer programs; of sums, many and few parts
    ):
        compare(norm, width, images, size, fusion)


def compare(norm: NormPolicy, width: float, images: int, size: int, fusion: Fusion) -> None:
    torch.manual_seed(0)
    plain = CPreResNet20(channels=3, size=size)
    plain.blocks = nn.Sequential(*plain.blocks[:3], plain.blocks[4])  # with and without projection, stride and both
    initialise(plain, 0)
    network = nest(plain, FOUR, norm, (3, size, size), frozenset({"classifier"}))
    network.to(memory_format=torch.channels_last)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
        parameter.grad = torch.full_like(parameter, START)
    network.activate(SubModel(width=width))
    exact = copy.deepcopy(network).double()
    exact.activate(SubModel(width=width))
    fused = fuse(network.network, fusion)
    assert fused is not None
    inputs, labels = torch.randn(images, 3, size, size), torch.randint(10, (images,))

    outputs, truth = fused(inputs), exact(inputs.double())
    assert far(outputs.detach(), truth.detach()) < 1e-5, far(outputs.detach(), truth.detach())
    _, done = copy.deepcopy(fused).forward(inputs)
    chained = [block.chained for block in done.blocks]
    assert any(chained) == (fusion.chained > 0), chained
    F.cross_entropy(outputs, labels).backward()
    F.cross_entropy(truth, labels).backward()
    for (name, ours), reference in zip(network.named_parameters(), exact.parameters(), strict=True):
        mine, true = ours.grad - START, reference.grad
        if true is None:  # a norm of another width
            true = torch.zeros(ours.shape)
        assert far(mine, true) < 1e-5 or true.eq(0).all(), (name, far(mine, true))
        assert mine[true == 0].eq(0).all(), name  # beyond the prefix nothing is touched
    if fusion.joined:
        with fused.apart(0) as lane:
            assert lane.counters(torch.device("cpu"), 1).eq(0).all()  # ready for the next launch
    for (name, ours), reference in zip(network.named_buffers(), exact.buffers(), strict=True):
        assert torch.allclose(ours.double(), reference, rtol=1e-5, atol=1e-6), name
    network.eval()
    exact.eval()
    with torch.no_grad():
        assert far(fused(inputs), exact(inputs.double())) < 1e-5
    inputs[0] = float("nan")
    assert fused(inputs).isnan().any()
