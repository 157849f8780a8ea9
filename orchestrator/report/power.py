"""How many seeds would separate two arms, from the effect and the spread that the seeds so far have shown.

It is an estimate from an estimate: of few seeds both the difference and its spread are rough, differences that look
large are more often too large than too small, and one near zero may be none at all, which no number of seeds separates.
"""

import math
from bisect import bisect_left

import numpy as np
from scipy import special

POWER = 0.8
MOST_SEEDS = 1000
_STEPS = np.linspace(-8, 8, 801)  # standard normal, all but 1e-15 of it
_WEIGHTS = np.exp(-(_STEPS**2) / 2) / math.sqrt(2 * math.pi) * (_STEPS[1] - _STEPS[0])


def power(effect: float, seeds: int, level: float) -> float:
    """The chance that a two-sided paired t-test at `level` separates arms that are `effect` apart.

    Student's noncentral t: the mean Z + d√n is compared with t(1 − α/2) · S, whose S² is χ²/(n − 1), so the chance is
    the integral of φ(z) · P(S < (z + d√n) / t) over z, and the same for −d. SciPy's own distribution function, which
    statsmodels uses as well, is NaN for many large effects and small levels (1.17: d = 8, n = 2, level .01).

    Args:
        effect: Cohen's d for paired samples, mean over SD of the differences.
        seeds: at least 2.
    """
    freedom = seeds - 1
    critical = float(special.stdtrit(freedom, 1 - level / 2))
    means = _STEPS + np.array([[1.0], [-1.0]]) * effect * math.sqrt(seeds)
    reached = special.chdtr(freedom, freedom * (np.maximum(means, 0) / critical) ** 2)
    return min(1.0, float((reached @ _WEIGHTS).sum()))


def seeds_needed(effect: float, level: float) -> float:
    """The fewest seeds at which a paired t-test at `level` has a power of 80 %; infinite beyond 1,000.

    Args:
        effect: as of `power`.
    """
    candidates = range(2, MOST_SEEDS + 1)
    place = bisect_left(candidates, POWER, key=lambda seeds: power(effect, seeds, level))
    return candidates[place] if place < len(candidates) else math.inf
