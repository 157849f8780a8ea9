"""Samplers: which sub-models take part in one micro-batch (the distribution P_B of SortedNet's Eq. 1).

A sampler is named in a config by a short text, `uniform` or `sandwich(4)`, which is also how MLflow shows it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trainers.errors import ConfigError, unknown
from trainers.lattice import Lattice
from trainers.submodel import SubModel

Weighted = tuple[tuple[SubModel, float], ...]
_GRID = 33  # nodes of the trapezoid rule by which a continuous draw states its expectation


class Sampler(Protocol):
    """Draws the sub-models of one micro-batch and states what it draws on average."""

    @property
    def draws(self) -> int | None:
        """How many sub-models a draw has; None: as many as there are targets."""

    @property
    def continuous(self) -> bool:
        """Whether it draws sub-models that are not targets."""

    def sample(self, rng: np.random.Generator, lattice: Lattice) -> tuple[SubModel, ...]:
        """The sub-models of one micro-batch, in the order in which they run."""

    def expectation(self, lattice: Lattice) -> Weighted:
        """Each sub-model with the number of times that a draw holds it on average (a quadrature if continuous)."""


@dataclass(frozen=True)
class Uniform:
    """One target, each as likely (SortedNet)."""

    draws: int = 1
    continuous: bool = False

    def sample(self, rng: np.random.Generator, lattice: Lattice) -> tuple[SubModel, ...]:
        return (lattice.targets[int(rng.integers(len(lattice)))],)

    def expectation(self, lattice: Lattice) -> Weighted:
        return tuple((target, 1 / len(lattice)) for target in lattice)


@dataclass(frozen=True)
class All:
    """Every target, largest first (slimmable networks, Yu et al. 2019)."""

    draws: None = None
    continuous: bool = False

    def sample(self, rng: np.random.Generator, lattice: Lattice) -> tuple[SubModel, ...]:
        return lattice.targets[::-1]

    def expectation(self, lattice: Lattice) -> Weighted:
        return tuple((target, 1.0) for target in lattice)


@dataclass(frozen=True)
class Sandwich:
    """Largest, smallest, and n − 2 uniform over the continuous range between them (Yu & Huang 2019, LCS)."""

    count: int = 4
    continuous: bool = True

    @property
    def draws(self) -> int:
        return self.count

    def sample(self, rng: np.random.Generator, lattice: Lattice) -> tuple[SubModel, ...]:
        between = (_blend(lattice, float(rng.random())) for _ in range(self.count - 2))
        return lattice.largest, lattice.smallest, *between

    def expectation(self, lattice: Lattice) -> Weighted:
        share = (self.count - 2) / (_GRID - 1)
        inner = [(_blend(lattice, node / (_GRID - 1)), share) for node in range(_GRID)]
        inner[0], inner[-1] = (lattice.smallest, share / 2), (lattice.largest, share / 2)
        return (lattice.largest, 1.0), (lattice.smallest, 1.0), *(inner if self.count > 2 else ())


@dataclass(frozen=True)
class Fixed:
    """Always the same target, named by its label, `largest` or `smallest`."""

    target: str
    draws: int = 1
    continuous: bool = False

    def sample(self, rng: np.random.Generator, lattice: Lattice) -> tuple[SubModel, ...]:
        return (self._in(lattice),)

    def expectation(self, lattice: Lattice) -> Weighted:
        return ((self._in(lattice), 1.0),)

    def _in(self, lattice: Lattice) -> SubModel:
        named = {"largest": lattice.largest, "smallest": lattice.smallest} | {t.label: t for t in lattice}
        if self.target not in named:
            raise unknown("target", self.target, named)
        return named[self.target]


def _blend(lattice: Lattice, at: float) -> SubModel:
    """The point at 0 ≤ `at` ≤ 1 of the way from the smallest to the largest sub-model. One elastic dimension only."""
    low, high = lattice.smallest, lattice.largest
    return SubModel(**{name: low[name] + at * (high[name] - low[name]) for name in low.dimensions})


def _sandwich(argument: str) -> Sampler:
    count = int(argument) if argument else 4
    if count < 2:
        raise ValueError("a sandwich holds at least the largest and the smallest: give 2 or more")
    return Sandwich(count)


def _fixed(argument: str) -> Sampler:
    return Fixed(argument or "largest")


def _plain(sampler: Sampler) -> Callable[[str], Sampler]:
    def make(argument: str) -> Sampler:
        if argument:
            raise ValueError("it takes no argument")
        return sampler

    return make


_SAMPLERS: dict[str, Callable[[str], Sampler]] = {
    "uniform": _plain(Uniform()),
    "all": _plain(All()),
    "sandwich": _sandwich,
    "fixed": _fixed,
}


def sampler(text: str) -> Sampler:
    """The sampler that a text such as `uniform`, `all`, `sandwich(4)` or `fixed(w050)` names.

    Raises:
        ConfigError: no such sampler, or an argument that it cannot take.
    """
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\(\s*(.*?)\s*\))?\s*", text)
    if match is None:
        raise ConfigError(f"sampler {text!r} is not of the form name or name(argument)")
    name, argument = match[1], match[2] or ""
    if name not in _SAMPLERS:
        raise unknown("sampler", name, _SAMPLERS)
    try:
        return _SAMPLERS[name](argument)
    except ValueError as error:
        raise ConfigError(f"sampler {text!r}: {error}") from error
