"""The lattice of target sub-models: which ones are trained for, which one contains which.

Samplers, objectives, evaluation and the ledger all ask the same three questions (largest, smallest, what lies
below); answering them in one place keeps a new dimension from touching any of them.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from trainers.submodel import SubModel


@dataclass(frozen=True)
class Lattice:
    """The target sub-models, kept smallest first.

    Raises:
        ValueError: empty, mixed dimensions, a target or its label twice, or no single largest/smallest that
            bounds all others.
    """

    targets: tuple[SubModel, ...]

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError("a lattice needs at least one target sub-model")
        if len({target.dimensions for target in self.targets}) > 1:
            raise ValueError("every target of a lattice must name the same dimensions")
        if len(set(self.targets)) < len(self.targets):
            raise ValueError(f"a target is listed twice: {', '.join(t.label for t in self.targets)}")
        labels = Counter(target.label for target in self.targets)
        if alike := [label for label, count in labels.items() if count > 1]:
            raise ValueError(f"two targets are so near to each other that both are called {alike[0]}: leave one out")
        ordered = tuple(sorted(self.targets, key=lambda target: target.values))
        object.__setattr__(self, "targets", ordered)
        if not all(ordered[0] <= target <= ordered[-1] for target in ordered):
            raise ValueError("a lattice needs one target that contains all others and one that all others contain")

    @classmethod
    def product(cls, **supports: tuple[float, ...]) -> "Lattice":
        """Every combination of the supports `B_j`, e.g. `Lattice.product(width=(.5, 1.), depth=(6, 12))`."""
        names = tuple(supports)
        points = product(*(supports[name] for name in names))
        return cls(tuple(SubModel(**dict(zip(names, point, strict=True))) for point in points))

    @property
    def largest(self) -> SubModel:
        """The target that contains every other one."""
        return self.targets[-1]

    @property
    def smallest(self) -> SubModel:
        """The target that every other one contains."""
        return self.targets[0]

    def spread(self, count: int) -> tuple[SubModel, ...]:
        """So many of the targets, evenly over their order from the smallest to the largest; of one, the largest."""
        if count == 1:
            return (self.largest,)
        last = len(self.targets) - 1
        return tuple(self.targets[place * last // (count - 1)] for place in range(count))

    def below(self, sub_model: SubModel) -> tuple[SubModel, ...]:
        """Θ⊥(θ*): the targets nested in `sub_model`, itself included where it is one (paper, section 1.2)."""
        return tuple(target for target in self.targets if target <= sub_model)

    def __iter__(self) -> Iterator[SubModel]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __contains__(self, sub_model: object) -> bool:
        return sub_model in self.targets
