"""The arms on one row of a table, the best first, with what the table's own tests say of them.

What a report says in words it says of rankings, and a ranking asks the table which arms are separated: words and bold
are one rule, and there is no second statistics that could find more.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.declaration import Metric
from orchestrator.report.across import TaskTable
from orchestrator.report.comparisons import Comparison, Family
from orchestrator.report.statistics import LEVEL
from orchestrator.report.tables import AVERAGE, Cell, Table
from orchestrator.study.levels import SEPARATOR


@dataclass(frozen=True)
class Ranking:
    """The arms of one row.

    Attributes:
        where: what tells the row from others that are ranked, `("budget 1×", "w050")`; empty of the only one.
        what: is ranked, `average test accuracy over 4 sub-models`.
        cells: of the arms that have a mean, the best first.
        without: the arms that have none, and what stands in its place.
        against: the baseline of every arm that has one.
        family: the tests of the table.
    """

    where: tuple[str, ...]
    what: str
    row: str
    metric: Metric
    cells: Mapping[str, Cell]
    without: Mapping[str, str]
    against: Mapping[str, str]
    family: Family

    @classmethod
    def of_average(cls, table: Table, shared: tuple[str, ...]) -> "Ranking":
        """Of the averages over the sub-models that every arm of a table has.

        Args:
            shared: these sub-models.
        """
        title = table.metric.title
        what = f"{title} of {shared[0]}" if len(shared) == 1 else f"average {title} over {len(shared)} sub-models"
        return cls._of(table, AVERAGE, tuple(filter(None, table.title.split(SEPARATOR))), what)

    @classmethod
    def of_tasks(cls, table: TaskTable, row: str) -> "Ranking":
        """Of one sub-model's averages over tasks."""
        facets = tuple(table.title.split(SEPARATOR)[:-1])  # the last says `by task`
        tasks, title = len(table.headings), table.metric.title
        what = (
            f"average {title} over {tasks} tasks" if tasks > 1 else f"{title} on {next(iter(table.headings.values()))}"
        )
        return cls._of(table, row, (*facets, row), what)

    @classmethod
    def _of(cls, table: Table | TaskTable, row: str, where: tuple[str, ...], what: str) -> "Ranking":
        cells = {arm: table.cells[row, arm] for arm in table.arms if (row, arm) in table.cells}
        known = [arm for arm, cell in cells.items() if math.isfinite(cell.mean)]
        known.sort(key=lambda arm: table.metric.gain(cells[arm].mean), reverse=True)
        return cls(
            where=where,
            what=what,
            row=row,
            metric=table.metric,
            cells={arm: cells[arm] for arm in known},
            without={arm: cell.short_text or "no number" for arm, cell in cells.items() if arm not in known},
            against=table.against,
            family=table.family,
        )

    @property
    def place(self) -> str:
        """`budget 1× · w050`; empty of the only one."""
        return SEPARATOR.join(self.where)

    @property
    def seeds(self) -> int:
        """That every arm has."""
        return self.family.seeds

    @property
    def leader(self) -> str | None:
        """The arm of the best mean; None where no arm has one."""
        return next(iter(self.cells), None)

    @property
    def others(self) -> tuple[str, ...]:
        """The arms with a mean beside the leader, the best first."""
        return tuple(self.cells)[1:]

    @property
    def printed(self) -> list[tuple[str, tuple[str, ...]]]:
        """The means as they print with their unit, the best first, and the arms that have each, by name."""
        found: dict[str, list[str]] = {}
        for arm in self.cells:
            found.setdefault(self.mean(arm), []).append(arm)
        return [(mean, tuple(sorted(arms))) for mean, arms in found.items()]

    @property
    def first(self) -> tuple[str, ...]:
        """The leader, and the arms whose means print as its own does; no words may put one before another."""
        return self.printed[0][1] if self.cells else ()

    @property
    def level(self) -> tuple[str, ...]:
        """Those of them that are not separated from the leader: the table has them in bold or, of one seed, all."""
        if self.seeds < 2:
            return self.others
        return tuple(arm for arm in self.others if arm in self.family.best[self.row])

    @property
    def behind(self) -> tuple[str, ...]:
        """Those of them that are separated from the leader."""
        return tuple(arm for arm in self.others if arm not in self.level)

    @property
    def decided(self) -> bool:
        """Whether the leader is separated from every other arm."""
        return bool(self.others) and not self.level

    @property
    def undecided(self) -> bool:
        """Whether no arm of the row is separated from any other."""
        return not any(p < LEVEL for (row, _, _), p in self.family.adjusted.items() if row == self.row)

    def alike(self, arm: str, other: str) -> bool:
        """Whether two means print alike."""
        return self.mean(arm) == self.mean(other)

    def lead(self, arm: str, of: str | None = None) -> Comparison:
        """How far an arm is behind the leader, or behind `of`: above zero if it is, whichever way is better."""
        first = of or next(iter(self.cells))
        one, other = (first, arm) if self.metric.higher_is_better else (arm, first)
        return self.family.between(self.row, one, other)

    def by_points(self, value: float) -> str:
        """`0.83 points`, whichever way; `less than 0.01 points` of what would print as none."""
        unit = "points" if self.metric.unit == "%" else self.metric.unit
        text = self.metric.text(abs(value))
        least = 10**-self.metric.decimals
        return f"{text if float(text) or not value else f'less than {self.metric.text(least)}'} {unit}".rstrip()

    def mean(self, arm: str) -> str:
        """`47.63 %`."""
        return self.metric.with_unit(self.cells[arm].mean)

    @property
    def fewest_seeds(self) -> tuple[str, float] | None:
        """Of the arms level with the leader the one that the fewest seeds would separate from it, and how many; None
        where that is not known of any, infinite beyond what is reckoned."""
        known = [(seeds, arm) for arm in self.level if (seeds := self.lead(arm).seeds) is not None]
        if not known:
            return None
        seeds, arm = min(known, key=lambda each: each[0])
        return arm, seeds
