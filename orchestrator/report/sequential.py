"""Seeds one after another until arms are separated: a test that may look again and again.

The p of a fixed number of seeds holds for one look. Who looks at 3, 4, 5 … 20 seeds and stops at the first p below .05
finds something in a fifth of the comparisons in which there is nothing (419 of 2,000 in `test_sequential`). So it is
fixed before the first seed at which numbers of seeds is looked, and the level is shared out over these looks.

A sequential p is the least, over the looks so far, of the paired t-test's p divided by the look's share. Of arms that
do not differ it falls below any α in at most a share α of all studies, at whatever look, by the union bound (alpha
spending with Bonferroni's inequality; the boundaries of group-sequential designs, Lan & DeMets 1983, are for a known
spread and wrong at five seeds). It never rises again, so neither do Holm's adjusted ones: what is separated stays
separated, and the chance of any false finding in a study is at most 5 % over all comparisons and all looks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from orchestrator.errors import UserError
from orchestrator.report.divergence import diverged_seeds
from orchestrator.report.results import Results
from orchestrator.report.statistics import LEVEL, holm, mean_and_sd, paired
from orchestrator.report.tables import averages
from orchestrator.track.tracker import LOOKS, Tracker
from orchestrator.trainer import Metric

FEWEST = 3
_APART = 1.15  # times as many seeds as at the look before, at least


@dataclass(frozen=True)
class Looks:
    """When arms are compared; fixed before the first seed is trained.

    Attributes:
        order: the seeds, in the order in which they are trained.
        counts: after how many of them is looked, ascending; the last is all of them.
    """

    order: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def over(cls, seeds: Sequence[int]) -> "Looks":
        """After 3 seeds, then each time after about a quarter more, and after all.

        Raises:
            UserError: fewer than three.
        """
        if len(seeds) < FEWEST:
            raise UserError(
                f"--until-separated needs room for {FEWEST} seeds at least, not {len(seeds)}: give the most by --seeds"
            )
        found, count = list[int](), FEWEST
        while count * _APART < len(seeds):
            found.append(count)
            count = max(count + 1, round(1.25 * count))
        return cls(tuple(seeds), (*found, len(seeds)))

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Looks":
        """As `as_dict` wrote them. Raises `ValueError`, `KeyError` or `TypeError` if it did not."""
        return cls(tuple(map(int, kept["order"])), tuple(map(int, kept["counts"])))

    def as_dict(self) -> dict[str, list[int]]:
        """As JSON."""
        return {"order": list(self.order), "counts": list(self.counts)}

    def share(self, count: int) -> float:
        """Of the level, what is spent at the look after so many seeds: in proportion to their square.

        What is plain at three seeds is plainer at five, so little is lost by spending little early.
        """
        return count**2 / sum(each**2 for each in self.counts)

    @property
    def words(self) -> str:
        """`after 3, 4, 5, 6, 8 and 10 seeds`."""
        *some, last = map(str, self.counts)
        return f"after {' and '.join(filter(None, [', '.join(some), last]))} seeds"


def sequential_p(differences: Sequence[float], looks: Looks) -> float:
    """The p, two-sided, that is valid at every look.

    Args:
        differences: between two arms, a seed each, in the order in which the seeds were trained.
    """
    found = 1.0
    for count in looks.counts:
        if count > len(differences):
            break
        p = paired(differences[:count]).p
        found = min(found, 1.0 if p is None else p / looks.share(count))
    return found


def recorded_looks(tracker: Tracker, experiment: str, base_key: str) -> Looks | None:
    """Those that a study was begun with; None if its seeds were not chosen by looking.

    Raises:
        UserError: they are not as they were recorded.
    """
    parent = tracker.parent(experiment, base_key)
    kept = None if parent is None else tracker.read_json(parent.info.artifact_uri, LOOKS)
    if parent is None or kept is None:
        return None
    try:
        return Looks.read(kept)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"{LOOKS} of the run {parent.info.run_id} is not as it was recorded ({error})") from error


@dataclass(frozen=True)
class Verdict:
    """An arm beside another on the average over sub-models, as of the last look.

    Attributes:
        table: its title; empty where there is one.
        seeds: that both have.
        difference: of their means, `arm` minus `against`.
        p: sequential, adjusted by Holm's method over all comparisons of the study.
    """

    table: str
    arm: str
    against: str
    seeds: int
    difference: float
    p: float

    @property
    def separated(self) -> bool:
        """For good: later looks don't take it back."""
        return self.p < LEVEL

    @property
    def decided(self) -> bool:
        """Whether more seeds would change nothing: it is separated, or a seed diverged, so that there is no mean."""
        return self.separated or math.isnan(self.difference)

    def line(self, metric: Metric) -> str:
        """`SortedNet − NS: +3.20, p .012 over all looks: separated`."""
        where = f" ({self.table})" if self.table else ""
        if math.isnan(self.difference):
            return f"{self.arm} − {self.against}{where}: not compared, since a seed diverged"
        p = "< .001" if self.p < 0.001 else f"{self.p:.3f}".removeprefix("0")
        state = "separated" if self.separated else "not separated"
        sign = f"{self.difference:+.{metric.decimals}f}"
        return f"{self.arm} − {self.against}{where}: {sign}, p {p} over all looks: {state}"


Values = Mapping[tuple[str, str, str], Sequence[float]]
"""Differences by table, arm and the arm that it is compared with; a seed each, in their order."""


def judge(differences: Values, looks: Looks) -> list[Verdict]:
    """The verdicts on all comparisons of a study, which are one family."""
    adjusted = holm({pair: sequential_p(values, looks) for pair, values in differences.items()})
    return [Verdict(*pair, len(values), mean_and_sd(values)[0], adjusted[pair]) for pair, values in differences.items()]


def asked_for(results: Results, order: Sequence[int]) -> dict[tuple[str, str, str], list[float]]:
    """The differences that a study asks for: of every arm to its baseline or, of a table without one, of all pairs.

    Args:
        order: of the seeds, as they are trained.
    """
    found: dict[tuple[str, str, str], list[float]] = {}
    for facet in results.facets:
        part = results.of(facet)
        by_arm = averages(part)
        for arm, seeds in diverged_seeds(part.diverged).items():
            by_arm[arm] |= dict.fromkeys(seeds, math.nan)
        for arm, other in part.against.items() or [(b, a) for a, b in combinations(part.arms, 2)]:
            there = [seed for seed in order if seed in by_arm[arm] and seed in by_arm[other]]
            found[facet, arm, other] = [by_arm[arm][seed] - by_arm[other][seed] for seed in there]
    return found


def in_words(verdicts: Sequence[Verdict], looks: Looks, metric: Metric) -> list[str]:
    """What was decided and how, for a reader: a line for the rule and one for each comparison."""
    rule = (
        f"Seeds were added until every comparison was decided, {len(looks.order)} at most, with looks {looks.words}. "
        f"These p-values are of a sequential test and hold at every look: with Holm's correction over all "
        f"{len(verdicts)} comparisons, the chance of any false finding is at most {100 * LEVEL:.0f} %. Those of tables "
        "are for a number of seeds that is fixed beforehand."
    )
    return [rule, *(verdict.line(metric) for verdict in verdicts)]
