"""A table of a paper as LaTeX sets it: columns under spanning heads, numbers with their SDs, a float with a caption."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from orchestrator.report.escaping import for_latex
from orchestrator.report.tables import Cell

NOTHING = "--"


@dataclass(frozen=True)
class Column:
    """A column as a reader sees it.

    Attributes:
        head: from the widest spanning head to its own; equal neighbours under equal ones are one.
        align: of texts, `l` or `r`.
        spread: whether its numbers have an SD, which is a column of TeX's of its own.
    """

    head: tuple[str, ...]
    align: str = "r"
    spread: bool = False

    @property
    def width(self) -> int:
        """In columns of TeX's."""
        return 1 + self.spread

    @property
    def template(self) -> str:
        """As `tabular` has it."""
        return "r@{}l" if self.spread else self.align

    def text(self, text: str) -> str:
        """A text in the place of a number; already TeX."""
        return rf"\multicolumn{{2}}{{c}}{{{text}}}" if self.spread and text else text + " &" * self.spread

    def number(self, cell: Cell | None) -> str:
        """Mean and SD of a cell."""
        if cell is None or cell.diverged:
            return self.text(NOTHING if cell is None else for_latex(cell.text))
        mean = _signed(f"{cell.mean:z.{cell.decimals}f}")
        mean = rf"\textbf{{{mean}}}" if cell.best else mean
        if not self.spread:
            return mean
        return f"{mean} & " + ("" if cell.sd is None else rf"{{\scriptsize\,$\pm$\,{cell.sd:.{cell.decimals}f}}}")

    def published(self, cell: Cell | None) -> str:
        """What was printed elsewhere in the place of a cell."""
        if cell is None or cell.published is None:
            return self.text("")
        text = rf"\emph{{{_signed(f'{cell.published:z.{cell.decimals}f}')}}}"
        return f"{text}{' & ' * self.spread}" + r"$^\dagger$" * cell.derived


@dataclass(frozen=True)
class Grid:
    """A table's columns and rows; a row is one text per column, an empty one a space between groups of rows."""

    columns: Sequence[Column]
    caption: str
    title: str
    rows: list[list[str]] = field(default_factory=list)


def as_float(grid: Grid, label: str) -> list[str]:
    """The lines of a `table`."""
    return [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{for_latex(grid.caption)}}}",
        rf"\label{{{label}}}",
        r"\medskip",
        r"\small\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{{''.join(column.template for column in grid.columns)}}}",
        r"\toprule",
        *_heads(grid.columns),
        r"\midrule",
        *(rf"{' & '.join(row)} \\" if row else r"\addlinespace" for row in grid.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _heads(columns: Sequence[Column]) -> list[str]:
    """A line for every level of the heads, with rules beneath those that span columns."""
    depth = max(len(column.head) for column in columns)
    padded = [("",) * (depth - len(column.head)) + column.head for column in columns]
    lines = []
    for level in range(depth):
        last = level == depth - 1
        texts, rules, place = [], [], 1
        spans = [_span(place, head, level, last) for place, head in enumerate(padded)]
        for (_, head), group in groupby(range(len(columns)), spans.__getitem__):
            width = sum(columns[each].width for each in group)
            text = for_latex(head[-1])
            texts.append(rf"\multicolumn{{{width}}}{{c}}{{{text}}}" if width > 1 else text)
            if text and not last:
                rules.append(rf"\cmidrule(lr){{{place}-{place + width - 1}}}")
            place += width
        lines += [" & ".join(texts) + r" \\", *(["".join(rules)] if rules else [])]
    return lines


def _span(place: int, head: tuple[str, ...], level: int, last: bool) -> tuple[int, tuple[str, ...]]:
    """What neighbours share that stand under one head: nothing on the last line."""
    return (place if last else -1), head[: level + 1]


def _signed(number: str) -> str:
    """A number with a proper minus."""
    return f"$-${number.removeprefix('-')}" if number.startswith("-") else number
