"""The learning rate over a trial: linear warm-up, then the schedule's shape, over the budget and not over epochs."""

import math

from trainers.config.schedule import ScheduleConfig, Shape
from trainers.config.trial import TrialConfig


def learning_rate(config: TrialConfig, progress: float) -> float:
    """The rate at a share `progress` of the budget, 0..1; the loop passes the middle of the step at hand.

    It rises linearly until a share `warmup` of the budget, then falls from the full rate along half a cosine, or a
    line, over all that remains, or stays. With stages it is constant within each, at the highest rate that this curve
    reaches in it: 200 stages with warmup .025 are LCS's schedule (`schedulers.py`), lr·(e + 1)/5 in the epochs e before
    5, ½·lr·(1 + cos(π·(e − 5)/195)) from there on.
    """
    return config.optimizer.learning_rate * _share(config.schedule, progress)


def _share(schedule: ScheduleConfig, progress: float) -> float:
    """Of the full rate."""
    stages, warmup = schedule.stages, schedule.warmup
    if not stages:
        return _curve(schedule.shape, warmup, min(progress, 1.0))
    stage = min(math.floor(progress * stages), stages - 1)
    highest = min(max(warmup, stage / stages), (stage + 1) / stages)  # where warm-up ends, or nearest to it
    return _curve(schedule.shape, warmup, highest)


def _curve(shape: Shape, warmup: float, progress: float) -> float:
    """Without stages. Warm-up over the whole budget leaves nothing for the shape, and ends at the full rate."""
    if progress < warmup:
        return progress / warmup
    if warmup == 1 or shape == "constant":
        return 1.0
    if shape == "linear":
        return (1 - progress) / (1 - warmup)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
