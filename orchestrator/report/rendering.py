"""A table as a reader sees it: as a grid of texts, and in Markdown."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import compress

from orchestrator.declaration import Metric
from orchestrator.numerals import decimal
from orchestrator.report.across import SPREAD, TaskTable
from orchestrator.report.answer import Answer
from orchestrator.report.escaping import for_markdown, paragraph_for_markdown
from orchestrator.report.tables import Cell, Table

COSTS_CAPTION = "The arms' networks differ. Multiply-accumulates of every sub-model for one example, by arm:"
_PUBLISHED = "Published, and ours minus published:"
_NOTHING = "–"
MOST_COLUMNS = 7  # arms; more are rows

Tested = Table | TaskTable
"""A table whose arms are tested against each other."""


@dataclass(frozen=True)
class Shown:
    """One place of a table as a reader sees it: a text, whether it is marked, and a smaller text beneath."""

    text: str
    best: bool = False
    beneath: str = ""


Grid = list[list[Shown]]
"""Rows of a table, the head first. The first of each row is its name."""


def accuracies(table: Table) -> Grid:
    """The accuracies and, behind them, costs; arms are rows where they are many."""
    heads = _cost_heads(table) if table.one_network else []
    grid = [_plain("sub-model", *table.arms, *heads)]
    for row in table.rows:
        first = next((row, arm) for arm in table.arms if (row, arm) in table.cells)
        cost = _cost(table, first) if heads else []
        shown = (_shown(table.cells.get((row, arm))) for arm in table.arms)
        grid.append([*_plain(row), *shown, *_plain(*cost)])
    grid.append(_plain("sorted pairs (shortfall)", *(table.sorted[arm] for arm in table.arms), *[""] * len(heads)))
    return _turned(table, grid)


def scores(table: TaskTable) -> Grid:
    """The values in every task, their averages and, behind them, costs; a row per arm and sub-model."""
    known = any(table.updates.values()), any(table.macs.values()), any(table.flops.values())
    heads = compress([f"{table.counted} in epochs", "MACs", "FLOPs"], known)
    spread_known = any(spread is not None for spread in table.spreads.values())  # not of one task
    grid = [_plain("arm", "sub-model", *table.columns, *[SPREAD] * spread_known, *heads)]
    for row, arm in table.lines:
        costs = scaled(table.macs[row, arm]), scaled(table.flops.get((row, arm)))
        takes = compress([table.updates[arm], *costs], known)
        spread = table.spreads.get((row, arm))
        grid.append(
            [
                *_plain(arm, row),
                *(_shown(cell) for cell in table.row_cells(row, arm)),
                *_plain(*[_NOTHING if spread is None else table.metric.text(spread)] * spread_known),
                *_plain(*(text or _NOTHING for text in takes)),
            ]
        )
    return grid


def _shown(cell: Cell | None) -> Shown:
    if cell is None:
        return Shown(_NOTHING)
    return Shown(cell.text, cell.best, "" if cell.published is None else cell.published_text)


def costs(table: Table) -> Grid:
    """What every sub-model takes in each arm's network; empty where all arms have one network."""
    if table.one_network:
        return []
    grid = [_plain(", ".join(_cost_heads(table)), *table.arms)]
    for row in table.rows[:-1]:
        cells = (_cost(table, (row, arm)) for arm in table.arms)
        grid.append(_plain(row, *(", ".join(filter(None, cell)) or _NOTHING for cell in cells)))
    return _turned(table, grid)


def differences(table: Tested) -> Grid:
    """The comparisons with the baselines; empty without."""
    if not table.comparisons:
        return []
    differing = [arm for arm in table.arms if arm in table.against]
    grid = [_plain("difference", *(f"{arm} − {table.against[arm]}" for arm in differing))]
    grid += [_plain(row, *(_difference(table, row, arm) for arm in differing)) for row in table.rows]
    return _turned(table, grid)


def behind_caption(metric: Metric) -> str:
    """What `behind` shows."""
    return f"Differences to the {metric.best} mean of the row, with the adjusted p that bold is decided by."


def _difference(table: Tested, row: str, arm: str) -> str:
    return table.comparisons[row, arm].text if (row, arm) in table.comparisons else _NOTHING


def behind(table: Tested) -> Grid:
    """How far every arm is behind the best of its row; empty where the differences show who is not separated."""
    if not table.crowded:
        return []
    grid = [_plain(f"behind the {table.metric.best}", *table.arms)]
    grid += [_plain(row, *(_behind(table, row, arm) for arm in table.arms)) for row in table.rows]
    return _turned(table, grid)


def _behind(table: Tested, row: str, arm: str) -> str:
    if (row, arm) not in table.cells:
        return _NOTHING
    if table.cells[row, arm].diverged:
        return table.cells[row, arm].text
    return table.behind[row, arm].short_text if (row, arm) in table.behind else table.metric.best


def ledger(table: Table) -> Grid:
    """What was counted of every sub-model, and totals, means over seeds."""
    grid = [_plain(table.counted, *table.arms)]
    for row in table.rows[:-1] if table.counted else ():
        counts = (table.updates.get((row, arm)) for arm in table.arms)
        texts = (_NOTHING if count is None else f"{count:,.0f}" for count in counts)
        grid.append(_plain(row, *_unless_diverged(table, texts)))
    for total in table.ledger:
        texts = (total.text(table.totals[arm][total.name]) for arm in table.arms)
        grid.append(_plain(total.title, *_unless_diverged(table, texts)))
    return _turned(table, grid)


def _unless_diverged(table: Table, texts: Iterable[str]) -> Iterator[str]:
    """A text per arm, if it has a mean."""
    return (table.diverged.get(arm, text) for arm, text in zip(table.arms, texts, strict=True))


def ledger_caption(table: Table) -> str:
    """What `ledger` shows."""
    what = f"{table.counted.capitalize()} per sub-model, and totals" if table.counted else "Totals"
    return f"{what} (means over seeds):"


def _plain(*texts: str) -> list[Shown]:
    return [Shown(text) for text in texts]


def _turned(table: Tested, grid: Grid) -> Grid:
    if len(table.arms) <= MOST_COLUMNS:
        return grid
    return [list(column) for column in zip(*grid, strict=True)]


def _cost_heads(table: Table) -> list[str]:
    """What is known of the sub-models' cost."""
    return ["MACs", *["FLOPs"] * bool(table.flops), *["ms"] * bool(table.milliseconds)]


def _cost(table: Table, where: tuple[str, str]) -> list[str]:
    """A text for each of the heads."""
    found = [scaled(table.macs.get(where))]
    if table.flops:
        found.append(scaled(table.flops.get(where)))
    if table.milliseconds:
        found.append(decimal(table.milliseconds[where], 2) if where in table.milliseconds else "")
    return found


def scaled(count: int | None) -> str:
    """In billions from ten of them, else in millions."""
    if count is None:
        return ""
    return f"{count / 1e9:.2f} G" if count >= 1e10 else f"{count / 1e6:.3f} M"


def answer_as_markdown(answer: Answer) -> str:
    """A paragraph, and a list of what stands behind it."""
    details = "\n".join(f"- {paragraph_for_markdown(line)}" for line in answer.details)
    return "\n\n".join(filter(None, [paragraph_for_markdown(answer.headline), details]))


def as_markdown(table: Table) -> str:
    """GitHub Markdown: the table, the comparisons and the seeds they would need, the published numbers, the ledger."""
    parts = [f"## {for_markdown(table.title)}"] if table.title else []
    parts += [_markdown(accuracies(table)), for_markdown(f"{table.caption} {table.timing}".rstrip())]
    if not table.one_network:
        parts += [COSTS_CAPTION, _markdown(costs(table))]
    parts += _tests(table)
    if table.compares:
        beside = [_plain("sub-model", *table.arms)]
        beside += [_plain(row, *(_published(table.cells.get((row, arm))) for arm in table.arms)) for row in table.rows]
        parts += [_PUBLISHED, _markdown(_turned(table, beside))]
    parts += [ledger_caption(table), _markdown(ledger(table))]
    return "\n\n".join(parts) + "\n"


def tasks_as_markdown(table: TaskTable) -> str:
    """GitHub Markdown: the table, the comparisons of the averages, the published numbers."""
    head = f"## {for_markdown(table.title)}"
    parts = [head, _markdown(scores(table)), for_markdown(table.caption), *_tests(table)]
    if table.compares:
        beside = [_plain("arm", "sub-model", *table.columns)]
        beside += [_plain(arm, row, *map(_published, table.row_cells(row, arm))) for row, arm in table.lines]
        parts += [_PUBLISHED, _markdown(beside)]
    return "\n\n".join(parts) + "\n"


def _tests(table: Tested) -> list[str]:
    parts = []
    if table.comparisons:
        parts += [_markdown(differences(table)), for_markdown(table.comparison_caption)]
    if table.crowded:
        parts += [_markdown(behind(table)), behind_caption(table.metric)]
    if table.seeds_caption:
        parts.append(table.seeds_caption)
    return parts


def _published(cell: Cell | None) -> str:
    return _NOTHING if cell is None else cell.published_text


def _markdown(grid: Grid) -> str:
    texts = [[f"**{cell.text}**" if cell.best else for_markdown(cell.text) for cell in row] for row in grid]
    head, *body = (f"| {' | '.join(row)} |" for row in texts)
    rule = "|" + "|".join([":--", *["--:"] * (len(grid[0]) - 1)]) + "|"
    return "\n".join([head, rule, *body])
