"""A table as the page shows it: one number in a cell, heads that say what they are heads of, and a caption.

The grids of `orchestrator.report.rendering` are for Markdown, where a cell is a text and no more. On a page a number
stands alone, so that it lines up with those above and below it, and a screen reader says which row and column it is
of.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress

from orchestrator.declaration import Metric
from orchestrator.numerals import signed
from orchestrator.report.tables import Cell

NOTHING = "–"


@dataclass(frozen=True)
class Entry:
    """One place of a table.

    Attributes:
        text: a number, or words.
        spread: the SD that belongs to the number; empty without.
        mark: what a note is said of by; empty without.
        words: whether the text is no number, so that it lines up with none.
        best: whether it stands out.
    """

    text: str
    spread: str = ""
    mark: str = ""
    words: bool = False
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A row: its head and its entries.

    Attributes:
        lesser: whether it only stands beside the row above it.
    """

    head: str
    entries: tuple[Entry, ...]
    lesser: bool = False


@dataclass(frozen=True)
class Group:
    """Rows that belong together, under a head of their own; nameless where there is but one group."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        caption: what it shows, in a line.
        corner: what the heads of the rows are.
        columns: their heads.
        texts: whether its entries are texts of any length, not numbers.
    """

    caption: str
    corner: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    texts: bool = False

    @property
    def rows(self) -> list[Row]:
        """Those of all groups."""
        return [row for group in self.groups for row in group.rows]

    @property
    def spread_width(self) -> int:
        """Characters of the widest spread: all take as many, so that the numbers before them line up."""
        return max((len(entry.spread) for row in self.rows for entry in row.entries), default=0)

    @property
    def tails(self) -> list[bool]:
        """By column, whether something stands behind one of its numbers."""
        return [
            any(row.entries[place].spread or row.entries[place].mark for row in self.rows)
            for place in range(len(self.columns))
        ]

    def turned(self, corner: str) -> "Sheet":
        """Rows as columns; of a table of one group."""
        (group,) = self.groups
        rows = tuple(
            Row(head, tuple(row.entries[place] for row in group.rows)) for place, head in enumerate(self.columns)
        )
        return Sheet(self.caption, corner, tuple(row.head for row in group.rows), (Group("", rows),))

    @property
    def without_empty_columns(self) -> "Sheet":
        """Less the columns in which no row has anything."""
        kept = [any(row.entries[place].text != NOTHING for row in self.rows) for place in range(len(self.columns))]
        groups = (
            replace(group, rows=tuple(replace(row, entries=tuple(compress(row.entries, kept))) for row in group.rows))
            for group in self.groups
        )
        return replace(self, columns=tuple(compress(self.columns, kept)), groups=tuple(groups))


def number(text: str) -> Entry:
    """A number; nothing where there is none."""
    return Entry(text) if text else nothing()


def words(text: str) -> Entry:
    """What is no number."""
    return Entry(text, words=True)


def nothing() -> Entry:
    """The place of a number that is not there."""
    return Entry(NOTHING, words=True)


def blank() -> Entry:
    """The place of what a row has no need of."""
    return Entry("", words=True)


def measured(cell: Cell | None, metric: Metric) -> Entry:
    """A mean with its SD; or in words why there is none."""
    if cell is None:
        return nothing()
    if cell.diverged:
        return words(cell.text)
    if not math.isfinite(cell.mean):
        return words("no number")
    spread = "" if cell.sd is None else metric.text(cell.sd)
    return replace(number(metric.text(cell.mean)), spread=spread, best=cell.best)


def published(cells: Iterable[Cell | None], metric: Metric) -> list[Row]:
    """Beneath a row of cells: what was published of them, and ours minus that; no row where nothing was."""
    printed, apart = [], []
    for cell in cells:
        if cell is None or cell.published is None:
            printed.append(nothing())
            apart.append(nothing())
        else:
            printed.append(replace(number(metric.text(cell.published)), mark="†" * cell.derived))
            apart.append(nothing() if cell.diverged else number(signed(cell.mean - cell.published, metric.decimals)))
    if all(entry.text == NOTHING for entry in printed):
        return []
    return [Row("published", tuple(printed), lesser=True), Row("ours − published", tuple(apart), lesser=True)]


def scaled(counts: Sequence[int | None]) -> tuple[str, list[Entry]]:
    """Counts in one unit, that of the largest: what to write behind their head, and a number each."""
    largest = max((count for count in counts if count is not None), default=0)
    unit, size, decimals = (" (G)", 1e9, 3) if largest >= 1e10 else (" (M)", 1e6, 3) if largest >= 1e4 else ("", 1, 0)
    return unit, [nothing() if count is None else number(f"{count / size:,.{decimals}f}") for count in counts]
