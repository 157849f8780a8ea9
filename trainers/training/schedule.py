"""The learning rate over a trial: warm-up and a shape, over the budget rather than over epochs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from trainers.config.trial import TrialConfig
from trainers.errors import ConfigError, unknown

SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1.0 - progress,
    "constant": lambda progress: 1.0,
}
"""By their names in a config: share of what remains after warm-up, 0..1 → share of the full rate."""


@dataclass(frozen=True)
class Schedule:
    """A share of the full learning rate at every moment of the budget.

    It rises linearly until a share `warmup` of the budget, then goes along the shape over all that remains: half a
    cosine to zero, a straight line to zero, or as it is. With stages it is constant within each, at the highest rate
    that this curve reaches in it: 200 stages of a cosine with warmup .025 are LCS's schedule (`schedulers.py`),
    lr·(e + 1)/5 in the epochs e before 5, ½·lr·(1 + cos(π·(e − 5)/195)) from there on.

    Attributes:
        shape: a name in `SHAPES`.
        warmup: share of the budget, 0..1. The whole budget leaves nothing for the shape, and ends at the full rate.
        stages: equal parts of the budget; 0 changes the rate at every step.

    Raises:
        ConfigError: no such shape, or numbers that cannot be.
    """

    shape: str = "cosine"
    warmup: float = 0.0
    stages: int = 0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise unknown("schedule", self.shape, SHAPES)
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"warmup={self.warmup}: must be from 0 to 1")
        if self.stages < 0:
            raise ConfigError(f"stages={self.stages}: must be 0 or more")

    def share(self, progress: float) -> float:
        """Of the full rate, at a share of the budget; the loop asks for the middle of the step at hand."""
        if not self.stages:
            return self._share(min(progress, 1.0))
        stage = min(math.floor(progress * self.stages), self.stages - 1)
        # Where warm-up ends, or nearest to it.
        return self._share(min(max(self.warmup, stage / self.stages), (stage + 1) / self.stages))

    def _share(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        if self.warmup == 1:
            return 1.0
        return SHAPES[self.shape]((progress - self.warmup) / (1 - self.warmup))


def learning_rate(config: TrialConfig, progress: float) -> float:
    """The rate of a config at a share `progress` of the budget, 0..1."""
    schedule = config.schedule
    return config.optimizer.learning_rate * Schedule(schedule.shape, schedule.warmup, schedule.stages).share(progress)
