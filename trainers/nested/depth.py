"""Depth: which residual blocks a sub-model runs."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from torch import Tensor, nn

from trainers.submodel import SubModel

DEPTH = "depth"


class OptionalBlock(nn.Module):
    """A residual block that sub-models of less depth pass by. Its output has the shape of its input.

    Args:
        block: the block.
        rank: it is run at depths of at least this many optional blocks.
        dimension: the lattice's that counts them.
    """

    def __init__(self, block: nn.Module, rank: int, dimension: str = DEPTH) -> None:
        super().__init__()
        self.block, self.rank, self.dimension = block, rank, dimension
        self.runs = True

    def activate(self, sub_model: SubModel) -> None:
        self.runs = self.rank <= sub_model[self.dimension]

    def forward(self, x: Tensor) -> Tensor:
        if not self.runs:
            return x
        out: Tensor = self.block(x)
        return out


def interleaved(stages: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """One block of every stage in turn, so that depth grows evenly; every depth is part of the next."""
    return tuple(path for rank in zip_longest(*stages) for path in rank if path is not None)
