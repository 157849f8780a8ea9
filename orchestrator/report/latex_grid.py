"""A table of a paper as LaTeX sets it: columns under spanning heads, numbers with their SDs, a float with a caption."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from orchestrator.numerals import decimal
from orchestrator.report.escaping import for_latex
from orchestrator.report.tables import Cell

NOTHING = "--"
_NEW_LINE = r"\\"
_LONG = 7  # characters of a head


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
    def lines(self) -> list[str]:
        """Its own head: on two lines where it is long and has words, as alike in length as they can be."""
        words = self.head[-1].split(" ")
        if len(words) < 2 or len(self.head[-1]) <= _LONG:
            return [for_latex(self.head[-1])]
        halves = [[" ".join(words[:cut]), " ".join(words[cut:])] for cut in range(1, len(words))]
        return list(map(for_latex, min(halves, key=lambda pair: max(map(len, pair)))))

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
        mean = for_latex(decimal(cell.mean, cell.decimals))
        mean = rf"\textbf{{{mean}}}" if cell.best else mean
        if not self.spread:
            return mean
        return f"{mean} & " + ("" if cell.sd is None else rf"{{\scriptsize\,$\pm$\,{decimal(cell.sd, cell.decimals)}}}")

    def beneath(self, cell: Cell | None) -> str:
        """The SD of a cell, for a row beneath that of the means."""
        if cell is None or cell.diverged or cell.sd is None:
            return ""
        return rf"{{\scriptsize$\pm$\,{decimal(cell.sd, cell.decimals)}}}"

    def published(self, cell: Cell | None) -> str:
        """What was printed elsewhere in the place of a cell."""
        if cell is None or cell.published is None:
            return self.text("")
        text = rf"\emph{{{for_latex(decimal(cell.published, cell.decimals))}}}"
        return f"{text}{' & ' * self.spread}" + r"$^\dagger$" * cell.derived


@dataclass(frozen=True)
class Grid:
    """A table's columns and rows; a row is one text per column, an empty one a space between groups of rows."""

    columns: Sequence[Column]
    caption: str
    title: str
    rows: list[list[str]] = field(default_factory=list)

    def width(self, size: "Size | None" = None) -> float:
        """About how wide it is set, in points: of the characters, since only TeX knows their widths."""
        size = size or _SIZES[0]
        total = 0.0
        for place, column in enumerate(self.columns):
            widest, whole = [0.0, 0.0], max(map(size.points, column.lines))
            for row in filter(None, self.rows):
                parts = row[place].split(" & ")
                if len(parts) == column.width:
                    widest[: len(parts)] = map(max, widest, map(size.points, parts))
                else:
                    whole = max(whole, size.points(row[place]))
            total += max(sum(widest), whole) + 2 * size.between
        return total

    @property
    def fits(self) -> bool:
        """Whether the text of a paper is wide enough for it, in the smaller size if need be."""
        return self.width(_SIZES[-1]) <= _TEXT


@dataclass(frozen=True)
class Size:
    """A size of type, and half the space between columns.

    Attributes:
        command: of LaTeX's, in a document of 10 points.
        character: about how wide one is, in points; in bold an eighth more. What is small in a table has one size.
        between: in points.
    """

    command: str
    character: float
    between: float

    def points(self, text: str) -> float:
        """About how wide a text is set."""
        small, bold = r"\scriptsize" in text, r"\textbf" in text
        shown = _COMMAND.sub(lambda found: "" if found[1] else "x", text).translate(_UNSEEN)
        return len(shown) * (_SMALL if small else self.character) * (1.125 if bold else 1)


_SMALL = 3.3  # points
_SIZES = (Size(r"\small", 4.6, 4), Size(r"\footnotesize", 4.2, 2))
_COLUMN, _TEXT = 234.0, 397.0  # points: a column of ICML's two, and the text of NeurIPS and ICLR
_COMMAND = re.compile(r"(\\multicolumn\{\d+\}\{c\}|\\(?:textbf|emph|scriptsize)\b|\\(?=[%&$#_{}]))|\\[a-zA-Z]+|\\,")
_UNSEEN = str.maketrans("", "", "{}$^")


def as_float(grid: Grid, label: str) -> list[str]:
    """The lines of a `table`; over both columns of a paper that has two, where one is too narrow.

    A class with one column takes a `table*` as a `table`.
    """
    size = next((each for each in _SIZES if grid.width(each) <= _TEXT), _SIZES[-1])
    kind = "table*" if grid.width(size) > _COLUMN else "table"
    caption = _RELATION.sub(r"~\1~", for_latex(grid.caption))
    return [
        rf"\begin{{{kind}}}[t]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        r"\medskip",
        rf"{size.command}\setlength{{\tabcolsep}}{{{size.between:g}pt}}",
        rf"\begin{{tabular}}{{{''.join(column.template for column in grid.columns)}}}",
        r"\toprule",
        *_heads(grid.columns),
        r"\midrule",
        *(rf"{' & '.join(row)} \\" if row else r"\addlinespace" for row in grid.rows),
        r"\bottomrule",
        r"\end{tabular}",
        rf"\end{{{kind}}}",
    ]


_RELATION = re.compile(r" (=|\$<\$) (?=\d)")  # n = 4 is not broken between lines


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
            group_of = list(group)
            width = sum(columns[each].width for each in group_of)
            text = _own(columns[group_of[0]]) if last else for_latex(head[-1])
            texts.append(rf"\multicolumn{{{width}}}{{c}}{{{text}}}" if width > 1 else text)
            if text and not last:
                rules.append(rf"\cmidrule(lr){{{place}-{place + width - 1}}}")
            place += width
        lines += [" & ".join(texts) + r" \\", *(["".join(rules)] if rules else [])]
    return lines


def _own(column: Column) -> str:
    """The head of one column."""
    align = "l" if column.align == "l" else "c" if column.spread else "r"
    lines = column.lines
    return lines[0] if len(lines) == 1 else rf"\shortstack[{align}]{{{_NEW_LINE.join(lines)}}}"


def _span(place: int, head: tuple[str, ...], level: int, last: bool) -> tuple[int, tuple[str, ...]]:
    """What neighbours share that stand under one head: nothing on the last line."""
    return (place if last else -1), head[: level + 1]
