"""What a report's tables are on the page: accuracies, differences, costs, what was counted, and the Pareto set."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from orchestrator.declaration import Metric
from orchestrator.numerals import decimal, signed
from orchestrator.report.across import SPREAD, TaskTable
from orchestrator.report.comparisons import Comparison, p_text
from orchestrator.report.page.sheet import (
    Entry,
    Group,
    Row,
    Sheet,
    blank,
    measured,
    nothing,
    number,
    published,
    scaled,
    words,
)
from orchestrator.report.tables import AVERAGE, Table
from orchestrator.report.words import percentage

_MOST_COLUMNS = 7  # arms
_MOST_SUMMARISED = 3  # sub-models
Tested = Table | TaskTable


def summary(tables: Sequence[Table]) -> Sheet:
    """The averages of every arm in every table; of a single table the largest and the smallest sub-model's, too."""
    metric, (first, *others) = tables[0].metric, tables
    arms = list(dict.fromkeys(arm for table in tables for arm in table.arms))
    caption = f"{metric.heading}, {_over_seeds([table.seeds for table in tables])}"
    if not others:
        shown = list(dict.fromkeys([AVERAGE, first.rows[0], first.rows[-2]]))
        rows = [Row(arm, tuple(measured(first.cells.get((row, arm)), metric) for row in shown)) for arm in arms]
        return Sheet(caption, "arm", tuple(shown), (Group("", tuple(rows)),))
    rows = [
        Row(table.title, tuple(measured(table.cells.get((AVERAGE, arm)), metric) for arm in arms)) for table in tables
    ]
    sheet = Sheet(f"{caption}, averaged over sub-models", "table", tuple(arms), (Group("", tuple(rows)),))
    return sheet.turned("arm") if len(arms) > len(tables) else sheet


def task_summary(table: TaskTable) -> Sheet:
    """The averages over tasks of every arm, of some sub-models."""
    last = len(table.rows) - 1
    count = min(len(table.rows), _MOST_SUMMARISED)
    shown = list(dict.fromkeys(table.rows[round(place * last / max(1, count - 1))] for place in range(count)))
    cells = table.cells
    rows = [Row(arm, tuple(measured(cells.get((row, arm)), table.metric) for row in shown)) for arm in table.arms]
    caption = f"{table.metric.heading} {table.title}, {AVERAGE} over tasks, {_over_seeds([table.family.seeds])}"
    return Sheet(caption, "arm", tuple(shown), (Group("", tuple(rows)),))


def _over_seeds(counts: Iterable[int]) -> str:
    """What stands in a cell."""
    seeds = sorted({count for count in counts if count}) or [0]
    if seeds == [1]:
        return "of one seed"
    several = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    return f"mean ± SD over {several} seeds" if seeds[-1] else "of no seed that all have"


def accuracies(table: Table) -> Sheet:
    """The accuracies; arms are rows where they are many."""
    rows = []
    for row in table.rows:
        cells = [table.cells.get((row, arm)) for arm in table.arms]
        rows.append(Row(row, tuple(measured(cell, table.metric) for cell in cells)))
        rows += published(cells, table.metric)
    shares = {arm: number(percentage(order.share).removesuffix(" %")) for arm, order in table.sortedness.items()}
    short = {arm: number(table.metric.text(order.shortfall)) for arm, order in table.sortedness.items()}
    rows.append(Row("sorted pairs (%)", _of_arms(table, shares), lesser=True))
    rows.append(Row("shortfall", _of_arms(table, short), lesser=True))
    caption = f"{table.metric.heading} of every sub-model by arm, {_over_seeds([table.seeds])}"
    sheet = Sheet(caption, "sub-model", table.arms, (Group("", tuple(rows)),))
    if len(table.arms) > _MOST_COLUMNS:
        return _costs_below(table, sheet.turned("arm"))
    return _costs_behind(table, sheet)


def _of_arms(table: Table, entries: Mapping[str, Entry]) -> tuple[Entry, ...]:
    """An entry per arm, if it has numbers."""
    return tuple(
        words(table.diverged[arm]) if arm in table.diverged else entries.get(arm, nothing()) for arm in table.arms
    )


def _costs_behind(table: Table, sheet: Sheet) -> Sheet:
    """With a column for each cost, where every arm's network has the same: a phone shows the first columns alone."""
    if not table.one_network:
        return sheet
    costs = _costs(table, [(row.head, _who_has(table, row.head)) for row in sheet.rows])
    rows = (
        replace(row, entries=(*row.entries, *(blank() if row.lesser else of[place] for of in costs.values())))
        for place, row in enumerate(sheet.rows)
    )
    return replace(sheet, columns=(*sheet.columns, *costs), groups=(Group("", tuple(rows)),))


def _costs_below(table: Table, sheet: Sheet) -> Sheet:
    """With a row for each cost."""
    if not table.one_network:
        return sheet
    costs = _costs(table, [(label, _who_has(table, label)) for label in sheet.columns])
    rows = (Row(name, tuple(entries), lesser=True) for name, entries in costs.items())
    return replace(sheet, groups=(Group("", (*sheet.rows, *rows)),))


def _who_has(table: Table, label: str) -> str:
    return next((arm for arm in table.arms if (label, arm) in table.macs), "")


def _costs(table: Table, places: Sequence[tuple[str, str]]) -> dict[str, list[Entry]]:
    """What is known of cost: by its head, of every sub-model of an arm."""
    found = {}
    counted: dict[str, Mapping[tuple[str, str], int]] = {"MACs": table.macs, "FLOPs": table.flops}
    for name, counts in counted.items():
        if counts:
            unit, entries = scaled([counts.get(place) for place in places])
            found[f"{name}{unit}"] = entries
    if table.milliseconds:
        times = (table.milliseconds.get(place) for place in places)
        found["ms"] = [nothing() if time is None else number(decimal(time, 2)) for time in times]
    return found


def costs(table: Table) -> Sheet | None:
    """What every sub-model takes in each arm's network; None where all arms have one network."""
    if table.one_network:
        return None
    places = [(row, arm) for arm in table.arms for row in table.rows if (row, arm) in table.macs]
    found = _costs(table, places)
    of_place = dict(zip(places, zip(*found.values(), strict=True), strict=True))
    groups = (
        Group(arm, tuple(Row(row, of_place[row, arm]) for row in table.rows if (row, arm) in of_place))
        for arm in table.arms
    )
    return Sheet("Cost of one example by arm and sub-model", "sub-model", tuple(found), tuple(groups))


def task_scores(table: TaskTable) -> Sheet:
    """The values in every task and their averages; a group per arm."""
    known = {"MACs": table.macs, "FLOPs": table.flops}
    found = {}
    for name, counts in known.items():
        if any(counts.values()):
            unit, entries = scaled([counts.get(line) for line in table.lines])
            found[f"{name}{unit}"] = dict(zip(table.lines, entries, strict=True))
    with_spread = any(spread is not None for spread in table.spreads.values())  # not of one task
    groups = []
    for arm in table.arms:
        rows = []
        for row in (row for row, who in table.lines if who == arm):
            spread = table.spreads.get((row, arm))
            after = [nothing() if spread is None else number(table.metric.text(spread))] * with_spread
            after += [entries[row, arm] for entries in found.values()]
            cells = table.row_cells(row, arm)
            rows.append(Row(row, (*(measured(cell, table.metric) for cell in cells), *after)))
            rows += [
                replace(each, entries=(*each.entries, *[blank()] * len(after)))
                for each in published(cells, table.metric)
            ]
        updates = f" ({table.counted} in epochs: {table.updates[arm]})" if table.updates[arm] else ""
        groups.append(Group(f"{arm}{updates}", tuple(rows)))
    columns = (*table.columns, *[SPREAD] * with_spread, *found)
    return Sheet(f"{table.metric.heading} in every task, by arm and sub-model", "sub-model", columns, tuple(groups))


def differences(table: Tested) -> Sheet | None:
    """The comparisons with the baselines, one a row; None without."""
    if not table.comparisons:
        return None
    groups = []
    for arm, other in table.against.items():
        there = [row for row in table.rows if (row, arm) in table.comparisons]
        rows = (Row(row, _comparison(table.comparisons[row, arm], table.metric)) for row in there)
        groups.append(Group(f"{arm} − {other}", tuple(rows)))
    return _compared("Differences to the baseline, paired by seed", "sub-model", table, groups)


def behind(table: Tested) -> Sheet | None:
    """How far every arm is behind the best of its row; None where the differences show who is not separated."""
    if not table.crowded:
        return None
    groups = []
    for row in table.rows:
        there = [arm for arm in table.arms if (row, arm) in table.behind]
        rows = tuple(Row(arm, _comparison(table.behind[row, arm], table.metric)) for arm in there)
        if rows:
            groups.append(Group(f"{row}, minus {table.family.highest[row]}", rows))
    return _compared(f"Differences to the {table.metric.best} mean of every sub-model", "arm", table, groups)


def _compared(caption: str, corner: str, table: Tested, groups: Sequence[Group]) -> Sheet:
    points = f" ({table.metric.points})" if table.metric.points else ""
    heads = ("difference", "95 % from", "to", "p", "adjusted p", "separated", "Cohen’s d", "≈ seeds needed")
    return Sheet(f"{caption}{points}", corner, heads, tuple(groups)).without_empty_columns


def _comparison(found: Comparison, metric: Metric) -> tuple[Entry, ...]:
    statistics = found.statistics
    known = statistics.p is not None
    return (
        number(found.difference),
        _signed(statistics.low, metric),
        _signed(statistics.high, metric),
        nothing() if statistics.p is None else number(p_text(statistics.p)),
        number(p_text(found.adjusted_p)) if known else nothing(),
        words("yes" if found.separated else "no") if known else nothing(),
        nothing() if statistics.effect is None else number(decimal(statistics.effect, 2)),
        number(found.needed.removesuffix(" seeds").removeprefix("≈ ")),
    )


def _signed(value: float | None, metric: Metric) -> Entry:
    return nothing() if value is None else number(signed(value, metric.decimals))


def in_a_line(table: Table) -> str:
    """`highest on average: SortedNet, 64.30`, and how many are not separated from it; empty without a mean."""
    if (top := table.family.highest.get(AVERAGE)) is None:
        return ""
    beside = len(table.family.best[AVERAGE] - {top})
    others = f", not separated from {beside} other{'s' * (beside > 1)}" if beside and table.seeds > 1 else ""
    return f"{table.metric.best} on average: {top}, {table.metric.text(table.cells[AVERAGE, top].mean)}{others}"


def separated(table: Tested) -> tuple[int, int]:
    """How many of the comparisons with baselines are separated, and how many there are."""
    return sum(found.separated for found in table.comparisons.values()), len(table.comparisons)


def ledger(table: Table) -> Sheet:
    """What was counted of every sub-model, and totals; arms are rows where they are many."""
    counted = table.rows[:-1] if table.counted else ()
    rows = [
        Row(row, _of_arms(table, {arm: _count(table.updates.get((row, arm))) for arm in table.arms})) for row in counted
    ]
    for total in table.ledger:
        counts = {arm: number(total.text(table.totals[arm][total.name])) for arm in table.arms}
        rows.append(Row(total.title, _of_arms(table, counts)))
    what = f"{table.counted.capitalize()} of every sub-model, and totals" if table.counted else "Totals"
    sheet = Sheet(f"{what}, means over seeds", table.counted or "total", table.arms, (Group("", tuple(rows)),))
    return sheet.turned("arm") if len(table.arms) > _MOST_COLUMNS else sheet


def _count(count: float | None) -> Entry:
    return nothing() if count is None else number(f"{count:,.0f}")


def pareto_set(points: pd.DataFrame, metric: Metric) -> Sheet:
    """The sub-models that no other beats at no more cost.

    Args:
        points: `facet`, `arm`, `sub_model`, `macs`, `parameters`, `value`.
    """
    unit, macs = scaled([int(count) for count in points["macs"]])
    groups: dict[str, list[Row]] = {}
    for point, cost in zip(points.to_dict("records"), macs, strict=True):
        entries = (number(metric.text(point["value"])), words(str(point["arm"])), cost, _count(point["parameters"]))
        groups.setdefault(str(point["facet"]), []).append(Row(str(point["sub_model"]), entries))
    columns = (metric.axis, "arm", f"MACs{unit}", "parameters")
    listed = tuple(Group(facet, tuple(rows)) for facet, rows in groups.items())
    return Sheet("Sub-models that no other beats at no more multiply-accumulates", "sub-model", columns, listed)
