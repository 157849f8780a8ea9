"""Methods as recipes: each published method is a choice of sampler, objective and sharing, never a loop of its own."""

from dataclasses import dataclass
from typing import Literal

Sharing = Literal["nested", "separate"]


@dataclass(frozen=True)
class Method:
    """What a method's name stands for in a config. The norm is a factor of its own and not part of it."""

    sampler: str
    objective: str
    sharing: Sharing = "nested"
    accumulation: int = 1


METHODS: dict[str, Method] = {
    "SortedNet": Method("uniform", "stochastic-loss"),
    "NS": Method("all", "sum"),
    "US": Method("sandwich(4)", "sum"),
    "LCS-p": Method("sandwich(4)", "sum"),
    "Independent": Method("all", "sum", sharing="separate"),
}
"""SortedNet (Valipour et al. 2023), slimmable networks NS (Yu et al. 2019), universally slimmable US (Yu & Huang
2019), LCS-p (Nunez et al. 2023), and one network per target. As Table 1 compares them: nobody distils.
US and LCS-p differ in the norm they were published with (recalibrated batch, instance) and in nothing else."""
