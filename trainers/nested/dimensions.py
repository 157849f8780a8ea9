"""Which layers and which blocks every dimension of a lattice decides on."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainers.lattice import Lattice
from trainers.nested.depth import DEPTH
from trainers.nested.table import WIDTH


@dataclass(frozen=True)
class Stage:
    """A part of a network whose sub-models may have a width and a depth of their own.

    Of the k-th stage, counted from 1, a lattice's dimensions are `width_k` and `depth_k`.

    Attributes:
        layers: paths of its layers.
        blocks: paths of its residual blocks whose output is as their input, in the order in which depth adds them.
    """

    layers: frozenset[str] = frozenset()
    blocks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dimensions:
    """How a lattice is laid over a network.

    Attributes:
        lattice: the targets.
        optional: paths of the blocks that `depth` counts, in the order in which it adds them.
        stages: with dimensions of their own, where the lattice has those.
        multiple: of which every layer's number of outputs is one in a sub-model, where all of them are one.
    """

    lattice: Lattice
    optional: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    multiple: int = 1

    def of_layer(self, path: str, usual: str) -> str | None:
        """The one that decides how many outputs a layer has, which usually is `usual`; None: it has all of them."""
        names = self.lattice.largest
        if usual == WIDTH:
            for number, stage in enumerate(self.stages, start=1):
                if path in stage.layers and f"{WIDTH}_{number}" in names:
                    return f"{WIDTH}_{number}"
        return usual if usual in names else None

    @property
    def blocks(self) -> Mapping[str, tuple[str, ...]]:
        """By dimension, the blocks that it counts, in the order in which it adds them."""
        found = {DEPTH: self.optional} if self.optional else {}
        for number, stage in enumerate(self.stages, start=1):
            if f"{DEPTH}_{number}" in self.lattice.largest:
                found[f"{DEPTH}_{number}"] = stage.blocks
        return found

    def check(self, kind: str, obeyed: frozenset[str]) -> None:
        """Refuses a lattice with a dimension in which a network's sub-models would not differ, and the reverse.

        Args:
            kind: the network's class.
            obeyed: the dimensions that layers obey.

        Raises:
            ValueError: naming the dimension.
        """
        blocks = self.blocks
        for name in self.lattice.largest.dimensions:
            values = [target[name] for target in self.lattice]
            if blocks.get(name):
                if max(values) > len(blocks[name]) or any(value != int(value) for value in values):
                    said = ", ".join(f"{value:g}" for value in sorted({*values}))
                    one, whose = ("depths", "its") if name == DEPTH else (name, "its stage's")
                    count = len(blocks[name])
                    raise ValueError(
                        f"cannot nest {kind} in {one} {said}: give numbers of {whose} {count} optional blocks"
                    )
            elif name not in obeyed:
                mend = "name its optional blocks" if name == DEPTH else "leave it out, or add a row to the exchanges"
                base, _, number = name.partition("_")
                if number and base in (WIDTH, DEPTH):
                    mend = f"it has {len(self.stages)} stages" if self.stages else "give its stages"
                raise ValueError(f"cannot nest {kind} in {name!r}: none of its layers obeys that dimension: {mend}")
            elif max(values) > 1:
                raise ValueError(
                    f"cannot nest {kind} in {name}={max(values):g}: give shares of its layers' outputs, up to 1"
                )
        if self.optional and DEPTH not in self.lattice.largest:
            raise ValueError(f"cannot nest {kind} with optional blocks: the lattice has no dimension {DEPTH!r}")
        counted = [block for each in blocks.values() for block in each]
        if len({*counted}) < len(counted):
            twice = next(block for block in counted if counted.count(block) > 1)
            raise ValueError(f"cannot nest {kind}: two depths count block {twice!r}: choose one of them")
