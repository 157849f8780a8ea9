"""What a sampler is: a distribution over sub-models at a moment of training, drawn from and stated exactly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from trainers.lattice import Lattice
from trainers.submodel import SubModel

Weighted = tuple[tuple[SubModel, float], ...]


@dataclass(frozen=True)
class Moment:
    """What a draw may depend on besides chance.

    Attributes:
        lattice: the targets.
        macs: forward multiply-accumulates per example of a sub-model.
        index: number of the micro-batch, from 0.
        progress: share of the budget spent, 0..1.
        gaps: per target label, how far its recent training loss lies above its own best; absent before its first pass.
    """

    lattice: Lattice
    macs: Callable[[SubModel], int]
    index: int = 0
    progress: float = 0.0
    gaps: Mapping[str, float] = field(default_factory=dict)


class Sampler(Protocol):
    """Draws the sub-models of one micro-batch and states what it draws on average."""

    @property
    def draws(self) -> int | None:
        """How many sub-models a draw has; None: as many as there are targets."""

    @property
    def continuous(self) -> bool:
        """Whether it draws sub-models that are not targets."""

    @property
    def needs_gaps(self) -> bool:
        """Whether it reads `Moment.gaps`, for which the loop must wait for every loss."""

    def sample(self, rng: np.random.Generator, moment: Moment) -> tuple[SubModel, ...]:
        """The sub-models of one micro-batch, in the order in which they run."""

    def expectation(self, moment: Moment) -> Weighted:
        """Each sub-model, named once, with the number of times that a draw holds it on average.

        For a sampler of one target these are its exact probabilities, and so they are for whole numbers between
        targets. Of shares between neighbouring targets, some stand for all, with the exact probability of the interval.
        """
