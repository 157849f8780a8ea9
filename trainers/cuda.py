"""Settings of the CUDA backend that a trial depends on. A reused worker may have them from another trial."""

import os

import torch


def prepare_cuda(deterministic: bool) -> None:
    """Chooses convolution algorithms by measuring them or, if results must be the same bit for bit, by rule.

    On CPU results are deterministic as they are, and nothing changes.
    """
    # Read once, at cuBLAS's first use, by which a reused worker may not know yet that a later trial needs it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic
    if torch.are_deterministic_algorithms_enabled() != deterministic:  # to say so imports torch's compiler: 2 s
        torch.use_deterministic_algorithms(deterministic)
