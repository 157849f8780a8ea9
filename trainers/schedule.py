"""The learning rate over a trial: linear warm-up, then cosine to zero, over the budget rather than over epochs."""

import math

from trainers.config import TrialConfig


def learning_rate(config: TrialConfig, progress: float) -> float:
    """The rate at a share `progress` of the budget, 0..1; the loop passes the middle of the step at hand.

    With stages it is constant within each: stage s of S lies at (s + 1)/S while it warms up, at s/S on the cosine,
    so that 200 stages with warmup .025 are LCS's five epochs of linear warm-up and cosine per epoch.
    """
    stages, warmup = config.schedule_stages, config.warmup
    stage = math.floor(min(progress, 1.0) * stages)
    rising = (stage + 1) / stages if stages else progress
    falling = stage / stages if stages else progress
    if falling < warmup:
        return config.learning_rate * min(1.0, rising / warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, falling)))
