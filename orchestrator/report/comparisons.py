"""Which arms of a table are separated: one family of paired tests and one correction, for its bold and its p-values.

Were bold decided row by row and the p beside it over the table, the two would contradict each other, and the more rows
a table has, the more often an arm would lose its bold by chance. So every pair of arms on every row is tested once,
Holm's correction goes over all of them, and bold and p are read from the same adjusted values: if no arm differs from
another, at most one table in twenty says that any does. (Shaffer's steps, which know that three arms cannot differ in
one pair only, start at the same level as Holm's and would gain little.)
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from orchestrator.declaration import Metric
from orchestrator.numerals import decimal, interval, signed
from orchestrator.report.power import MOST_SEEDS, POWER, seeds_needed
from orchestrator.report.statistics import LEVEL, Paired, Test, holm, mean_and_sd, paired

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_MOST_FLIPPED = 20  # seeds: above, differences need not be normal for the t-test
_ROOM = 20  # how far the sign-flip test's smallest p lies below the level, corrected


def chosen_test(seeds: int, comparisons: int) -> Test:
    """The test of a family, by its size alone; the differences have no say in it.

    The sign-flip test is exact whatever the differences' distribution, but has no p below 2/2^n, and where that is just
    below the corrected level it rejects only if all signs agree: more seeds would then separate less. It is used once
    2/2^n times the comparisons is a twentieth of the level: from 10 seeds for one comparison, 12 for 5, 14 for 15, 16
    for 75. Where the t-test gives way to it, power at the first step of Holm's did not fall in 12,000 simulated sets of
    normal differences each, over effects d = .5 to 8 and families of 1 to 100; for up to 1,014, by .01 at most. With a
    tenth it was .001 and .03, with a fifth .02 and .06, and with no room at all .20 and .23.
    """
    if seeds <= _MOST_FLIPPED and comparisons * 2 / 2**seeds <= LEVEL / _ROOM:
        return "exact sign-flip test"
    return "paired t-test"


@dataclass(frozen=True)
class Comparison:
    """An arm minus another on one row, and the p adjusted over the table's family.

    Attributes:
        adjusted_p: 1 where there is no p, and where the means print alike.
        seeds: how many would separate the two, 80 % power, infinite beyond 1,000; None where they are separated, where
            no spread is known and where their means print alike.
    """

    statistics: Paired
    adjusted_p: float
    seeds: float | None = None
    decimals: int = 2

    @property
    def separated(self) -> bool:
        """Whether the adjusted p is below the level."""
        return self.adjusted_p < LEVEL

    @property
    def difference(self) -> str:
        """`+1.20`."""
        return signed(self.statistics.mean, self.decimals)

    @property
    def needed(self) -> str:
        """`≈ 7 seeds`, `> 1,000 seeds`, or nothing."""
        if self.seeds is None:
            return ""
        return f"≈ {self.seeds:,.0f} seeds" if self.seeds <= MOST_SEEDS else f"> {MOST_SEEDS:,} seeds"

    @property
    def certainty(self) -> str:
        """`unadjusted 95 % interval +0.40 to +2.00, adjusted p .124`; what is not known is left out."""
        found = self.statistics
        bounds = ""
        if found.low is not None and found.high is not None:
            bounds = f"unadjusted 95 % interval {interval(found.low, found.high, self.decimals)}"
        return ", ".join(filter(None, [bounds, "" if found.p is None else f"adjusted p {p_text(self.adjusted_p)}"]))

    @property
    def text(self) -> str:
        """`+1.20 [+0.40 to +2.00], p .031 → .124, d 1.90, ≈ 9 seeds`, or the difference alone."""
        found, text = self.statistics, self.difference
        if found.low is not None and found.high is not None:
            text += f" [{interval(found.low, found.high, self.decimals)}]"
        if found.p is not None:
            text += f", p {p_text(found.p)} → {p_text(self.adjusted_p)}"
        if found.effect is not None:
            text += f", d {decimal(found.effect, 2)}"
        return f"{text}, {self.needed}" if self.needed else text

    @property
    def short_text(self) -> str:
        """`−0.40, p .210, ≈ 12 seeds`: the adjusted p alone."""
        p = [] if self.statistics.p is None else [f"p {p_text(self.adjusted_p)}"]
        return ", ".join([self.difference, *p, *([self.needed] if self.needed else [])])


def p_text(value: float) -> str:
    """`.031`: three decimals, and more where they would hide on which side of the level it is."""
    if value < 0.001:
        return "< .001"
    text = f"{value:.3f}"
    return (f"{value:.5f}" if text == f"{LEVEL:.3f}" else text).removeprefix("0")


@dataclass(frozen=True)
class Family:
    """All pairs of arms on all rows of one table.

    Attributes:
        seeds: that every arm has.
        test: that all of them were made by.
        pairs: differences by row, arm and other arm; each pair once.
        adjusted: p-values after Holm's correction over `pairs`.
        alike: pairs whose means print alike.
        highest: the arm of the best mean (the lowest where lower is better), by row; none where no mean is a number.
        best: by row, that arm and all that are not separated from it.
    """

    seeds: int
    test: Test
    pairs: Mapping[tuple[str, str, str], Paired]
    adjusted: Mapping[tuple[str, str, str], float]
    alike: frozenset[tuple[str, str, str]]
    highest: Mapping[str, str]
    best: Mapping[str, frozenset[str]]
    decimals: int = 2

    def __len__(self) -> int:
        return len(self.pairs)

    def between(self, row: str, arm: str, other: str) -> Comparison:
        """`arm` minus `other`."""
        there = (row, arm, other) in self.pairs
        key = (row, arm, other) if there else (row, other, arm)
        found, adjusted = self.pairs[key], self.adjusted[key]
        seeds = None
        if found.effect is not None and adjusted >= LEVEL and key not in self.alike:
            # Other steps of Holm's are no stricter than the first; these seeds did not suffice, whatever was expected.
            seeds = max(seeds_needed(found.effect, LEVEL / len(self)), self.seeds + 1)
        return Comparison(found if there else found.turned(), adjusted, seeds, self.decimals)

    def differences(self, against: Mapping[str, str]) -> dict[tuple[str, str], Comparison]:
        """Every arm minus its baseline, by row and arm, on every row that both have."""
        return {
            (row, arm): self.between(row, arm, other)
            for row in self.best
            for arm, other in against.items()
            if (row, arm, other) in self.pairs or (row, other, arm) in self.pairs
        }

    @property
    def behind(self) -> dict[tuple[str, str], Comparison]:
        """Every arm minus the best of its row, by row and arm; none for the best, nor where no mean is a number."""
        found = {}
        for row, one, other in self.pairs:
            if (top := self.highest.get(row)) in (one, other):
                arm = other if one == top else one
                found[row, arm] = self.between(row, arm, top)
        return found

    def crowded(self, against: Mapping[str, str]) -> bool:
        """Whether a row has an arm that is not separated from the best, which differences to baselines don't show."""
        shown = {frozenset(pair) for pair in against.items()}
        return self.seeds > 1 and any(
            frozenset((arm, top)) not in shown for row, top in self.highest.items() for arm in self.best[row] - {top}
        )

    @property
    def rule(self) -> str:
        """Which test the family was held to and why, and what it was corrected for."""
        smallest = f"2/2{str(self.seeds).translate(_RAISED)}"
        if self.test == "exact sign-flip test":
            why = f"with {self.seeds} seeds its smallest p, {smallest}, is small enough for so many"
        elif self.seeds > _MOST_FLIPPED:
            why = f"with more than {_MOST_FLIPPED} seeds the differences need not be normal"
        else:
            why = f"an exact sign-flip test has no p below {smallest}, too coarse for so many"
        if len(self) == 1:
            why = why.replace("so many", "one pair")
            return f"the pair is tested paired by seed, two-sided, by the {self.test} ({why}); separated: p < {LEVEL}"
        whole = "both pairs" if len(self) == 2 else f"all {len(self)} pairs"
        return (
            f"{whole} of arms on the rows shown are tested once, paired by seed, two-sided, by the {self.test} "
            f"({why}), with Holm's correction over all of them; pairs that cannot be tested or print alike count, as "
            f"p = 1; separated: adjusted p < {LEVEL}"
        )


def differences_caption(family: Family, against: Mapping[str, str], metric: Metric) -> str:
    """What differences to baselines are and how they were corrected."""
    points = f" in {metric.points}" if metric.points else ""
    text = f"Differences to the baseline ({', '.join(dict.fromkeys(against.values()))}){points}, paired by seed"
    if not metric.higher_is_better:
        text += "; lower is better, so below zero is better than the baseline"
    if family.seeds == 1:
        return f"{text}; one seed, so nothing is known of their spread."
    return (
        f"{text}, with the 95 % t-interval (not adjusted), the p of the {family.test} and the same p after "
        f"Holm's correction over the {len(family)} comparisons that bold is decided by, and Cohen's d for "
        f"paired samples; n = {family.seeds}. Where all differences are the same, no spread is known."
    )


def seeds_caption(family: Family, shown: Iterable[Comparison]) -> str:
    """How the numbers of seeds were estimated; empty where none is shown."""
    if not any(found.seeds for found in shown):
        return ""
    return (
        f"≈ seeds: with so many in all, a two-sided paired t-test at the level of Holm's first step "
        f"({LEVEL}/{len(family)}) would separate two arms, which it does not yet, with {100 * POWER:.0f} % "
        f"power, if the mean difference and its spread over these {family.seeds} seeds were the true ones. They are "
        f"rough for few seeds, and a difference near zero may be none at all. Nothing is said where no spread is "
        f"known or means print alike."
    )


def bold_rule(family: Family, metric: Metric) -> str:
    """What bold marks; empty where there is nothing to compare."""
    if not family.pairs:
        return ""
    if family.seeds == 1:
        return f"Bold: the {metric.best} per sub-model; one seed, so no spread is known and nothing is separated."
    best = f"Bold: the {metric.best} mean per sub-model and every arm that is not separated from it"
    return f"{best}; {family.rule}."


def compare(
    values: Mapping[str, Mapping[str, Mapping[int, float]]], decimals: int = 2, higher_is_better: bool = True
) -> Family:
    """Tests every pair of arms on every row of a table.

    The highest mean of a row is best, or the lowest where lower is better, and so is every arm not separated from it.
    Means that print alike at `decimals` count as equal: whatever the test says of them, they are not separated. With
    one seed nothing can be separated, so only the best are. What is not a number is never best, nor an
    arm that is alone on its row.

    Args:
        values: by row, arm and seed; the same seeds everywhere. An arm may lack a row, and is compared on the others.
            Without any the family is empty, and has no seeds.

    Raises:
        ValueError: an arm lacks a seed that another has.
    """
    seeds = sorted({seed for by_arm in values.values() for by_seed in by_arm.values() for seed in by_seed})
    listed: dict[str, dict[str, list[float]]] = {row: {} for row in values}
    for row, by_arm in values.items():
        for arm, by_seed in by_arm.items():
            if sorted(by_seed) != seeds:
                raise ValueError(f"{arm} on {row} has the seeds {sorted(by_seed)}, another arm {seeds}: leave out some")
            listed[row][arm] = [by_seed[seed] for seed in seeds]
    keys = [(row, *pair) for row, by_arm in listed.items() for pair in combinations(by_arm, 2)]
    test = chosen_test(len(seeds), len(keys))
    pairs = {
        (row, arm, other): paired([a - b for a, b in zip(listed[row][arm], listed[row][other], strict=True)], test)
        for row, arm, other in keys
    }
    means = {row: {arm: mean_and_sd(of)[0] for arm, of in by_arm.items()} for row, by_arm in listed.items()}
    printed = {row: {arm: decimal(mean, decimals) for arm, mean in by_arm.items()} for row, by_arm in means.items()}
    alike = frozenset((row, arm, other) for row, arm, other in keys if printed[row][arm] == printed[row][other])
    adjusted = holm({key: None if key in alike else found.p for key, found in pairs.items()})
    equal = alike if len(seeds) == 1 else {key for key, p in adjusted.items() if p >= LEVEL}
    highest, best = {}, {}
    for row, mean_of in means.items():
        numbers = {arm: mean for arm, mean in mean_of.items() if math.isfinite(mean)}
        best[row] = frozenset[str]()
        if numbers:
            top = highest[row] = (max if higher_is_better else min)(numbers, key=numbers.__getitem__)
            tied = (arm for arm in numbers if {(row, arm, top), (row, top, arm)} & equal)
            best[row] = frozenset({top, *tied} if len(mean_of) > 1 else ())
    return Family(len(seeds), test, pairs, adjusted, alike, highest, best, decimals)
