"""The precision of activations: fp32 or bf16. Part of a trial's config, because it changes the result."""

from typing import Literal

from pydantic import Field

from trainers.config.part import Flag, Part

Precision = Literal["fp32", "bf16"]


def fastest() -> Precision:
    """bf16 where the machine computes it natively (CUDA from Ampere on, AVX512-BF16), else fp32."""
    import torch  # which no check of a value needs

    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Absent from torch before 2.12, where a processor is then taken to lack it.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if capabilities.get("avx512_bf16") else "fp32"


class PrecisionConfig(Part):
    """How exactly a trial computes."""

    activations: Precision = Field(
        default="fp32",
        description="Of activations; weights, gradients and loss stay fp32.",
        json_schema_extra={"usual": "the machine's fastest", "alone": True},
    )
    deterministic: Flag = Field(
        default=False, description="On CUDA, only algorithms that give the same bits every time; the CPU's always do."
    )

    def resolved(self) -> "PrecisionConfig":
        """With the fastest precision of this machine unless one was said."""
        if "activations" in self.model_fields_set:
            return self
        return self.model_copy(update={"activations": fastest()})
