"""Samplers of one target: a probability for each.

A draw inverts the cumulative distribution at one uniform number, smallest target first. So arms with the same seed
that differ only in their distribution see the same numbers, and differ in a draw only where the distributions do.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.errors import ConfigError, unknown
from trainers.lattice import Lattice
from trainers.sampling.sampler import Moment, Weighted
from trainers.submodel import SubModel

Weights = NDArray[np.float64]
_ROUNDING = 1e-3  # a sum of printed weights may miss 1 by as much: .17 + .20 + .22 + .41
_FLOOR = 0.1  # share of uniform draws that the adaptive sampler keeps


@dataclass(frozen=True)
class OneTarget:
    """One target, drawn with probabilities in proportion to `weigh(moment)`, smallest target first."""

    weigh: Callable[[Moment], Weights]
    needs_gaps: bool = False
    draws: int = 1
    continuous: bool = False

    def probabilities(self, moment: Moment) -> Weights:
        """Of the targets, smallest first; they sum to 1."""
        weights = self.weigh(moment)
        normalised: Weights = weights / weights.sum()
        return normalised

    def sample(self, rng: np.random.Generator, moment: Moment) -> tuple[SubModel, ...]:
        cumulative = np.cumsum(self.probabilities(moment))
        chosen = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        return (moment.lattice.targets[chosen],)

    def expectation(self, moment: Moment) -> Weighted:
        chances = self.probabilities(moment)
        return tuple((target, float(p)) for target, p in zip(moment.lattice, chances, strict=True) if p > 0)


def uniform() -> OneTarget:
    """Each target as likely (SortedNet)."""
    return OneTarget(lambda moment: np.ones(len(moment.lattice)))


def categorical(weights: tuple[float, ...] | Mapping[str, float]) -> OneTarget:
    """Given probabilities: one per target, smallest first, or by label for a support of some targets.

    Raises:
        ConfigError: a negative one, or a sum that is not 1; at the first use also a wrong number or label.
    """
    values = list(weights.values()) if isinstance(weights, Mapping) else list(weights)
    if min(values) < 0:
        raise ConfigError(f"a probability cannot be negative: {min(values):g}")
    if abs(sum(values) - 1) > _ROUNDING:
        raise ConfigError(f"the probabilities sum to {sum(values):g}, not to 1")

    def weigh(moment: Moment) -> Weights:
        labels = [target.label for target in moment.lattice]
        if isinstance(weights, Mapping):
            for label in weights:
                if label not in labels:
                    raise unknown("target", label, labels)
            return np.array([weights.get(label, 0.0) for label in labels])
        if len(weights) != len(labels):
            raise ConfigError(
                f"{len(weights)} probabilities for {len(labels)} targets: give one for each of {', '.join(labels)}"
            )
        return np.array(weights)

    return OneTarget(weigh)


def linear() -> OneTarget:
    """In proportion to size: the product of what is kept of each dimension."""
    return OneTarget(lambda moment: _sizes(moment.lattice))


def by_macs() -> OneTarget:
    """In proportion to multiply-accumulates."""
    return OneTarget(lambda moment: _macs(moment))


def by_inverse_macs() -> OneTarget:
    """In inverse proportion to multiply-accumulates: every target gets the same share of the compute."""
    return OneTarget(lambda moment: 1 / _macs(moment))


def geometric(ratio: float) -> OneTarget:
    """P(b) ∝ Π_j ratio^b_j, b_j counting the values that the targets have in dimension j from the smallest.

    Nested dropout (Rippel et al. 2014), truncated, on every dimension: of a product of supports each is drawn on its
    own, and none before another.
    """
    if not 0 < ratio < 1:
        raise ConfigError(f"the ratio of a geometric distribution lies between 0 and 1, not at {ratio:g}")
    return OneTarget(lambda moment: np.array([ratio**rank for rank in _ranks(moment.lattice)]))


def truncated_normal(mean: float, deviation: float) -> OneTarget:
    """The normal density at each target's place, normalised over them.

    Places go by size, the product of what is kept of each dimension, from the smallest target's, 0, to the largest's,
    1. Targets may lie so far out that all densities are zero in floating point; their ratios are not.
    """
    if not deviation > 0:
        raise ConfigError(f"a standard deviation is above 0, not {deviation:g}")

    def weigh(moment: Moment) -> Weights:
        distances = [abs(place - mean) for place in _places(moment.lattice).tolist()]
        nearest = min(distances)
        # Exponents less that of the nearest target, d² − d₀² = (d − d₀)(d + d₀), which then weighs 1.
        return np.array(
            [
                math.exp(-(d - nearest) / deviation * ((d + nearest) / deviation) / 2) if d > nearest else 1.0
                for d in distances
            ]
        )

    return OneTarget(weigh)


def log_uniform() -> OneTarget:
    """In inverse proportion to size: the density of a uniform logarithm at each target."""
    return OneTarget(lambda moment: 1 / _sizes(moment.lattice))


def fixed(name: str) -> OneTarget:
    """Always the same target, named by its label, `largest` or `smallest`."""

    def weigh(moment: Moment) -> Weights:
        lattice = moment.lattice
        named = {"largest": lattice.largest, "smallest": lattice.smallest} | {t.label: t for t in lattice}
        if name not in named:
            raise unknown("target", name, named)
        return np.array([float(target == named[name]) for target in lattice])

    return OneTarget(weigh)


def annealed(start: str, until: float) -> OneTarget:
    """From one end of the lattice to uniform: the mixture moves linearly until a share `until` of the budget."""
    if start not in ("largest", "smallest"):
        raise unknown("start", start, ("largest", "smallest"))
    if not 0 < until <= 1:
        raise ConfigError(f"annealing ends at a share of the budget in (0, 1], not at {until:g}")

    def weigh(moment: Moment) -> Weights:
        count = len(moment.lattice)
        mixed = min(1.0, moment.progress / until)
        weights = np.full(count, mixed / count)
        weights[-1 if start == "largest" else 0] += 1 - mixed
        return weights

    return OneTarget(weigh)


def adaptive(temperature: float) -> OneTarget:
    """More draws for targets whose recent loss lies above their own best: softmax of the gap over a temperature.

    A tenth of the draws stays uniform, so no target starves. Uniform before a target's first pass.
    """
    if not temperature > 0:
        raise ConfigError(f"a temperature is above 0, not {temperature:g}")

    def weigh(moment: Moment) -> Weights:
        gaps = np.array([moment.gaps.get(target.label, 0.0) for target in moment.lattice])
        soft: Weights = np.exp((gaps - gaps.max()) / temperature)
        mixed: Weights = _FLOOR / len(gaps) + (1 - _FLOOR) * soft / soft.sum()
        return mixed

    return OneTarget(weigh, needs_gaps=True)


def _sizes(lattice: Lattice) -> Weights:
    return np.array([np.prod(target.values) for target in lattice], dtype=np.float64)


def _ranks(lattice: Lattice) -> list[int]:
    """Of each target how many smaller values its dimensions have among the targets, all dimensions together."""
    supports = [sorted(set(values)) for values in zip(*(target.values for target in lattice), strict=True)]
    return [
        sum(support.index(value) for support, value in zip(supports, target.values, strict=True)) for target in lattice
    ]


def _macs(moment: Moment) -> Weights:
    return np.array([moment.macs(target) for target in moment.lattice], dtype=np.float64)


def _places(lattice: Lattice) -> Weights:
    sizes = _sizes(lattice)
    spread = sizes[-1] - sizes[0]
    return (sizes - sizes[0]) / spread if spread else np.zeros(len(sizes))


@dataclass(frozen=True)
class RoundRobin:
    """The targets in turn, smallest first: uniform in every round, without chance."""

    draws: int = 1
    continuous: bool = False
    needs_gaps: bool = False

    def sample(self, rng: np.random.Generator, moment: Moment) -> tuple[SubModel, ...]:
        return (moment.lattice.targets[moment.index % len(moment.lattice)],)

    def expectation(self, moment: Moment) -> Weighted:
        return tuple((target, 1 / len(moment.lattice)) for target in moment.lattice)


@dataclass(frozen=True)
class All:
    """Every target, largest first (slimmable networks, Yu et al. 2019)."""

    draws: None = None
    continuous: bool = False
    needs_gaps: bool = False

    def sample(self, rng: np.random.Generator, moment: Moment) -> tuple[SubModel, ...]:
        return moment.lattice.targets[::-1]

    def expectation(self, moment: Moment) -> Weighted:
        return tuple((target, 1.0) for target in moment.lattice)
