r"""Tables for a paper: a file that is `\input`, and a document around it that shows how it looks.

`booktabs` is all that the file needs. A mean is right-aligned in a column of its own and its SD left-aligned in the
next, so that points stand beneath each other without siunitx, which a minimal TeX lacks. Arms are columns under a
spanning head for each level of the first factors; where they are many, they are rows, as in Markdown.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

from orchestrator.report.across import SPREAD, TaskTable
from orchestrator.report.escaping import declared_for_pdftex, for_latex
from orchestrator.report.latex_grid import NOTHING, Column, Grid, as_float
from orchestrator.report.latex_parts import USUAL
from orchestrator.report.rendering import MOST_COLUMNS, scaled
from orchestrator.report.tables import AVERAGE, Cell, Table
from orchestrator.report.words import capital, percentage
from orchestrator.study.levels import SEPARATOR


def as_latex(
    tables: Sequence[Table],
    task_tables: Sequence[TaskTable] = (),
    parts: Collection[str] = USUAL,
    name: str = "table",
) -> str:
    r"""A `table` for each, to be `\input` into a paper.

    Args:
        parts: some of `latex_parts.PARTS`.
        name: of the study, from which labels are made: `tab:NAME`, `tab:NAME-TITLE`.
    """
    grids = [*(_of_tasks(table, parts) for table in task_tables), *(_of_arms(table, parts) for table in tables)]
    taken: list[str] = []
    floats: list[str] = []
    for grid in grids:
        label = _label(name, grid.title if len(grids) > 1 else "", taken)
        taken.append(label)
        floats += as_float(grid, label)
    head = [r"% \input this file where booktabs is loaded: \usepackage{booktabs}."]
    if declared := declared_for_pdftex(floats):
        head += ["% For pdfLaTeX the document's head needs these lines, since it lacks the characters:"]
        head += [f"% {line}" for line in declared]
    return "\n".join([*head, *floats]) + "\n"


def as_preview(latex: str, file: str) -> str:
    r"""A document around a file of tables, for pdfLaTeX, LuaLaTeX and XeLaTeX.

    pdfLaTeX shows the codes of characters that it lacks, the others the characters.

    Args:
        latex: what is in the file.
        file: its name, which is `\input`.
    """
    lines = [
        r"\documentclass{article}",
        r"\usepackage{iftex}",
        r"\ifPDFTeX",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage[utf8]{inputenc}",
        *declared_for_pdftex([latex]),
        r"\else",
        r"\usepackage{fontspec}",
        r"\fi",
        r"\usepackage{booktabs}",
        r"\usepackage[a4paper,landscape,margin=1.5cm]{geometry}",
        r"\begin{document}",
        rf"\input{{{file}}}",
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"


def _of_arms(table: Table, parts: Collection[str]) -> Grid:
    """Sub-models down and arms across, or the other way round where arms are many."""
    across, down = _arms_across(table, parts), _arms_down(table, parts)
    if len(table.arms) > MOST_COLUMNS or not across.fits:
        return down if len(table.arms) > MOST_COLUMNS or down.width() < across.width() else across
    return across


def _arms_across(table: Table, parts: Collection[str]) -> Grid:
    arms = [Column(_levels(arm), spread=_has_spread(table.cells.values())) for arm in table.arms]
    costs = _cost_heads(table) if "macs" in parts else []
    ahead = costs if table.one_network else []  # else every arm has its own, beneath its numbers
    columns = [Column(("sub-model",), "l"), *(Column((head,)) for head in ahead), *arms]
    grid = Grid(columns, _caption(table), table.title)
    for row in table.rows:
        cells = [table.cells.get((row, arm)) for arm in table.arms]
        has = next(arm for arm, cell in zip(table.arms, cells, strict=True) if cell is not None)
        if row == AVERAGE and len(table.rows) > 2:
            grid.rows.append([])
        numbers = [column.number(cell) for column, cell in zip(arms, cells, strict=True)]
        grid.rows.append([for_latex(row), *(_cost(table, head, row, has) for head in ahead), *numbers])
        for head in costs if not ahead and row != AVERAGE else ():
            takes = [column.text(_cost(table, head, row, arm)) for column, arm in zip(arms, table.arms, strict=True)]
            grid.rows.append([rf"\emph{{{head}}}", *takes])
        grid.rows.extend(_published(parts, [""] * len(ahead), arms, cells))
    if "sortedness" in parts:
        grid.rows.append([])
        order = (_order(table, arm) for arm in table.arms)
        for head, found in zip(_ORDER, zip(*order, strict=True), strict=True):
            texts = [column.text(text) for column, text in zip(arms, found, strict=True)]
            grid.rows.append([for_latex(head), *[""] * len(ahead), *texts])
    return grid


def _arms_down(table: Table, parts: Collection[str]) -> Grid:
    depth = max(len(_levels(arm)) for arm in table.arms)
    names = [Column(("arm" if place == 0 else "",), "l") for place in range(depth)]
    numbers = [Column((row,), spread=_has_spread(table.cells.values())) for row in table.rows]
    behind = [Column((head,)) for head in _ORDER] if "sortedness" in parts else []
    grid = Grid([*names, *numbers, *behind], _caption(table), table.title)
    if "macs" in parts and table.one_network:
        has = {row: next(arm for arm in table.arms if (row, arm) in table.cells) for row in table.rows}
        for head in _cost_heads(table):
            takes = [_cost(table, head, row, has[row]) if row != AVERAGE else "" for row in table.rows]
            texts = [column.text(text) for column, text in zip(numbers, takes, strict=True)]
            grid.rows.append([rf"\emph{{{head}}}", *[""] * (depth - 1), *texts, *[""] * len(behind)])
        grid.rows.append([])
    before: tuple[str, ...] = ()
    for arm in table.arms:
        levels = _levels(arm) + ("",) * (depth - len(_levels(arm)))
        grid.rows.extend([[]] * (depth > 1 and bool(before) and levels[0] != before[0]))
        shown = ["" if levels[: place + 1] == before[: place + 1] else levels[place] for place in range(depth - 1)]
        cells = [table.cells.get((row, arm)) for row in table.rows]
        texts = [column.number(cell) for column, cell in zip(numbers, cells, strict=True)]
        order = _order(table, arm) if behind else ()
        grid.rows.append([*map(for_latex, (*shown, levels[-1])), *texts, *order])
        grid.rows.extend(_published(parts, [""] * (depth - 1), numbers, cells, [""] * len(behind)))
        before = levels
    return grid


_ORDER = "sorted (%)", "shortfall"


def _order(table: Table, arm: str) -> tuple[str, str]:
    """How many of an arm's nested pairs are sorted, and by how much the others fall short; already TeX."""
    if (found := table.sortedness.get(arm)) is None:
        return (NOTHING, NOTHING)
    return for_latex(percentage(found.share).removesuffix(" %")), table.metric.text(found.shortfall)


def _of_tasks(table: TaskTable, parts: Collection[str]) -> Grid:
    """Where it is too wide, arms' updates are told in the caption, and where it still is, SDs stand beneath means."""
    made = [_tasks_across(table, parts, told, beneath) for told, beneath in _FORMS]
    return next((grid for grid in made if grid.fits), made[-1])


_FORMS = (False, False), (True, False), (True, True)


def _tasks_across(table: TaskTable, parts: Collection[str], told: bool, beneath: bool) -> Grid:
    """A row per arm and sub-model, a column per task.

    Args:
        told: the updates, in the caption instead of a column.
        beneath: a row more for the SDs.
    """
    updates = [f"{arm} {counts}" for arm, counts in table.updates.items() if counts] if "macs" in parts else []
    known = {
        f"{table.counted} in epochs": bool(updates) and not told,
        "MACs": any(table.macs.values()),
        "FLOPs": any(table.flops.values()),
    }
    costs = [head for head, there in known.items() if there and "macs" in parts]
    spread = _has_spread([*table.task_cells.values(), *table.cells.values()])
    numbers = [Column((heading,), spread=spread and not beneath) for heading in table.columns]
    over_tasks = any(each is not None for each in table.spreads.values())
    columns = [Column(("arm",), "l"), Column(("sub-model",), "l"), *(Column((head,)) for head in costs), *numbers]
    said = f" {capital(table.counted)} in epochs of {'; '.join(updates)}." if updates and told else ""
    grid = Grid([*columns, *[Column((SPREAD,))] * over_tasks], _caption(table) + said, table.title)
    before = ""
    for row, arm in table.lines:
        takes = {
            f"{table.counted} in epochs": table.updates[arm],
            "MACs": scaled(table.macs[row, arm]),
            "FLOPs": scaled(table.flops.get((row, arm))),
        }
        cells = table.row_cells(row, arm)
        texts = [column.number(cell) for column, cell in zip(numbers, cells, strict=True)]
        each = table.spreads.get((row, arm))
        last = [NOTHING if each is None else table.metric.text(each)] * over_tasks
        grid.rows.extend([[]] * (before not in ("", arm)))
        name = "" if arm == before else for_latex(arm)
        grid.rows.append([name, for_latex(row), *(_nothing(takes[head]) for head in costs), *texts, *last])
        if spread and beneath:
            apart = [column.beneath(cell) for column, cell in zip(numbers, cells, strict=True)]
            grid.rows.append(["", *[""] * (1 + len(costs)), *apart, *[""] * over_tasks])
        for printed in _published(parts, [""] * len(costs), numbers, cells, [""] * over_tasks):
            grid.rows.append(["", *printed])
        before = arm
    return grid


def _published(
    parts: Collection[str],
    before: Sequence[str],
    columns: Sequence[Column],
    cells: Sequence[Cell | None],
    after: Sequence[str] = (),
) -> list[list[str]]:
    """The row of what was printed elsewhere of these cells, between other columns' texts; none if nothing was."""
    if "published" not in parts or not any(cell and cell.published is not None for cell in cells):
        return []
    printed = [column.published(cell) for column, cell in zip(columns, cells, strict=True)]
    return [[r"\emph{published}", *before, *printed, *after]]


def _cost_heads(table: Table) -> list[str]:
    """What is counted of sub-models; what was measured of them depends on the machine."""
    return ["MACs", *["FLOPs"] * bool(table.flops)]


def _cost(table: Table, head: str, row: str, arm: str) -> str:
    """What a sub-model takes in an arm's network; nothing of the average."""
    counts = table.macs if head == "MACs" else table.flops
    return "" if row == AVERAGE else scaled(counts.get((row, arm))) or NOTHING


def _levels(arm: str) -> tuple[str, ...]:
    return tuple(arm.split(SEPARATOR))


def _has_spread(cells: Iterable[Cell]) -> bool:
    return any(cell.sd is not None and not cell.diverged for cell in cells)


def _caption(table: Table | TaskTable) -> str:
    return f"{capital(table.title)}. {table.caption}" if table.title else table.caption


def _nothing(text: str) -> str:
    return for_latex(text) or NOTHING


def _label(name: str, title: str, taken: Collection[str]) -> str:
    """In ASCII, and none that is taken."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    label = "-".join(filter(None, [f"tab:{name}", re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")]))
    others = sum(other == label or other.startswith(f"{label}--") for other in taken)
    return f"{label}--{others + 1}" if others else label
