"""Trials whose loss stopped being finite, and what a report says where their numbers would stand.

They ended before their budget did, with a network that is none, so what was measured of it is no result. Nor is the
mean over the other seeds of their arm: the outcome has chosen which these are, so it flatters the arm, and beside arms
with every seed it is not paired. So an arm with a diverged seed has no mean, is in no test and is never best; how many
of its seeds diverged stands where its numbers would. The other arms keep every seed.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

_MOST_NAMED = 5  # seeds of an arm
RULE = (
    "Diverged: the loss stopped being finite, and training with it. An arm of which a seed diverged has no mean, since "
    "the outcome has chosen the seeds that are left, and takes no part in bold, tests and differences; the others keep "
    "every seed, and results.csv has every trial."
)


@dataclass(frozen=True)
class Divergence:
    """A trial that diverged.

    Attributes:
        facet, arm: as of `Results`.
        spent: `40 of 120 updates`; empty where that was not recorded.
    """

    facet: str
    arm: str
    seed: int
    spent: str

    @property
    def when(self) -> str:
        """`seed 1 after 40 of 120 updates`."""
        return f"seed {self.seed}" + (f" after {self.spent}" if self.spent else "")

    @property
    def line(self) -> str:
        """`budget 2× · SortedNet · seed 1 after 40 of 120 updates`."""
        return " · ".join(filter(None, [self.facet, self.arm, self.when]))


def diverged_seeds(found: Iterable[Divergence]) -> dict[str, frozenset[int]]:
    """The seeds that diverged, by arm; of one table."""
    seeds: dict[str, frozenset[int]] = {}
    for each in found:
        seeds[each.arm] = seeds.get(each.arm, frozenset()) | {each.seed}
    return seeds


def in_place(diverged: int, seeds: int) -> str:
    """What stands in the place of an arm's numbers: `diverged`, or `2 of 5 diverged`."""
    return "diverged" if diverged == seeds else f"{diverged} of {seeds} diverged"


def divergence_rule(found: Collection[Divergence], seeds: Mapping[tuple[str, str], int]) -> str:
    """Which arms have how many diverged seeds, and what follows from it; empty without any.

    Args:
        seeds: of an arm, by facet and arm.
    """
    by_arm: dict[tuple[str, str], list[Divergence]] = {}
    for each in found:
        by_arm.setdefault((each.facet, each.arm), []).append(each)
    several = len({facet for facet, _ in seeds}) > 1
    said = []
    for (facet, arm), its in by_arm.items():
        named = [each.when for each in its[:_MOST_NAMED]]
        more = [f"{len(its) - _MOST_NAMED} more"] if len(its) > _MOST_NAMED else []
        where = f"{facet} · {arm}" if several else arm
        count = seeds[facet, arm]
        said.append(f"{where}: {len(its)} of {count} seed{'s' * (count > 1)} diverged ({', '.join(named + more)}).")
    return " ".join([*said, RULE]) if said else ""
