"""Accuracy over cost: what a sub-model reaches for its multiply-accumulates, and which of them none beats."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from orchestrator.report.drawing import Drawing
from orchestrator.report.figures.arrangement import Panel, arranged
from orchestrator.report.figures.lattice import has_grid
from orchestrator.report.figures.spread import (
    arm_names,
    capitalised,
    in_a_box,
    in_a_caption,
    or_nothing,
    over_seeds,
    seeds_of,
)
from orchestrator.report.figures.styles import NEUTRAL, Style
from orchestrator.report.results import Results
from orchestrator.report.selection import pareto

FRONT = "Pareto front"
_LOGARITHMIC_FROM = 10  # times between the least and the most
_ROOM = 0.5  # of the way to the next sub-model that the arms of one take up at most
_APART = 0.012  # of the axis between two arms at most
_MOST_NAMED, _NARROWEST, _CHARACTER = 6, 290, 8  # sub-models at the axis; pixels of it, and of a character of theirs
_MANY = 12  # sub-models: rings around more than these are smaller


def cost(results: Results, styles: dict[str, Style]) -> Drawing:
    """The final metric of every sub-model of one table over its multiply-accumulates, a line per arm.

    An arm of which a seed diverged is named and has no line. Sub-models that are no chain have no lines: the next one
    in cost is nothing like a larger version.
    """
    metric, names = results.metric, arm_names(results)
    points = over_seeds(results.with_means, ["arm", "sub_model", "macs"], metric).sort_values("macs", kind="stable")
    best = pareto(points.rename(columns={"mean": metric.name}), metric).index
    points = points.assign(pareto=points.index.isin(best))
    seeds = seeds_of(points)
    logarithmic = len(points) > 0 and points["macs"].max() >= _LOGARITHMIC_FROM * points["macs"].min()
    scattered = has_grid(results)
    dodged = seeds > 1 and not scattered
    points["x"] = (_dodged(points, results.arms, logarithmic) if dodged else points["macs"]) / 1e6
    ring = 17 if len(results.sub_models) <= _MANY else 12
    traces = [_front(points[points["pareto"]], ring)] if len(points) else []
    for arm in results.arms:
        rows, style = points[points["arm"] == arm], styles[arm]
        boxes = [
            f"{label}: {in_a_box(metric, mean, sd, n)}<br>{macs / 1e6:,.3f} M MACs"
            for label, macs, mean, sd, n in rows[["sub_model", "macs", "mean", "sd", "n"]].itertuples(index=False)
        ]
        traces.append(
            go.Scatter(
                x=or_nothing(rows["x"]),
                y=or_nothing(rows["mean"]),
                error_y={"array": rows["sd"], "visible": seeds > 1, "thickness": 1.5, "width": 3},
                name=names[arm],
                showlegend=True,
                mode="markers" if scattered else "lines+markers",
                line=style.line,
                marker=style.marker,
                customdata=boxes,
                hovertemplate="%{customdata}",
            )
        )
    axis = _axis(points, logarithmic)
    figure = arranged([Panel("", 380, axis, {"title": {"text": metric.axis}})], traces)
    scale = ", on a logarithmic axis" if logarithmic else ""
    moved = " Arms are moved sideways a little, so that none hides another." if dodged else ""
    caption = (
        f"Final {metric.in_words} of every sub-model over the multiply-accumulates of one example{scale}. "
        f"{in_a_caption(seeds, 'bars')}{moved} Ringed, along the dotted line: the Pareto front of the means, those "
        f"that no other beats at no more multiply-accumulates. It describes what was measured; a choice by it would be "
        f"made on the test set."
    )
    data = points[["arm", "sub_model", "macs", "mean", "sd", "n", "pareto"]]
    return Drawing("cost", f"{capitalised(metric.word)} over cost", caption, figure, data.reset_index(drop=True))


def _front(points: pd.DataFrame, ring: int) -> go.Scatter:
    """A stair: up to the next of its sub-models nothing better is to be had."""
    return go.Scatter(
        x=points["x"],
        y=points["mean"],
        name=FRONT,
        showlegend=True,
        mode="lines+markers",
        line={"color": NEUTRAL, "dash": "dot", "width": 1.5, "shape": "hv"},
        marker={"symbol": "circle-open", "size": ring, "color": NEUTRAL, "line": {"width": 1.5}},
        hoverinfo="skip",
    )


def _dodged(points: pd.DataFrame, arms: tuple[str, ...], logarithmic: bool) -> "pd.Series[float]":
    """The multiply-accumulates, with the arms of a sub-model beside each other."""
    shown = [arm for arm in arms if arm in set(points["arm"])]
    places = np.log10(points["macs"]) if logarithmic else points["macs"].astype(float)
    neighbours = np.diff(np.sort(places.groupby(points["sub_model"]).mean()))
    if len(neighbours) == 0 or len(shown) < 2:
        return points["macs"].astype(float)
    step = min(_APART * (places.max() - places.min()), _ROOM * neighbours.min() / len(shown))
    middle = (len(shown) - 1) / 2
    moved: pd.Series[float] = places + step * points["arm"].map(
        {arm: place - middle for place, arm in enumerate(shown)}
    )
    if not logarithmic:
        return moved
    return moved.rpow(10)


def _axis(points: pd.DataFrame, logarithmic: bool) -> dict[str, object]:
    """With the sub-models at their places, where every arm has one network and there is room for their names."""
    title: dict[str, object] = {"title": {"text": "MACs per example (millions)"}, "type": "linear"}
    if logarithmic:
        title |= {"type": "log", "tickvals": _decades(points["macs"] / 1e6)}
    each = points.drop_duplicates(["sub_model", "macs"])
    places = np.log10(each["macs"]) if logarithmic else each["macs"]
    if each["sub_model"].duplicated().any() or not 2 <= len(each) <= _MOST_NAMED:
        return title
    widest = _CHARACTER * each["sub_model"].str.len().max() / _NARROWEST
    if np.diff(np.sort(places)).min() < widest * (places.max() - places.min()):
        return title
    macs = each["macs"] / 1e6
    texts = [f"{label}<br>{_short(value)}" for label, value in zip(each["sub_model"], macs, strict=True)]
    return title | {"tickvals": macs.to_list(), "ticktext": texts}


def _short(millions: float) -> str:
    """Three digits that count."""
    return f"{millions:,.0f}" if millions >= 100 else f"{millions:.3g}"


def _decades(values: "pd.Series[float]") -> list[float]:
    """1, 2 and 5 of every power of ten that the values reach."""
    powers = range(math.floor(math.log10(values.min())), math.ceil(math.log10(values.max())) + 1)
    return [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
