"""What is to be known of the CPU backend: settings of the whole process, which change its time alone, and one fault."""

import ctypes
import os
import platform
from functools import cache

import torch
from torch import Tensor

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # mallopt(3)
_KEPT, _GROWN_BY = 1 << 30, 1 << 28
_PRIMITIVES = 16384


@cache
def prepare_cpu() -> None:
    """Lets the process keep the memory that training frees, and oneDNN the kernels it has made.

    Activations of the same sizes come back at every step, but glibc hands large blocks back to the kernel, so that
    each step pays page faults for all of them (1.1× the step, 1.3–2× the evaluation of cPreResNet20). Continuous
    widths need some 25,000 kernels where oneDNN remembers 1,024; its limit is read once, before its first use.
    Without glibc the memory stays as it is.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_PRIMITIVES))
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _GROWN_BY)):
            if mallopt(option, value) != 1:
                raise OSError(f"mallopt({option}, {value}) was refused")


def overruns(x: Tensor, stride: tuple[int, int]) -> bool:
    """Whether the weights' gradient of a 1×1 convolution with a stride would be written beyond its memory.

    oneDNN does that for 2 to 7 channels in the channels-last layout, be it the inputs' or the weights', where the
    processor has AVX2 but not AVX512 (torch 2.14.1: `jit_1x1:avx2`). Picking the pixels beforehand is the same
    convolution without a stride.

    Args:
        x: (N, C, H, W).
    """
    return stride != (1, 1) and x.shape[1] < 8 and x.is_cpu and torch.is_grad_enabled() and _has_avx2_alone()


@cache
def _has_avx2_alone() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX2"
