"""Paired differences to the baselines as a forest plot: where an interval lies to zero is seen, not read."""

import math
import re
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from orchestrator.report.across import TaskTable
from orchestrator.report.comparisons import Comparison
from orchestrator.report.drawing import Drawing
from orchestrator.report.escaping import for_plotly, lines_for_plotly
from orchestrator.report.figures.arrangement import Panel, arranged, lines_of
from orchestrator.report.figures.selector import MOST_AT_ONCE, menu
from orchestrator.report.figures.spread import AT_AN_AXIS, IN_A_LEGEND
from orchestrator.report.figures.styles import Style
from orchestrator.report.statistics import LEVEL
from orchestrator.report.tables import AVERAGE, Table

_LINE, _TEXT, _BETWEEN = 20, 18, 1  # pixels of a difference and of a line of its name; room between two sub-models
_MOST_LINES = 40  # of all sub-models together: more are shown one sub-model at a time
_MARGIN = 0.04  # of the axis, beyond the outermost interval


def differences(table: Table | TaskTable, styles: dict[str, Style]) -> Drawing:
    """The comparisons of a table that has some, by sub-model and arm, with their 95 % t-intervals.

    What is separated after the correction is filled. Of many sub-models one is shown at a time.
    """
    arms = tuple(arm for arm in table.arms if arm in table.against)
    compared = [row for row in table.rows if any((row, arm) in table.comparisons for arm in arms)]
    rows = tuple(sorted(compared, key=lambda row: row != AVERAGE))
    chosen = len(rows) > MOST_AT_ONCE + 1 or len(rows) * len(arms) > _MOST_LINES
    figure = (_one_at_a_time if chosen else _together)(table, rows, arms, styles)
    lost = [arm for arm in table.arms if _diverged(table, arm)]
    several = any(found.statistics.low is not None for found in table.comparisons.values())
    filled = f" Filled: separated, adjusted p < {LEVEL}; open: not." if several else ""
    missing = (
        f" Not drawn, since a seed of it or of what it is compared with diverged: {', '.join(lost)}." if lost else ""
    )
    caption = f"{table.comparison_caption}{filled}{missing}"
    data = pd.DataFrame([_numbers(row, arm, table) for row in rows for arm in arms if (row, arm) in table.comparisons])
    return Drawing("differences", "Differences to the baseline", caption, figure, data)


def _together(
    table: Table | TaskTable, rows: Sequence[str], arms: Sequence[str], styles: dict[str, Style]
) -> go.Figure:
    """Every sub-model with its arms beneath each other; a legend says which is which."""
    step = len(arms) + _BETWEEN
    traces = []
    for place, arm in enumerate(arms):
        there = [row for row in rows if (row, arm) in table.comparisons]
        found = [table.comparisons[row, arm] for row in there]
        traces.append(
            go.Scatter(
                y=[rows.index(row) * step + place for row in there],
                name=lines_for_plotly(arm, IN_A_LEGEND),
                showlegend=True,
                **_marks(found, styles[arm]),
                customdata=[
                    f"{_pair(table, arm)}, {row}<br>{_in_lines(each)}" for row, each in zip(there, found, strict=True)
                ],
            )
        )
    middle = (len(arms) - 1) / 2
    y = {
        "tickvals": [number * step + middle for number in range(len(rows))],
        "ticktext": list(rows),
        "range": [len(rows) * step - _BETWEEN, -1],
        "showgrid": False,
    }
    return arranged([Panel("", _LINE * step * len(rows), _axis(table), y)], traces)


def _one_at_a_time(
    table: Table | TaskTable, rows: Sequence[str], arms: Sequence[str], styles: dict[str, Style]
) -> go.Figure:
    """The arms of one sub-model beneath each other, by name; a menu chooses it."""
    traces, belong = [], []
    for row in rows:
        for arm in arms:
            if (row, arm) not in table.comparisons:
                continue
            found = table.comparisons[row, arm]
            traces.append(
                go.Scatter(
                    y=[arms.index(arm)],
                    name=for_plotly(arm),
                    showlegend=False,
                    visible=row == rows[0],
                    **_marks([found], styles[arm]),
                    customdata=[f"{_pair(table, arm)}, {row}<br>{_in_lines(found)}"],
                )
            )
            belong.append(row)
    names = [lines_for_plotly(arm, AT_AN_AXIS) for arm in arms]
    line = max(_LINE, _TEXT * max(map(lines_of, names)))
    y = {
        "tickvals": list(range(len(arms))),
        "ticktext": names,
        "range": [len(arms) - 0.5, -0.5],
        "showgrid": False,
    }
    return arranged(
        [Panel("", line * (len(arms) + 1), _axis(table), y, menu=True)], traces, updatemenus=menu(rows, belong)
    )


def _marks(found: Sequence[Comparison], style: Style) -> dict[str, object]:
    """The differences with their intervals; where none is known, alone."""
    statistics = [each.statistics for each in found]
    lows, highs = (
        [math.nan if bound is None else bound for bound in bounds]
        for bounds in zip(*((s.low, s.high) for s in statistics), strict=True)
    )
    symbols = [style.symbol if each.separated else f"{style.symbol}-open" for each in found]
    return {
        "x": [each.mean for each in statistics],
        "error_x": {
            "symmetric": False,
            "array": [high - each.mean for high, each in zip(highs, statistics, strict=True)],
            "arrayminus": [each.mean - low for low, each in zip(lows, statistics, strict=True)],
            "visible": any(map(math.isfinite, lows)),
            "thickness": max(1.5, style.width - 1),
            "width": 4,
        },
        "mode": "markers",
        "marker": style.marker | {"symbol": symbols, "line": {"width": 2, "color": style.color}, "size": 9},
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _axis(table: Table | TaskTable) -> dict[str, object]:
    """The same for every sub-model, zero within."""
    found = [each.statistics for each in table.comparisons.values()]
    ends = [end for each in found for end in (each.mean, each.low, each.high) if end is not None and math.isfinite(end)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    room = _MARGIN * ((high - low) or 1.0)
    metric = table.metric
    sides = ("worse", "better") if metric.higher_is_better else ("better", "worse")
    text = f"{for_plotly(metric.points) or 'difference'}<br>← {sides[0]} · {sides[1]} →"
    return {"title": {"text": text}, "zeroline": True, "range": [low - room, high + room]}


def _pair(table: Table | TaskTable, arm: str) -> str:
    return for_plotly(f"{arm} − {table.against[arm]}")


def _in_lines(found: Comparison) -> str:
    """The comparison as tables have it, one number in a line."""
    return for_plotly(re.sub(r", (?=[pd≈>] ?[−.\d]|p <)", "\n", found.text)).replace("\n", "<br>")


def _diverged(table: Table | TaskTable, arm: str) -> bool:
    return any(cell.diverged for (_, name), cell in table.cells.items() if name == arm)


def _numbers(row: str, arm: str, table: Table | TaskTable) -> dict[str, object]:
    found = table.comparisons[row, arm]
    statistics = found.statistics
    return {
        "sub_model": row,
        "arm": arm,
        "against": table.against[arm],
        "n": statistics.n,
        "difference": statistics.mean,
        "low": statistics.low,
        "high": statistics.high,
        "p": statistics.p,
        "adjusted_p": found.adjusted_p,
        "separated": found.separated,
        "effect": statistics.effect,
        "seeds_needed": found.seeds,
    }
