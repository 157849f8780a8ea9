"""The ledger as bars: who was updated how often, and what every arm spent in all, in each reading of equal."""

import pandas as pd
import plotly.graph_objects as go

from orchestrator.report.drawing import Drawing
from orchestrator.report.escaping import for_plotly, lines_for_plotly
from orchestrator.report.figures.arrangement import Panel, arranged, axes
from orchestrator.report.figures.spread import IN_A_LEGEND, or_nothing
from orchestrator.report.figures.styles import Style
from orchestrator.report.tables import Table

_BAR, _BETWEEN = 15, 12  # pixels of a bar, and between two sub-models
_SECONDS = "seconds"  # not counted but measured, so no part of what was given equally
_BESIDE = 3
_PANEL, _DIGIT = 170, 7.5  # pixels of a panel where it is narrowest, on paper, and of a character beside a bar


def ledger(table: Table, styles: dict[str, Style]) -> Drawing:
    """What is counted of every sub-model, and below it the totals, a bar per arm.

    An arm of which a seed diverged is named and has no bars: it did not spend what it was given.
    """
    totals = [total for total in table.ledger if total.name != _SECONDS]
    rows = table.rows[:-1] if table.counted else ()
    arms = [arm for arm in table.arms if arm not in table.diverged]
    names = {
        arm: lines_for_plotly(f"{arm} ({table.diverged[arm]})" if arm in table.diverged else arm, IN_A_LEGEND)
        for arm in table.arms
    }
    size = _BAR * len(table.arms) + _BETWEEN
    reversed_y = {"autorange": "reversed", "showgrid": False, "type": "category"}
    panels: list[Panel] = []
    traces: list[go.Bar] = []
    numbers: list[tuple[str, str, str, float]] = []

    def draw(arm: str, values: dict[str, float], texts: list[str]) -> None:
        traces.append(
            go.Bar(
                x=or_nothing(values.values()),
                y=or_nothing(values),
                orientation="h",
                name=names[arm],
                legendgroup=arm,
                showlegend=len(panels) == 1,
                marker=styles[arm].bar,
                text=texts,
                textposition="outside" if len(panels) > 1 or not rows else "none",
                textfont={"size": 11},
                cliponaxis=False,
                hovertemplate="%{y} %{customdata}",
                customdata=texts,
                **axes(len(panels) - 1),
            )
        )

    if rows:
        title = f"{table.counted} per sub-model"
        panels.append(Panel(title, size * len(rows), {"rangemode": "tozero"}, reversed_y))
        for arm in table.arms:
            counts = {row: table.updates[row, arm] for row in rows if (row, arm) in table.updates and arm in arms}
            draw(arm, counts, [f"{count:,.0f}" for count in counts.values()])
            numbers += [(arm, row, table.counted, count) for row, count in counts.items()]
    for total in totals:
        most = max([table.totals[arm][total.name] for arm in arms], default=1.0)
        beside = max([len(total.text(table.totals[arm][total.name])) for arm in arms], default=0)
        room = 1 / (1 - min(0.6, _DIGIT * (1 + beside) / _PANEL))  # times the longest bar
        panels.append(
            Panel(
                for_plotly(total.title),
                size,
                {"range": [0, room * most], "nticks": 5, "tickformat": "~s"},
                reversed_y | {"visible": False},
                _BESIDE,
            )
        )
        for arm in table.arms:
            spent = {"": table.totals[arm][total.name]} if arm in arms else {}
            draw(arm, spent, [total.text(value) for value in spent.values()])
            numbers += [(arm, "", total.name, value) for value in spent.values()]
    figure = arranged(panels, traces, barmode="group", bargap=_BETWEEN / size, legend_traceorder="normal")
    caption = (
        "Means over seeds. A pass is one forward-backward of one sub-model; several summed in one optimizer step are "
        "one update. Updates of sub-models between two targets (continuous widths) are in the totals only."
    )
    data = pd.DataFrame(numbers, columns=["arm", "sub_model", "counted", "value"])
    return Drawing("ledger", "What every arm spent", caption, figure, data)
