"""The precision of activations: fp32 or bf16. Part of a trial's config, because it changes the result."""

from typing import Literal, get_args

import torch

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def fastest() -> Precision:
    """bf16 where the machine computes it natively (CUDA from Ampere on, AVX512-BF16), else fp32."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Absent from torch before 2.12, where a processor is then taken to lack it.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if capabilities.get("avx512_bf16") else "fp32"
