"""Samplers of sub-models between the targets: any share of a dimension, any whole number of a counted one.

Depths 1, 4 and 10 as targets are the ends and one place of a range of ten: 2, 3, 5 … 9 are drawn as well, as widths
between the targets are.
"""

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import NormalDist

import numpy as np

from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.sampling.sampler import Moment, Weighted
from trainers.submodel import SubModel

_GRID, _COARSE = 32, 8  # values, at least, that stand for a dimension of shares: of a single one, of one of several
_MOST_SUB_MODELS = 1024  # of a sandwich
_LEAST, _MOST = sys.float_info.min, math.nextafter(1.0, 0.0)  # probabilities of which a normal has a quantile


@dataclass(frozen=True)
class Marginal:
    """How one dimension's values are distributed between two bounds.

    Attributes:
        quantile: (u, low, high) → the value below which a share u of the draws lies.
        cumulative: (value, low, high) → the share of the draws that lies below the value; its inverse.
    """

    quantile: Callable[[float, float, float], float]
    cumulative: Callable[[float, float, float], float]


def _between(u: float, low: float, high: float) -> float:
    return low + u * (high - low)


def _place(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low)


_UNIFORM = Marginal(_between, _place)
_LOG_UNIFORM = Marginal(
    lambda u, low, high: low * math.exp(u * math.log(high / low)),
    lambda value, low, high: math.log(value / low) / math.log(high / low),
)


@dataclass(frozen=True)
class Between:
    """One sub-model between the smallest and the largest target, every dimension drawn on its own."""

    marginal: Marginal
    draws: int = 1
    continuous: bool = True
    needs_gaps: bool = False

    def sample(self, rng: np.random.Generator, moment: Moment) -> tuple[SubModel, ...]:
        return (_at(moment.lattice, self.marginal, rng.random(len(moment.lattice.smallest.dims))),)

    def expectation(self, moment: Moment) -> Weighted:
        return _stated(moment.lattice, self.marginal)


@dataclass(frozen=True)
class Sandwich:
    """Smallest, largest, and n − 2 uniform between them, in this order (Yu & Huang 2019).

    The order is LCS's (`train_indep.py`, `train_curve.py`), in whose code Table 1's US and LCS were trained; that of
    slimmable_networks starts with the largest. It decides what shared BatchNorm statistics remember longest: the
    widths of a step that run last.
    """

    count: int
    continuous: bool = True
    needs_gaps: bool = False

    @property
    def draws(self) -> int:
        return self.count

    def sample(self, rng: np.random.Generator, moment: Moment) -> tuple[SubModel, ...]:
        lattice = moment.lattice
        dimensions = len(lattice.smallest.dims)
        between = (_at(lattice, _UNIFORM, rng.random(dimensions)) for _ in range(self.count - 2))
        return lattice.smallest, lattice.largest, *between

    def expectation(self, moment: Moment) -> Weighted:
        lattice, count = moment.lattice, self.count - 2
        inner = [(sub_model, share * count) for sub_model, share in _stated(lattice, _UNIFORM)] if count else []
        return _merged([(lattice.smallest, 1.0), (lattice.largest, 1.0), *inner])


def sandwich(count: int) -> Sandwich:
    """The sandwich rule with `count` sub-models in all."""
    if count < 2:
        raise ConfigError("a sandwich holds at least the largest and the smallest: give 2 or more")
    if count > _MOST_SUB_MODELS:
        raise ConfigError(
            f"a sandwich of {count:,} sub-models in every step is none to train: give at most {_MOST_SUB_MODELS:,}"
        )
    return Sandwich(count)


def log_uniform() -> Between:
    """The logarithm of each dimension uniform."""
    return Between(_LOG_UNIFORM)


def truncated_normal(mean: float, deviation: float) -> Between:
    """Normal in each dimension's place between smallest (0) and largest (1), cut off at both.

    Of a counted dimension 0 is the lower edge of the smallest number's cell and 1 the upper one of the largest's.
    """
    if not deviation > 0:
        raise ConfigError(f"a standard deviation is above 0, not {deviation:g}")
    normal = NormalDist(mean, deviation)
    below, inside = normal.cdf(0.0), normal.cdf(1.0) - normal.cdf(0.0)
    if inside < 1e-9:
        raise ConfigError(f"a normal distribution at {mean:g} ± {deviation:g} has nothing between 0 and 1")

    def quantile(u: float, low: float, high: float) -> float:
        share = min(max(below + u * inside, _LEAST), _MOST)
        return _between(min(1.0, max(0.0, normal.inv_cdf(share))), low, high)

    def cumulative(value: float, low: float, high: float) -> float:
        return (normal.cdf(_place(value, low, high)) - below) / inside

    return Between(Marginal(quantile, cumulative))


def _at(lattice: Lattice, marginal: Marginal, drawn: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> SubModel:
    low, high = lattice.smallest, lattice.largest
    values: dict[str, float] = {}
    for name, u in zip(low.dimensions, drawn.tolist(), strict=True):
        value = marginal.quantile(u, *_range(lattice, name))
        if isinstance(low[name], int):
            value = math.floor(value + 0.5)
        values[name] = min(high[name], max(low[name], value))
    return SubModel(**values)


def _range(lattice: Lattice, name: str) -> tuple[float, float]:
    """Between which numbers a dimension is drawn: a whole number n stands for the cell n − ½ .. n + ½."""
    low, high = lattice.smallest[name], lattice.largest[name]
    return (low - 0.5, high + 0.5) if isinstance(low, int) else (low, high)


def _stated(lattice: Lattice, marginal: Marginal) -> Weighted:
    """What `_at` draws: every combination of the dimensions' values, which are drawn independently."""
    names = lattice.smallest.dimensions
    combined = product(*(_values(lattice, name, marginal, alone=len(names) == 1) for name in names))
    return tuple(
        (SubModel(**{name: value for name, (value, _) in zip(names, each, strict=True)}), math.prod(p for _, p in each))
        for each in combined
    )


def _values(lattice: Lattice, name: str, marginal: Marginal, alone: bool) -> list[tuple[float, float]]:
    """The values of a dimension and their probabilities.

    A whole number has that of its cell. Of a share, each interval between neighbouring targets has its own exactly,
    in equal parts on values that each stand for as many of its draws.
    """
    low, high = _range(lattice, name)
    if low == high:
        return [(low, 1.0)]
    counted = isinstance(lattice.smallest[name], int)
    cuts = np.arange(low, high + 1).tolist() if counted else sorted({target[name] for target in lattice})
    below = [marginal.cumulative(cut, low, high) for cut in cuts]
    parts = 1 if counted else -(-(_GRID if alone else _COARSE) // (len(cuts) - 1))
    values: list[tuple[float, float]] = []
    for cut, (start, end) in zip(cuts, pairwise(below), strict=False):
        for part in range(parts if end > start else 0):
            inside = start + (part + 0.5) / parts * (end - start)
            value = round(cut + 0.5) if counted else marginal.quantile(inside, low, high)
            values.append((value, (end - start) / parts))
    return values


def _merged(stated: Iterable[tuple[SubModel, float]]) -> Weighted:
    """Each sub-model once."""
    totals: dict[SubModel, float] = {}
    for sub_model, share in stated:
        totals[sub_model] = totals.get(sub_model, 0.0) + share
    return tuple(totals.items())
