"""The learning rate over a trial: linear warm-up, then cosine to zero, over the budget rather than over epochs."""

import math

from trainers.config.trial import TrialConfig


def learning_rate(config: TrialConfig, progress: float) -> float:
    """The rate at a share `progress` of the budget, 0..1; the loop passes the middle of the step at hand.

    It rises linearly until a share `warmup` of the budget, then falls from the full rate along half a cosine over all
    that remains. With stages it is constant within each, at the highest rate that this curve reaches in it: 200 stages
    with warmup .025 are LCS's schedule (`schedulers.py`), lr·(e + 1)/5 in the epochs e before 5, ½·lr·(1 + cos(π·(e −
    5)/195)) from there on.
    """
    stages = config.schedule_stages
    if not stages:
        return config.learning_rate * _share(config.warmup, min(progress, 1.0))
    stage = min(math.floor(progress * stages), stages - 1)
    highest = min(max(config.warmup, stage / stages), (stage + 1) / stages)  # where warm-up ends, or nearest to it
    return config.learning_rate * _share(config.warmup, highest)


def _share(warmup: float, progress: float) -> float:
    """Of the full rate. Warm-up over the whole budget leaves nothing for the cosine, and ends at the full rate."""
    if progress < warmup:
        return progress / warmup
    if warmup == 1:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
