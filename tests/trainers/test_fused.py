"""The fused kernels for CUDA in Triton's interpreter: the same programs, number by number, on CPU and in fp32."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

CODE = """
import copy
import sys

import torch
import torch.nn.functional as F

from trainers.build import initialise
from trainers.config import resolve
from trainers.kernels import convolution
from trainers.nested.fused import fuse
from trainers.nested.network import nest
from trainers.networks.cpreresnet import CPreResNet20
from trainers.submodel import SubModel

norm, width, images, size, convolution._TILE, convolution._WHOLE = sys.argv[1], *map(eval, sys.argv[2:7])
START = 2.0**-10
torch.manual_seed(0)
plain = CPreResNet20(channels=3, size=size)
initialise(plain, 0)
lattice = resolve({"method": "NS", "updates": 1, "evaluations": 1}).lattice
network = nest(plain, lattice, norm, (3, size, size), frozenset({"classifier"})).to(memory_format=torch.channels_last)
for parameter in network.parameters():
    if parameter.ndim == 1:
        parameter.data += 0.3 * torch.randn_like(parameter)
    parameter.grad = torch.full_like(parameter, START)  # to which gradients are added
network.activate(SubModel(width=width))
exact = copy.deepcopy(network).double()
exact.activate(SubModel(width=width))
fused = fuse(network.network)
inputs, labels = torch.randn(images, 3, size, size), torch.randint(10, (images,))


def far(ours, truth):
    return ((ours.double() - truth).norm() / truth.norm()).item()


outputs, truth = fused(inputs), exact(inputs.double())
assert far(outputs.detach(), truth.detach()) < 1e-5, far(outputs.detach(), truth.detach())
F.cross_entropy(outputs, labels).backward()
F.cross_entropy(truth, labels).backward()
for (name, ours), reference in zip(network.named_parameters(), exact.parameters(), strict=True):
    mine, true = ours.grad - START, reference.grad
    if true is None:  # a norm of another width
        true = torch.zeros(ours.shape)
    assert far(mine, true) < 1e-5 or true.eq(0).all(), (name, far(mine, true))
    assert mine[true == 0].eq(0).all(), name  # beyond the prefix nothing is touched
for (name, ours), reference in zip(network.named_buffers(), exact.buffers(), strict=True):
    assert torch.allclose(ours.double(), reference, rtol=1e-5, atol=1e-6), name
network.eval()
exact.eval()
with torch.no_grad():
    assert far(fused(inputs), exact(inputs.double())) < 1e-5
inputs[0] = float("nan")
assert fused(inputs).isnan().any()
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="torch without CUDA brings no Triton")
@pytest.mark.parametrize(
    "case",
    [
        "instance 0.5 2 12 8192 1024",  # images held whole
        "instance 0.7 1 16 1024 4",  # odd widths, images in parts
        "batch 0.7 2 8 1024 1024",
        "batch 0.5 2 12 8192 1024",  # pixels that are no power of two
        "batch-switchable 0.25 2 8 8192 1024",
    ],
)
def test_fused_passes_are_those_of_the_layers(case: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, *case.split()],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
