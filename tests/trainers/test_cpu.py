import ctypes.util
import os
import resource
import subprocess
import sys

import pytest
import torch

CODE = """
import resource, sys, torch
if sys.argv[1] == "prepared":
    from trainers.devices.cpu import prepare_cpu
    prepare_cpu()
for _ in range(20):
    torch.ones(1 << 23).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(1 << 23).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", CODE, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_freed_memory_is_used_again_without_page_faults() -> None:
    pages = 20 * (1 << 25) // resource.getpagesize()
    assert _faults("prepared") < pages / 50 < _faults("left alone")


STRIDED = """
import torch
from torch import nn
from trainers import SubModel
from trainers.nested.layers.convolution import NestedConv2d

torch.set_num_threads(1)
layer = NestedConv2d(nn.Conv2d(16, 16, 1, stride=2, bias=False).to(memory_format=torch.channels_last), "width")
layer.activate(SubModel(width=0.4))
for channels in (2, 3, 5, 7):
    for _ in range(20):
        x = torch.randn(16, channels, 32, 32)
        layer.weight.grad = None
        layer(x).sum().backward()
    expected = x[:, :, ::2, ::2].double().sum((0, 2, 3)).float()
    got = layer.weight.grad[:6, :channels, 0, 0]  # of 4,096 summands
    torch.testing.assert_close(got, expected.expand(6, channels), atol=1e-3, rtol=1e-4)
"""


@pytest.mark.skipif("AVX" not in torch.backends.cpu.get_cpu_capability(), reason="needs a processor with AVX2")
def test_gradients_of_few_channels_with_a_stride_stay_within_their_memory_where_there_is_no_avx512() -> None:
    checking = ctypes.util.find_library("c_malloc_debug")  # glibc's, which ends a process whose memory is overrun
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MALLOC_CHECK_": "3"}
    preloaded = {"LD_PRELOAD": checking} if checking else {}
    done = subprocess.run([sys.executable, "-c", STRIDED], env=environment | preloaded, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
