"""What it would take to separate the arms that the finished seeds do not, on the average over sub-models.

The numbers are the report's own, from the same tables; here they get a price.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from orchestrator.report.power import MOST_SEEDS, POWER
from orchestrator.report.results import Results
from orchestrator.report.tables import AVERAGE, make_table
from orchestrator.run.progress import duration
from orchestrator.study.plan import Plan, elapsed

_MOST_LINES = 5
_UNKNOWN, _TOO_MANY = "no spread is known or the means print alike", f"more than {MOST_SEEDS:,} seeds"


@dataclass(frozen=True)
class MoreSeeds:
    """Two arms of one table that are not separated on the average, and what would separate them.

    Attributes:
        table: its title; empty where there is one.
        seen: seeds that the table has.
        seeds: that a power of 80 % would take in all; None: `unknown` says why.
        option: of the command line, that asks for so many; empty without a number.
        trials: that this option would still run, of all arms of the plan.
        seconds: that they would take side by side.
    """

    table: str
    arm: str
    against: str
    seen: int
    seeds: int | None = None
    unknown: str = ""
    option: str = ""
    trials: int = 0
    seconds: float = 0.0

    @property
    def pair(self) -> str:
        """`SortedNet from NS (budget 1×)`."""
        return f"{self.arm} from {self.against}" + (f" ({self.table})" if self.table else "")

    @property
    def line(self) -> str:
        """`SortedNet from NS: ≈ 7 seeds (4 more per arm, 24 trials, about 2 h 07 min): --seeds 7`."""
        if self.seeds is None:
            return f"{self.pair}: {self.unknown}"
        return (
            f"{self.pair}: ≈ {self.seeds:,} seeds ({self.seeds - self.seen:,} more per arm, {self.trials:,} trials, "
            f"about {duration(self.seconds)}): {self.option}"
        )


def more_seeds(
    results: Results,
    extended: Callable[[Sequence[int]], Plan],
    finished: AbstractSet[str],
    seconds: Mapping[str, float],
    side_by_side: int,
) -> list[MoreSeeds]:
    """Every arm that is not separated from its baseline, or from the best where there is none; the nearest first.

    Args:
        extended: the same plan with other seeds.
        finished: keys of trials.
        seconds: of a trial, by the arm's label.
        side_by_side: trials at once.
    """
    found: list[tuple[MoreSeeds, list[int]]] = []
    for facet in results.facets:
        part = results.of(facet)
        seen = sorted(int(seed) for seed in part.frame["seed"].unique())
        table = make_table(part, {}, "")
        top = table.family.highest.get(AVERAGE)
        others = (arm for arm in table.arms if arm != top and arm not in table.diverged)
        pairs = list(table.against.items()) or [(top, arm) for arm in others if top is not None]
        for arm, other in pairs:
            comparison = table.family.between(AVERAGE, arm, other)
            if comparison.separated:
                continue
            wanted: list[int] = []
            if comparison.seeds is not None and math.isfinite(comparison.seeds):
                wanted = _seeds(seen, int(comparison.seeds))
            unknown = "" if wanted else _UNKNOWN if comparison.seeds is None else _TOO_MANY
            found.append((MoreSeeds(facet, arm, other, len(seen), len(wanted) or None, unknown), wanted))
    return sorted(_priced(found, extended, finished, seconds, side_by_side), key=lambda each: each.seeds or math.inf)


def _seeds(seen: list[int], count: int) -> list[int]:
    """The seen seeds, and the smallest others."""
    others = (seed for seed in range(count + len(seen)) if seed not in seen)
    return sorted([*seen, *(next(others) for _ in range(count - len(seen)))])


def _priced(
    found: Sequence[tuple[MoreSeeds, list[int]]],
    extended: Callable[[Sequence[int]], Plan],
    finished: AbstractSet[str],
    seconds: Mapping[str, float],
    side_by_side: int,
) -> Iterator[MoreSeeds]:
    every = sorted({seed for _, wanted in found for seed in wanted})
    missing = extended(every).missing(finished) if every else []
    for each, wanted in found:
        asked = set(wanted)
        left = [trial for trial in missing if trial.seed in asked]
        yield replace(
            each,
            option="" if not wanted else f"--seeds {_option(wanted)}",
            trials=len(left),
            seconds=elapsed([seconds[trial.arm.label] for trial in left], side_by_side),
        )


def _option(seeds: list[int]) -> str:
    return str(len(seeds)) if seeds == list(range(len(seeds))) else ",".join(map(str, seeds))


def seeds_option(seen: Sequence[int], count: int) -> str:
    """`--seeds 7`: what has a command train the seen seeds and as many others as make up `count`."""
    return f"--seeds {_option(_seeds(sorted(seen), count))}"


def in_words(found: Sequence[MoreSeeds], results: Results) -> list[str]:
    """Some lines for a reader, never one per arm of a large study."""
    diverged = ", ".join(dict.fromkeys(each.arm for each in results.diverged))
    aside = [f"Compared with none, since a seed of theirs diverged: {diverged}."] if diverged else []
    return aside if results.with_means["arm"].nunique() < 2 else [*_of_pairs(found, results), *aside]


def _of_pairs(found: Sequence[MoreSeeds], results: Results) -> list[str]:
    seen = results.frame["seed"].nunique()
    if not found:
        return [
            f"On {AVERAGE} these seeds separate every arm from its baseline, or from the {results.metric.best} without "
            "one."
        ]
    if seen == 1:
        return ["One finished seed shows no spread, so nothing says yet how many would separate the arms: --seeds 3."]
    known = [each for each in found if each.seeds is not None]
    lines = [each.line for each in known[:_MOST_LINES]]
    if len(known) > _MOST_LINES:
        lines.append(f"{len(known) - _MOST_LINES} more, the last of them {known[-1].line}")
    for reason in (_TOO_MANY, _UNKNOWN):
        if unknown := [each.pair for each in found if each.unknown == reason]:
            more = f" and {len(unknown) - _MOST_LINES} more" if len(unknown) > _MOST_LINES else ""
            lines.append(f"{', '.join(unknown[:_MOST_LINES])}{more}: {reason}")
    head = (
        f"To separate on {AVERAGE} with {100 * POWER:.0f} % power, if the finished seeds ({seen}) show the true "
        "differences, which is rough for few:"
    )
    return [head, *(f"  {line}" for line in lines)]
