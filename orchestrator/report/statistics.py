"""Paired statistics over seeds.

Arms with the same seed share initial weights, data order, augmentation and random numbers, so what matters is their
difference seed by seed: its spread is smaller than that of either arm, and tests on unpaired means would waste it.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import special  # of Student's t; scipy.stats takes a second to import

LEVEL = 0.05
_FEWEST_FLIPPED, _MOST_FLIPPED = 5, 20  # seeds: below, no p under .06 exists; above, 2^n sign patterns are too many
_ROUNDING = 1e-9  # relative; differences of accuracies that should be equal differ by so much
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Paired:
    """An arm minus its baseline, seed by seed. With one seed nothing but the difference is known.

    Neither is with differences that are all the same: a spread of zero is an accident of few seeds and a coarse
    metric, and dividing by it would make a certainty of it.

    Attributes:
        n: seeds.
        mean: of the differences, in the metric's unit.
        low, high: 95 % t-interval of the mean.
        t_p: two-sided p of the paired t-test.
        flip_p: two-sided p of the exact sign-flip test, for 5 to 20 seeds.
        effect: Cohen's d for paired samples, mean over SD of the differences.
    """

    n: int
    mean: float
    low: float | None = None
    high: float | None = None
    t_p: float | None = None
    flip_p: float | None = None
    effect: float | None = None

    @property
    def p(self) -> float | None:
        """The p that is reported: sign-flip where there is one, else that of the t-test."""
        return self.t_p if self.flip_p is None else self.flip_p


def paired(differences: Sequence[float]) -> Paired:
    """The statistics of differences between two arms, one per seed.

    Raises:
        ValueError: there are none.
    """
    n = len(differences)
    if n == 0:
        raise ValueError("no seed that both arms have")
    mean = float(np.mean(differences))
    if n == 1:
        return Paired(n, mean)
    deviation = float(np.std(differences, ddof=1))
    flip = sign_flip_p(differences) if _FEWEST_FLIPPED <= n <= _MOST_FLIPPED else None
    if deviation <= _ROUNDING * max(map(abs, differences)):
        return Paired(n, mean, flip_p=flip)
    half = float(special.stdtrit(n - 1, 1 - LEVEL / 2)) * deviation / math.sqrt(n)
    t_p = float(2 * special.stdtr(n - 1, -abs(mean) / (deviation / math.sqrt(n))))
    return Paired(n, mean, mean - half, mean + half, t_p, flip, mean / deviation)


def sign_flip_p(differences: Sequence[float]) -> float:
    """The share of all 2^n sign patterns whose mean difference is at least as far from zero: exact, two-sided."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    reached = abs(sum(differences))
    return float(np.mean(np.abs(sums) >= reached - 1e-12 * (1 + reached)))


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """p-values adjusted by Holm's step-down method, which bounds the chance of any false finding in the family."""
    adjusted: dict[Key, float] = {}
    highest = 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[key] = highest
    return adjusted


def inseparable_from_best(by_arm: Mapping[str, Mapping[int, float]], decimals: int = 2) -> set[str]:
    """The arm with the highest mean, and every arm that paired t-tests (Holm over them) do not separate from it.

    Means that print alike at `decimals` count as equal. With one seed nothing can be separated, so only the highest
    are given.

    Args:
        by_arm: values by seed, the same seeds for every arm.
    """
    means = {arm: float(np.mean(list(values.values()))) for arm, values in by_arm.items()}
    best = max(means, key=means.__getitem__)
    alike = {arm for arm, mean in means.items() if round(mean, decimals) == round(means[best], decimals)}
    if len(by_arm[best]) == 1:
        return alike
    tests = {
        arm: paired([by_arm[best][seed] - value for seed, value in values.items()]).t_p
        for arm, values in by_arm.items()
        if arm != best
    }
    adjusted = holm({arm: p for arm, p in tests.items() if p is not None})
    return alike | {arm for arm in tests if adjusted.get(arm, 1.0) >= LEVEL}


@dataclass(frozen=True)
class Sortedness:
    """How well an arm's accuracies are sorted by size, over all pairs of a sub-model nested in a larger one.

    Attributes:
        share: of pairs in which the larger is at least as accurate, 0..1.
        shortfall: by how many percentage points it falls short in the others, on average; 0 if there are none.
    """

    share: float
    shortfall: float


def sortedness(sub_models: Sequence[tuple[tuple[float, ...], float]]) -> Sortedness | None:
    """Of one trial's sub-models, each with what it keeps of every dimension and its accuracy; None without a pair."""
    gains = [
        accuracy - lesser
        for dimensions, accuracy in sub_models
        for smaller, lesser in sub_models
        if smaller != dimensions and all(a <= b for a, b in zip(smaller, dimensions, strict=True))
    ]
    if not gains:
        return None
    short = [-gain for gain in gains if gain < 0]
    return Sortedness(1 - len(short) / len(gains), sum(short) / len(short) if short else 0.0)
