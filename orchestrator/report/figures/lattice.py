"""Accuracy over a lattice of several dimensions: a heat map per arm, all on one scale of colours."""

import math

import plotly.graph_objects as go

from orchestrator.declaration import Metric
from orchestrator.numerals import decimal
from orchestrator.report.drawing import Drawing
from orchestrator.report.escaping import for_plotly
from orchestrator.report.figures.arrangement import Panel, arranged, axes
from orchestrator.report.figures.scale import Scale
from orchestrator.report.figures.spread import arm_names, capitalised, or_nothing, over_seeds, seeds_of
from orchestrator.report.results import Results

_ROW, _SCALE = 30, 64  # pixels of a level, and of the scale of colours
_ACROSS, _CHARACTER = 250, 0.6  # pixels of a map on a phone; width of a character, in sizes of its type
_SMALLEST, _LARGEST = 8, 12  # pixels of type: a number for which there is less room is not written


def has_grid(results: Results) -> bool:
    """Whether the sub-models make up more than a chain, so that a map of them shows what a line does not."""
    varying = _varying(results)
    if len(varying) < 2:
        return False
    points = results.frame[list(varying)].drop_duplicates()
    return len(points) > max(points[varying[0]].nunique(), len(points[list(varying[1:])].drop_duplicates()))


def lattice(results: Results) -> Drawing:
    """Mean final value of every sub-model, by its dimensions; that with most levels is down, the others across.

    The map of an arm of which a seed diverged is empty.
    """
    metric, frame, names = results.metric, results.with_means, arm_names(results)
    varying = _varying(results)
    down = max(varying, key=lambda name: (results.frame[name].nunique(), -varying.index(name)))
    others = [name for name in varying if name != down]
    across = " · ".join(others)
    points = over_seeds(frame, ["arm", "sub_model", *varying], metric)
    levels = sorted(results.frame[down].unique())
    scale = Scale.over(points["mean"], metric.higher_is_better)
    traces = []
    for number, arm in enumerate(results.arms):
        grid = points[points["arm"] == arm].pivot_table(index=down, columns=others, values="mean")
        values = grid.to_numpy().tolist()
        columns = [" · ".join(f"{value:g}" for value in _tuple(column)) for column in grid.columns]
        shown = [[_in_short(value, metric) for value in row] for row in values]
        size = min(
            _LARGEST,
            int(_ACROSS / max(1, len(columns)) / _CHARACTER / max([4, *(len(text) for row in shown for text in row)])),
        )
        traces.append(
            go.Heatmap(
                x=or_nothing(columns),
                y=or_nothing(f"{value:g}" for value in grid.index),
                z=values or [[None]],
                coloraxis="coloraxis",
                text=[
                    [_in_ink(text, scale, value) for text, value in zip(*row, strict=True)]
                    for row in zip(shown, values, strict=True)
                ],
                texttemplate="%{text}" if size >= _SMALLEST else None,
                textfont={"size": size},
                customdata=[[metric.with_unit(value) for value in row] for row in values],
                xgap=1,
                ygap=1,
                name=names[arm],
                hovertemplate=f"{across} %{{x}}, {down} %{{y}}: %{{customdata}}",
                **axes(number),
            )
        )
    x = {"title": {"text": across}, "type": "category", "showgrid": False, "showline": False, "ticks": ""}
    y = {"title": {"text": down}, "type": "category", "showgrid": False}
    height = _ROW * len(levels)
    panels = [Panel(names[arm] if len(results.arms) > 1 else "", height, x, y) for arm in results.arms]
    figure = arranged(
        panels,
        traces,
        below=_SCALE,
        coloraxis={
            "colorscale": scale.colors,
            "cmin": scale.low,
            "cmax": scale.high,
            "colorbar": {
                "title": {"text": for_plotly(metric.axis), "side": "top"},
                "orientation": "h",
                "thickness": 12,
                "len": 0.6,
                "x": 0,
                "xanchor": "left",
                "y": 0,
                "yref": "container",
                "yanchor": "bottom",
            },
        },
    )
    seeds = seeds_of(points)
    over = f"means over n = {seeds} seeds" if seeds > 1 else "one seed, so no spread is known"
    caption = f"Final {metric.in_words} of every sub-model, {over}; lighter is better, on one scale for all arms."
    return Drawing("lattice", f"{capitalised(metric.word)} over the lattice", caption, figure, points)


def _varying(results: Results) -> tuple[str, ...]:
    """The dimensions of all sub-models in which some differ."""
    return tuple(name for name in results.shared_dimensions if results.frame[name].nunique() > 1)


def _tuple(column: object) -> tuple[float, ...]:
    """What pandas names a column by, of one dimension or several."""
    return column if isinstance(column, tuple) else (column,)


def _in_short(value: float, metric: Metric) -> str:
    """A value as its cell has room for it; nothing where there is none."""
    return "" if math.isnan(value) else decimal(value, max(0, metric.decimals - 1))


def _in_ink(text: str, scale: Scale, value: float) -> str:
    """A value's text in the colour that is read on that of its cell."""
    return text and f'<span style="color: {scale.ink(value)}">{text}</span>'
