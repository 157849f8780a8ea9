"""A report on a terminal: the answer, and tables that fit 80 columns.

What a page has room for (how arms were tested, what was published where, what was counted) is left to it. Of more
tables than can be read one after the other the averages make up one.
"""

from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.declaration import Metric
from orchestrator.numerals import decimal
from orchestrator.report.across import TaskTable
from orchestrator.report.statistics import LEVEL
from orchestrator.report.tables import AVERAGE, Cell
from orchestrator.report.tables import Table as Accuracies
from orchestrator.report.writer import Report
from orchestrator.study.levels import SEPARATOR

_WIDTH, _NUMBER, _BETWEEN = 80, 6, 2  # of a terminal, of `+12.34` and of what is around it, in characters
_MOST_ARMS = 6  # as columns
_MOST_TASKS = 8  # beside their average
_MOST_TABLES = 4


def on_terminal(report: Report) -> Iterator[RenderableType]:
    """What is printed of a report, the answer first."""
    yield Text(report.answer.headline, "bold")
    for line in report.answer.details:
        item = Table.grid(padding=(0, 1, 0, 0))
        item.add_row(" -", Text(line))
        yield item
    yield ""
    yield from map(tasks_for_terminal, report.task_tables)
    tables = report.tables
    arms = list(dict.fromkeys(arm for table in tables for arm in table.arms))
    if len(tables) > _MOST_TABLES and len(arms) <= _MOST_ARMS:
        yield averages_for_terminal(tables, arms)
    else:
        yield from map(for_terminal, tables)
    yield Text(_note(report), "dim")


def for_terminal(found: Accuracies) -> Group:
    """A row per arm, so that it fits; beneath it SD, published value and difference to the baseline."""
    rows = found.rows if _has_room(found) else (found.rows[0], *found.rows[-2:])
    shown = _empty("arm", rows)
    for arm in found.arms:
        cells = [found.cells.get((row, arm)) for row in rows]
        shown.add_row(Text(arm), *_means(cells, found.metric))
        if found.seeds > 1:
            shown.add_row("  ± SD", *_spreads(cells, found.metric.text), style="dim")
        if found.compares:
            shown.add_row("  published", *_printed(cells), style="dim")
        if arm in found.against:
            compared = [found.comparisons.get((row, arm)) for row in rows]
            differences = ("–" if each is None else each.difference for each in compared)
            shown.add_row(Text(f"  − {found.against[arm]}"), *differences, style="dim")
            needed = ["" if each is None else each.needed.removesuffix(" seeds") for each in compared]
            if any(needed):
                shown.add_row("  seeds", *needed, style="dim")
    return Group(_title(found.metric, found.seeds, found.title), shown)


def _has_room(found: Accuracies) -> bool:
    """Whether every sub-model has: of long names some of the width, since they are folded."""
    names = min(max(map(len, found.arms)), _WIDTH // 3)
    return names + sum(max(len(row), _NUMBER) + _BETWEEN for row in found.rows) + _BETWEEN <= _WIDTH


def averages_for_terminal(tables: Sequence[Accuracies], arms: Sequence[str]) -> Group:
    """A row per table, a column per arm, of the averages over sub-models."""
    metric, seeds = tables[0].metric, {table.seeds for table in tables}
    shown = _empty("table", [arm.replace(SEPARATOR, "\n") for arm in arms])
    for table in tables:
        cells = [table.cells.get((AVERAGE, arm)) for arm in arms]
        shown.add_row(Text(table.title), *_means(cells, metric))
        if min(seeds) > 1:
            shown.add_row("  ± SD", *_spreads(cells, metric.text), style="dim")
    return Group(_title(metric, min(seeds), "on average over sub-models"), shown)


def tasks_for_terminal(found: TaskTable) -> Group:
    """Per arm a row for every sub-model, so that eight tasks fit; beneath it what `for_terminal` has.

    Of more tasks the average stands alone; they have tables of their own.
    """
    columns = found.columns if len(found.headings) <= _MOST_TASKS else found.columns[-1:]
    shown = _empty("arm", [column.replace(" ", "\n") for column in columns])
    for arm in found.arms:
        shown.add_row(Text(arm))
        for row in found.rows:
            if (row, arm) in found.macs:
                _add_line(shown, found, row, arm, len(columns))
    if updates := [f"{arm} {updates}" for arm, updates in found.updates.items() if updates]:
        shown.caption = Text(f"{found.counted.capitalize()} in epochs: {'; '.join(updates)}.")
        shown.caption_justify = "left"
    return Group(_title(found.metric, found.family.seeds, found.title), shown)


def _add_line(shown: Table, found: TaskTable, row: str, arm: str, columns: int) -> None:
    """The rows of one sub-model of an arm: in the tasks that there are columns for, and on average."""
    cells = found.row_cells(row, arm)[-columns:]
    spread, compared = found.spreads.get((row, arm)), found.comparisons.get((row, arm))
    shown.add_row(f" {row}", *_means(cells, found.metric))
    if any(_spreads(cells, found.metric.text)):
        shown.add_row("  ± SD", *_spreads(cells, found.metric.text), style="dim")
    on_average = [
        ("SD over tasks", "" if spread is None else found.metric.text(spread)),
        (f"− {found.against.get(arm)}", "" if compared is None else compared.difference),
        ("seeds", "" if compared is None else compared.needed.removesuffix(" seeds")),
    ]
    for name, text in on_average:
        if text:
            shown.add_row(Text(f"  {name}"), *[""] * (columns - 1), text, style="dim")
    if found.compares:
        shown.add_row("  published", *_printed(cells), style="dim")


def _title(metric: Metric, seeds: int, what: str) -> Text:
    """`Test accuracy (%), budget 1×: means over 3 seeds`."""
    over = f"means over {seeds} seeds" if seeds > 1 else "one seed" if seeds else "no mean"
    return Text(f"{', '.join(filter(None, [metric.heading, what]))}: {over}")


def _empty(first: str, columns: Sequence[str]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column(first, overflow="fold")
    for column in columns:
        shown.add_column(Text(column), justify="right", no_wrap=True)
    return shown


def _means(cells: Sequence[Cell | None], metric: Metric) -> list[Text | str]:
    return [
        "–" if cell is None else cell.short_text or Text(metric.text(cell.mean), "bold" if cell.best else "")
        for cell in cells
    ]


def _spreads(cells: Sequence[Cell | None], text: Callable[[float], str]) -> list[str]:
    return ["" if cell is None or cell.sd is None else text(cell.sd) for cell in cells]


def _printed(cells: Sequence[Cell | None]) -> list[str]:
    return [
        "–" if not c or c.published is None else f"{decimal(c.published, c.decimals)}{'†' * c.derived}" for c in cells
    ]


def _note(report: Report) -> str:
    """What the tables' marks are, and where the rest is."""
    shown: list[Accuracies | TaskTable] = [*report.task_tables, *report.tables]
    best, several = shown[0].metric.best, any(len(table.arms) > 1 for table in shown)
    bold = f"Bold: the {best} mean, and what is not separated from it (adjusted p < {LEVEL:.2f})."
    if all(table.family.seeds == 1 for table in shown):
        bold = f"Bold: the {best}."
    notes = [bold] if several else []
    if any(comparison.seeds for table in shown for comparison in table.comparisons.values()):
        notes.append("Seeds: about so many in all would separate an arm from its baseline.")
    if any(table.compares for table in shown):
        notes.append("Published: †, derived.")
    notes.append("Budgets, tests, published sources and the ledger are on the page and in table.md beside it.")
    return " ".join(notes)
