"""Puts panels, legend and menu of a figure where each is legible, on a wide screen and on a narrow one.

Plotly places subplots by shares of the figure and knows no line breaks, so that what is fine at 1,400 pixels is
nothing at 390. Here a panel has a height in pixels, and a figure two layouts in its `meta`: `wide`, in which panels may
stand beside each other, and `narrow`, in which none does; a page gives it the one that suits its width, by
`Plotly.relayout(figure, figure.layout.meta.narrow)`. The figure's own title is the page's business: above panels there
is only room for Plotly's buttons, which therefore cover nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.basedatatypes import BaseTraceType

from orchestrator.report.figures.themes import LIGHT, template

WIDE, NARROW = 960, 350  # pixels that a legend has at the least; below a page of 640 a figure is narrow
_BUTTONS, _HEAD, _MENU, _NO_HEAD, _FOOT = 34, 30, 46, 8, 58  # pixels: buttons, title or menu, axis
_GAP = 0.09  # of the width, between panels beside each other: ticks and title of the right one
_LEGEND_LINE, _SIGN, _CHARACTER = 20, 56, 7.2  # pixels of a legend: a line, a sign, a character on average


@dataclass(frozen=True)
class Panel:
    """A pair of axes.

    Attributes:
        height: in pixels, of what is between its axes.
        beside: how many of its like stand in a line where there is room.
        menu: whether there is one above it.
        x, y: settings of its axes.
    """

    title: str
    height: int
    x: Mapping[str, Any]
    y: Mapping[str, Any]
    beside: int = 1
    menu: bool = False

    @property
    def head(self) -> int:
        """Pixels above its axes."""
        if self.menu:
            return _MENU
        return _HEAD + _LEGEND_LINE * (lines_of(self.title) - 1) if self.title else _NO_HEAD


def lines_of(text: str) -> int:
    """How many lines a text of Plotly's has."""
    return text.count("<br>") + 1


def axes(number: int) -> dict[str, str]:
    """What a trace on panel number `number` says."""
    return {"xaxis": f"x{number + 1}" if number else "x", "yaxis": f"y{number + 1}" if number else "y"}


def arranged(panels: Sequence[Panel], traces: Sequence[BaseTraceType], below: int = 0, **layout: Any) -> go.Figure:
    """The figure of these panels and traces.

    Args:
        below: pixels for what stands there besides a legend.
        layout: settings of Plotly's for what is no panel and no legend.
    """
    figure = go.Figure(list(traces))
    entries = list(dict.fromkeys(str(trace.name) for trace in traces if trace.showlegend))
    wide, narrow = (_places(panels, entries, below, narrow) for narrow in (False, True))
    for number, panel in enumerate(panels):
        x, y = (name[0] + "axis" + name[1:] for name in axes(number).values())
        figure.update_layout(
            {x: {"anchor": axes(number)["yaxis"], **panel.x}, y: {"anchor": axes(number)["xaxis"], **panel.y}}
        )
        if panel.title:
            figure.add_annotation(
                text=panel.title,
                xref=f"{axes(number)['xaxis']} domain",
                yref=f"{axes(number)['yaxis']} domain",
                x=0,
                y=1,
                xanchor="left",
                yanchor="bottom",
                yshift=4,
                showarrow=False,
                font={"size": 14},
            )
    figure.update_layout(
        template=template(LIGHT),
        margin={"l": 8, "r": 12, "t": _BUTTONS, "b": 4},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yref": "container", "yanchor": "bottom"},
        showlegend=bool(entries),
        meta={"wide": wide, "narrow": narrow},
        **layout,
    )
    figure.update_layout({name.replace(".", "_"): value for name, value in wide.items()})
    return figure


def _places(panels: Sequence[Panel], entries: Sequence[str], below: int, narrow: bool) -> dict[str, Any]:
    """Height of the figure and the domains of all axes, as `Plotly.relayout` takes them."""
    lines: list[list[int]] = []
    for number, panel in enumerate(panels):
        beside = 1 if narrow else panel.beside
        if not lines or len(lines[-1]) >= beside or panels[lines[-1][0]].beside != panel.beside:
            lines.append([])
        lines[-1].append(number)
    heights = [max(panels[number].height for number in line) for line in lines]
    heads = [max(panels[number].head for number in line) for line in lines]
    total = sum(map(sum, zip(heads, heights, strict=True))) + _FOOT * len(lines)
    height = total + _BUTTONS + below + _legend_height(entries, NARROW if narrow else WIDE)
    places: dict[str, Any] = {"height": height}
    top = 0
    for line, head, height in zip(lines, heads, heights, strict=True):
        columns = 1 if narrow else panels[line[0]].beside
        width = (1 - _GAP * (columns - 1)) / columns
        for column, number in enumerate(line):
            x, y = (name[0] + "axis" + name[1:] for name in axes(number).values())
            left = column * (width + _GAP)
            places[f"{x}.domain"] = [round(left, 4), round(min(1.0, left + width), 4)]
            places[f"{y}.domain"] = [1 - (top + head + height) / total, 1 - (top + head) / total]
        top += head + height + _FOOT
    return places


def _legend_height(entries: Sequence[str], width: int) -> int:
    """In pixels. Plotly gives every entry the width of the longest."""
    if not entries:
        return 0
    longest = max(len(line) for entry in entries for line in entry.split("<br>"))
    columns = max(1, int(width / (_SIGN + _CHARACTER * longest)))
    rows = (entries[first : first + columns] for first in range(0, len(entries), columns))
    return 12 + _LEGEND_LINE * sum(max(map(lines_of, row)) for row in rows)
