"""Samplers of sub-models between the targets: any share of a dimension, any whole number of a counted one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist

import numpy as np

from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.sampling.sampler import Moment, Weighted
from trainers.submodel import SubModel

_GRID, _COARSE = 32, 8  # midpoints per dimension at which an expectation is stated: of one dimension, of several

Quantile = Callable[[float, float, float], float]
"""(u, low, high) → the value of a dimension between low and high below which a share u of the draws lies."""


def _uniform(u: float, low: float, high: float) -> float:
    return low + u * (high - low)


def _log_uniform(u: float, low: float, high: float) -> float:
    return low * math.exp(u * math.log(high / low))


@dataclass(frozen=True)
class Between:
    """One sub-model between the smallest and the largest target, every dimension drawn on its own."""

    quantile: Quantile
    draws: int = 1
    continuous: bool = True
    needs_gaps: bool = False

    def sample(self, rng: np.random.Generator, moment: Moment) -> tuple[SubModel, ...]:
        return (_at(moment.lattice, self.quantile, rng.random(len(moment.lattice.smallest.dims))),)

    def expectation(self, moment: Moment) -> Weighted:
        return _quadrature(moment.lattice, self.quantile)


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
        between = (_at(lattice, _uniform, rng.random(dimensions)) for _ in range(self.count - 2))
        return lattice.smallest, lattice.largest, *between

    def expectation(self, moment: Moment) -> Weighted:
        inner = ((sub_model, share * (self.count - 2)) for sub_model, share in _quadrature(moment.lattice, _uniform))
        return (moment.lattice.smallest, 1.0), (moment.lattice.largest, 1.0), *(inner if self.count > 2 else ())


def sandwich(count: int) -> Sandwich:
    """The sandwich rule with `count` sub-models in all."""
    if count < 2:
        raise ConfigError("a sandwich holds at least the largest and the smallest: give 2 or more")
    return Sandwich(count)


def log_uniform() -> Between:
    """The logarithm of each dimension uniform."""
    return Between(_log_uniform)


def truncated_normal(mean: float, deviation: float) -> Between:
    """Normal in each dimension's place between smallest (0) and largest (1), cut off at both."""
    if not deviation > 0:
        raise ConfigError(f"a standard deviation is above 0, not {deviation:g}")
    normal = NormalDist(mean, deviation)
    below, inside = normal.cdf(0.0), normal.cdf(1.0) - normal.cdf(0.0)
    if inside < 1e-9:
        raise ConfigError(f"a normal distribution at {mean:g} ± {deviation:g} has nothing between 0 and 1")

    def quantile(u: float, low: float, high: float) -> float:
        share = min(max(below + u * inside, 1e-12), 1 - 1e-12)
        return _uniform(min(1.0, max(0.0, normal.inv_cdf(share))), low, high)

    return Between(quantile)


def _at(lattice: Lattice, quantile: Quantile, drawn: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> SubModel:
    low, high = lattice.smallest, lattice.largest
    values: dict[str, float] = {}
    for name, u in zip(low.dimensions, drawn.tolist(), strict=True):
        if isinstance(low[name], int):  # whole numbers: equal cells of the half-open range low − ½ .. high + ½
            value = quantile(u, low[name] - 0.5, high[name] + 0.5)
            values[name] = min(int(high[name]), max(int(low[name]), math.floor(value + 0.5)))
        else:
            values[name] = quantile(u, low[name], high[name])
    return SubModel(**values)


def _quadrature(lattice: Lattice, quantile: Quantile) -> Weighted:
    dimensions = len(lattice.smallest.dims)
    grid = _GRID if dimensions == 1 else _COARSE
    nodes = [(node + 0.5) / grid for node in range(grid)]
    return tuple((_at(lattice, quantile, np.array(at)), grid**-dimensions) for at in product(nodes, repeat=dimensions))
