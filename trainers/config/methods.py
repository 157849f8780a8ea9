"""Methods as recipes: each published method is a choice of sampler, objective and sharing, never a loop of its own."""

from dataclasses import dataclass
from typing import Literal

Sharing = Literal["nested", "separate", "extracted"]
Distillation = Literal["none", "in-place"]
Affine = Literal["shared", "line"]


@dataclass(frozen=True)
class Method:
    """What a method's name stands for in a config. The norm is a factor of its own and not part of it.

    Attributes:
        sampler, objective: by their names.
        sharing: `nested`; `separate` networks, one per target; or `extracted`: nested first, each target cut out as a
            network of its own once a share of the budget is spent, all of them trained from there on.
        accumulation: micro-batches per optimizer step.
        distillation: `in-place` has the largest sub-model teach the others.
        affine: of the norm layers, `shared` or a `line` between two endpoints along the width.
    """

    sampler: str
    objective: str
    sharing: Sharing = "nested"
    accumulation: int = 1
    distillation: Distillation = "none"
    affine: Affine = "shared"


METHODS: dict[str, Method] = {
    "SortedNet": Method("uniform", "stochastic-loss"),
    "NS": Method("all", "sum"),
    "US": Method("sandwich(4)", "sum"),
    "US-distilled": Method("sandwich(4)", "sum", distillation="in-place"),
    "LCS-p": Method("sandwich(4)", "sum"),
    "LCS-l": Method("sandwich(4)", "sum", affine="line"),
    "Independent": Method("all", "sum", sharing="separate"),
    "Extracted": Method("fixed(largest)", "stochastic-loss"),
    "Extracted-tuned": Method("fixed(largest)", "stochastic-loss", sharing="extracted"),
    "NestedDropout": Method("geometric(0.5)", "stochastic-loss"),
}
"""SortedNet (Valipour et al. 2023), slimmable networks NS (Yu et al. 2019), universally slimmable US (Yu & Huang
2019), as Table 1 compares it and with its in-place distillation, LCS-p and LCS-l (Nunez et al. 2023; of the latter
the structured form, where convolutions are shared), one network per target, the largest alone cut down to each target
without and with tuning, and nested dropout (Rippel et al. 2014). US and LCS-p differ in the norm they were published
with (recalibrated batch, instance) and in nothing else: US runs its widths smallest first, as LCS's code has it, in
which Table 1 compares it; slimmable_networks has the largest first, as US-distilled must. LCS's code has structured
LCS-l under InstanceNorm only; under other norms it is our extension."""
