"""Objectives: which losses are summed once a sampler has drawn (paper, section 1.2)."""

from collections.abc import Callable

from trainers.lattice import Lattice
from trainers.submodel import SubModel

Objective = Callable[[tuple[SubModel, ...], Lattice], tuple[SubModel, ...]]


def stochastic_loss(drawn: tuple[SubModel, ...], lattice: Lattice) -> tuple[SubModel, ...]:
    """`L(y, f(x, θ*))` of the one sub-model drawn."""
    (only,) = drawn
    return (only,)


def stochastic_summation(drawn: tuple[SubModel, ...], lattice: Lattice) -> tuple[SubModel, ...]:
    """`Σ L(y, f(x, θ))` over Θ⊥(θ*): the targets nested in the sub-model drawn, largest first."""
    (top,) = drawn
    return lattice.below(top)[::-1]


def summed(drawn: tuple[SubModel, ...], lattice: Lattice) -> tuple[SubModel, ...]:
    """The sum over every sub-model drawn (slimmable networks, the sandwich rule)."""
    return drawn


OBJECTIVES: dict[str, Objective] = {
    "stochastic-loss": stochastic_loss,
    "stochastic-summation": stochastic_summation,
    "sum": summed,
}
"""By their names in a config."""
OF_ONE = frozenset({"stochastic-loss", "stochastic-summation"})
"""Those that are defined for one drawn sub-model only."""
