"""How many features of a layer a sub-model keeps, where its dimension counts something."""

from dataclasses import dataclass

from trainers.submodel import SubModel


@dataclass(frozen=True)
class Size:
    """A number of features that follows a dimension of whole numbers.

    Attributes:
        dimension: the lattice's, `heads`.
        each: features for each of it: the head size, or 1.
    """

    dimension: str
    each: int = 1


def active_size(size: Size | None, sub_model: SubModel, full: int) -> int:
    """How many of `full` features a sub-model keeps: all, where nothing decides it or its dimension is not given."""
    if size is None or size.dimension not in sub_model:
        return full
    return int(sub_model[size.dimension]) * size.each
