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
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from orchestrator.declaration import Metric
from orchestrator.errors import UserError
from orchestrator.numerals import signed
from orchestrator.report.comparisons import p_text
from orchestrator.report.divergence import diverged_seeds
from orchestrator.report.results import Results
from orchestrator.report.statistics import LEVEL, holm, mean_and_sd, paired
from orchestrator.report.tables import averages
from orchestrator.report.words import counted
from orchestrator.track.tracker import LOOKS, Tracker

FEWEST = 3
_APART = 1.15  # times as many seeds as at the look before, at least


@dataclass(frozen=True)
class Looks:
    """When arms are compared; fixed before the first seed is trained.

    Attributes:
        order: the seeds, in the order in which they are trained.
        counts: after how many of them is looked, ascending; the last is all of them.
        before: how many of them had a finished trial when the looks were fixed, so that a choice could follow results.
    """

    order: tuple[int, ...]
    counts: tuple[int, ...]
    before: int = field(default=0, compare=False)

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
        return cls(tuple(map(int, kept["order"])), tuple(map(int, kept["counts"])), int(kept.get("before", 0)))

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"order": list(self.order), "counts": list(self.counts), "before": self.before}

    def share(self, count: int) -> float:
        """Of the level, what is spent at the look after so many seeds: in proportion to their square.

        What is plain at three seeds is plainer at five, so little is lost by spending little early.
        """
        return count**2 / sum(each**2 for each in self.counts)

    def made(self, seeds: int) -> int:
        """The seeds of the last look, once so many are trained; 0 before the first."""
        return max((count for count in self.counts if count <= seeds), default=0)

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
        seeds: that were compared; before the first look, those that both have.
        difference: of their means, `arm` minus `against`; no number if a seed of them diverged.
        p: sequential, adjusted by Holm's method over all comparisons of the study.
    """

    table: str
    arm: str
    against: str
    seeds: int
    difference: float
    p: float

    @property
    def diverged(self) -> bool:
        """Whether a seed of the two diverged, so that there is no mean. What they showed before counts in the family
        as it did, so what else was separated stays so."""
        return math.isnan(self.difference)

    @property
    def separated(self) -> bool:
        """For good: later looks don't take it back, unless a seed diverges."""
        return self.p < LEVEL and not self.diverged

    @property
    def decided(self) -> bool:
        """Whether more seeds would change nothing."""
        return self.separated or self.diverged

    def line(self, metric: Metric) -> str:
        """`SortedNet − NS: +3.20, p .012 over all looks: separated`."""
        where = f" ({self.table})" if self.table else ""
        if self.diverged:
            return f"{self.arm} − {self.against}{where}: not compared, since a seed diverged"
        state = "separated" if self.separated else "not separated"
        sign = signed(self.difference, metric.decimals)
        return f"{self.arm} − {self.against}{where}: {sign}, p {p_text(self.p)} over all looks: {state}"


Values = Mapping[tuple[str, str, str], Sequence[float]]
"""Differences by table, arm and the arm that it is compared with; a seed each, in their order."""


def judge(differences: Values, looks: Looks) -> list[Verdict]:
    """The verdicts on all comparisons of a study, which are one family."""
    adjusted = holm({pair: sequential_p(values, looks) for pair, values in differences.items()})
    found = []
    for pair, values in differences.items():
        compared = values[: looks.made(len(values)) or len(values)]
        mean = mean_and_sd(compared)[0] if compared else 0.0
        found.append(Verdict(*pair, len(compared), mean, adjusted[pair]))
    return found


def asked_for(results: Results, order: Sequence[int]) -> dict[tuple[str, str, str], list[float]]:
    """The differences that a study asks for: of every arm to its baseline or, of a table without one, of all pairs.

    As far as all seeds are there: were one left out whose trial failed, the looks after it would be on other seeds than
    once it is trained, which would be looks more than the level is shared out over.

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
            found[facet, arm, other] = _while_whole(by_arm[arm], by_arm[other], order)
    return found


def _while_whole(one: Mapping[int, float], other: Mapping[int, float], order: Sequence[int]) -> list[float]:
    found: list[float] = []
    for seed in order:
        if seed not in one or seed not in other:
            break
        found.append(one[seed] - other[seed])
    return found


def in_words(verdicts: Sequence[Verdict], looks: Looks, metric: Metric) -> list[str]:
    """What was decided and how, for a reader: a line for the rule and one for each comparison."""
    rule = (
        f"Seeds were added until every comparison was decided, {len(looks.order)} at most, with looks {looks.words}. "
        f"These p-values are of a sequential test and hold at every look: with Holm's correction over "
        f"{'all ' * (len(verdicts) > 1)}{counted(len(verdicts), 'comparison')}, the chance of any false finding is at "
        f"most {100 * LEVEL:.0f} % where the differences are about normal."
    )
    if looks.before:
        rule += (
            f" Of these seeds {looks.before} had results when the looks were fixed: the bound holds if these had no "
            "say in how many seeds there may be, in what is compared and in whether to look at all."
        )
    return [rule, *(verdict.line(metric) for verdict in verdicts)]


def not_fixed(looks: Looks | None) -> str:
    """What is said of tests for a fixed number of seeds where seeds were added by looking; else nothing."""
    if looks is None:
        return ""
    return (
        f"The number of seeds was not fixed beforehand but found by a sequential test, with looks {looks.words}: "
        "p-values here, and what they separate, take no account of that."
    )
