"""The kernel for CUDA in Triton's interpreter: the same program, number by number, on CPU."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

CODE = """
import sys
import torch
import torch.nn.functional as F
from trainers.accelerated.triton_norm import InstanceNorm

images, channels, height, width = map(int, sys.argv[1:5])
relu = sys.argv[5] == "True"
torch.manual_seed(0)
last = torch.channels_last
x = (3 * torch.randn(images, channels, height, width) + 5).bfloat16().to(memory_format=last).requires_grad_()
weight = (torch.rand(channels) + 0.5).requires_grad_()
bias = torch.randn(channels, requires_grad=True)
exact = [tensor.detach().double().requires_grad_() for tensor in (x, weight, bias)]
out = InstanceNorm.apply(x, weight, bias, 1e-5, relu)
truth = F.instance_norm(exact[0], weight=exact[1], bias=exact[2], eps=1e-5)
clear = ((truth.abs() > 1e-3) | (not relu)).double()  # beside ReLU's edge a value may fall on either side
gradient = torch.randn(out.shape).bfloat16().double() * clear
out.backward(gradient.to(out.dtype))
truth.backward(gradient * ((truth > 0) | (not relu)))
assert out.dtype == torch.bfloat16 and out.is_contiguous(memory_format=last)
expected = truth.relu() if relu else truth
assert (out.double() - expected).norm() <= 2**-8 * expected.norm()
for ours, reference, bound in zip((x, weight, bias), exact, (2**-8, 1e-4, 1e-4), strict=True):
    assert (ours.grad.double() - reference.grad).norm() <= bound * reference.grad.norm()
poisoned = x.detach().clone(memory_format=torch.preserve_format)
poisoned[0, 0, 0, 0] = float("nan")
assert InstanceNorm.apply(poisoned, weight, bias, 1e-5, True)[0, 0].isnan().all()
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="torch without CUDA brings no Triton")
@pytest.mark.parametrize("shape", ["4 16 8 8 True", "3 11 7 5 False", "2 33 4 4 True", "2 4 32 32 True"])
def test_instance_norm_for_cuda_errs_by_no_more_than_bf16_rounds(shape: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *shape.split()],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
