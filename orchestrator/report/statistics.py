"""Paired statistics over seeds.

Arms with the same seed share initial weights, data order, augmentation and random numbers, so what matters is their
difference seed by seed: its spread is smaller than that of either arm, and tests on unpaired means would waste it.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from scipy import special  # of Student's t; scipy.stats takes a second to import

LEVEL = 0.05
_ROUNDING = 1e-9  # relative; differences of accuracies that should be equal differ by so much
Key = TypeVar("Key", bound=Hashable)
Test = Literal["paired t-test", "exact sign-flip test"]


@dataclass(frozen=True)
class Paired:
    """One arm minus another, seed by seed. With one seed nothing but the difference is known.

    Neither is with differences that are all the same: a spread of zero is an accident of few seeds and a coarse
    metric, and dividing by it would make a certainty of it. Nor with one that is not a number.

    Attributes:
        n: seeds.
        mean: of the differences, in the metric's unit.
        sd: of the differences, in the metric's unit.
        low, high: 95 % t-interval of the mean.
        p: two-sided, of the test that was asked for. The sign-flip test needs no spread.
        effect: Cohen's d for paired samples, mean over SD of the differences.
    """

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect: float | None = None

    def turned(self) -> "Paired":
        """The other arm minus this one."""
        low, high = (None if bound is None else -bound for bound in (self.high, self.low))
        return replace(self, mean=-self.mean, low=low, high=high, effect=None if self.effect is None else -self.effect)


def mean_and_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample SD; no SD of one value, and NaN for both where a value is no number."""
    if not all(map(math.isfinite, values)):
        return math.nan, None if len(values) == 1 else math.nan
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def paired(differences: Sequence[float], test: Test = "paired t-test") -> Paired:
    """The statistics of differences between two arms, one per seed.

    Raises:
        ValueError: there are none.
    """
    n = len(differences)
    if n == 0:
        raise ValueError("no seed that both arms have")
    mean, sd = mean_and_sd(differences)
    if sd is None or math.isnan(mean):
        return Paired(n, mean)
    flip_p = sign_flip_p(differences) if test == "exact sign-flip test" else None
    if sd <= _ROUNDING * max(map(abs, differences)):
        return Paired(n, mean, p=flip_p)
    error = sd / math.sqrt(n)
    half = float(special.stdtrit(n - 1, 1 - LEVEL / 2)) * error
    t_p = float(2 * special.stdtr(n - 1, -abs(mean) / error))
    return Paired(n, mean, sd, mean - half, mean + half, t_p if flip_p is None else flip_p, mean / sd)


def sign_flip_p(differences: Sequence[float]) -> float:
    """The share of all 2^n sign patterns whose mean difference is at least as far from zero: exact, two-sided.

    A pattern is one of the first half of the differences with one of the second. For each of the first the second
    ones that reach far enough are counted in their sorted sums, so 2^(n/2) numbers stand for 2^n.
    """
    half = len(differences) // 2
    first, second = _signed_sums(differences[:half]), np.sort(_signed_sums(differences[half:]))
    reached = abs(math.fsum(differences))
    reached -= 1e-12 * (1 + reached)
    if reached <= 0:
        return 1.0
    above = len(first) * len(second) - int(np.searchsorted(second, reached - first).sum())
    return above / 2.0 ** (len(differences) - 1)  # as many lie as far below zero


def _signed_sums(values: Sequence[float]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def holm(p_values: Mapping[Key, float | None]) -> dict[Key, float]:
    """p-values adjusted by Holm's step-down method, which bounds the chance of any false finding in the family.

    A comparison without a p was meant to be made like the others, so it counts, as one that finds nothing: p = 1.
    Left out, it would make the others look better for having failed.
    """
    counted = {key: 1.0 if p is None or math.isnan(p) else p for key, p in p_values.items()}
    adjusted: dict[Key, float] = {}
    highest = 0.0
    for rank, (key, p) in enumerate(sorted(counted.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(counted) - rank) * p))
        adjusted[key] = highest
    return adjusted


@dataclass(frozen=True)
class Sortedness:
    """How well an arm's sub-models are sorted by size, over all pairs of a sub-model nested in a larger one.

    Attributes:
        share: of pairs in which the larger is at least as good, 0..1.
        shortfall: by how much it falls short in the others, on average; 0 if there are none.
    """

    share: float
    shortfall: float


def sortedness(sub_models: Sequence[tuple[tuple[float, ...], float]]) -> Sortedness | None:
    """Of one trial's sub-models, each with what it keeps of every dimension and how good it is (more is better).

    None without a pair, and where one of them is no number.
    """
    if not all(math.isfinite(good) for _, good in sub_models):
        return None
    gains = [
        good - lesser
        for dimensions, good in sub_models
        for smaller, lesser in sub_models
        if smaller != dimensions and all(a <= b for a, b in zip(smaller, dimensions, strict=True))
    ]
    if not gains:
        return None
    short = [-gain for gain in gains if gain < 0]
    return Sortedness(1 - len(short) / len(gains), sum(short) / len(short) if short else 0.0)
