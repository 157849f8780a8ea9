"""Accuracy over training, by what the arms were given equally much of.

An optimizer step of one arm may be four passes and one of another a single pass, so that over steps an arm with an
equal budget seems to stop early. Over the unit of the budget all begin and end together.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from orchestrator.report.drawing import Drawing
from orchestrator.report.escaping import for_plotly
from orchestrator.report.figures.arrangement import Panel, arranged, axes
from orchestrator.report.figures.selector import MOST_AT_ONCE, menu
from orchestrator.report.figures.spread import (
    arm_names,
    capitalised,
    in_a_box,
    in_a_caption,
    or_nothing,
    over_seeds,
    seeds_of,
    with_average,
)
from orchestrator.report.figures.styles import Style
from orchestrator.report.results import Results
from orchestrator.report.tables import AVERAGE, some_of
from orchestrator.trainer import TrialBudget

_STEPS = "steps"


def has_curves(results: Results) -> bool:
    """Whether any trial was evaluated more than once."""
    return len(results.curves) > 0 and bool(_evaluations(results.curves).max() > 1)


def training(results: Results, styles: dict[str, Style], budget: TrialBudget) -> Drawing:
    """The mean primary metric over what the budget is of, a line per arm, a panel per sub-model or a menu of them.

    Sub-models that evaluations before the last leave out have none. The line of an arm of which a seed diverged ends
    before the first of them did.
    """
    metric, names = results.metric, arm_names(results)
    followed = tuple(label for label in results.sub_models if label in set(results.curves["sub_model"]))
    shown = some_of(followed)[::-1]
    chosen = len(shown) > MOST_AT_ONCE
    panels = (AVERAGE, *shown) if chosen else shown
    points, unit = _points(results, budget)
    points = points[points["sub_model"].isin(panels)].reset_index(drop=True)
    seeds = seeds_of(points)
    traces: list[go.Scatter] = []
    belong: list[str] = []
    for number, panel in enumerate(panels):
        place = axes(0 if chosen else number)
        for arm in results.arms:
            rows = points[(points["arm"] == arm) & (points["sub_model"] == panel)]
            first = chosen or number == 0
            common = {"name": names[arm], "legendgroup": arm, "visible": not chosen or number == 0, **place}
            if seeds > 1:
                traces.append(_band(rows, styles[arm], common))
            traces.append(
                go.Scatter(
                    x=or_nothing(rows["spent"]),
                    y=or_nothing(rows["mean"]),
                    mode="lines+markers",
                    line=styles[arm].line,
                    marker=styles[arm].marker | {"size": 6},
                    showlegend=first,
                    customdata=[in_a_box(metric, *row) for row in rows[["mean", "sd", "n"]].itertuples(index=False)],
                    hovertemplate=f"{for_plotly(panel)} at %{{x:.4~s}}: %{{customdata}}",
                    **common,
                )
            )
        belong += [panel] * (len(traces) - len(belong))
    x, y = {"title": {"text": unit}, "rangemode": "tozero"}, {"title": {"text": metric.axis}}
    if chosen:
        figure = arranged([Panel("", 360, x, y, menu=True)], traces, updatemenus=menu(panels, belong))
    else:
        beside = min(2, len(panels))
        matched = [x | ({"matches": "x"} if number else {}) for number in range(len(panels))]
        figure = arranged(
            [Panel(for_plotly(panel), 230, axis, y, beside) for panel, axis in zip(panels, matched, strict=True)],
            traces,
        )
    some = ""
    if len(shown) < len(results.sub_models):
        some = f" {len(shown)} of {len(results.sub_models)} sub-models {'can be chosen' if chosen else 'are shown'}."
    if chosen and len(followed) < len(results.sub_models):
        some += f" The average is of the {len(followed)} that are evaluated during training."
    over = "" if unit == _STEPS else f", over {unit}, of which every arm gets as many"
    measured = "The last point is the table's."
    if results.curves["interim"].any():
        measured = "All points, the last one too, are of the test examples that evaluations during training are of, "
        measured += "the same ones every time and for every arm; tables are of all."
    lost = " The line of an arm of which a seed diverged ends before the first of them did." if results.diverged else ""
    spread = in_a_caption(seeds, "bands")
    caption = f"{capitalised(metric.in_words)} during training{over}. {spread} {measured}{lost}{some}"
    return Drawing("training", f"{capitalised(metric.word)} over training", caption, figure, points)


def _points(results: Results, budget: TrialBudget) -> tuple[pd.DataFrame, str]:
    """A row per arm, sub-model and evaluation, `spent` at it (a mean over seeds), and what that is a number of."""
    known = bool(np.isfinite(results.curves["spent"]).all())
    curves = results.curves.assign(
        evaluation=_evaluations(results.curves), spent=results.curves["spent" if known else "step"]
    )
    arms = curves.groupby("sub_model", observed=True)["arm"].nunique()
    shared = arms.index[arms == curves["arm"].nunique()]
    whole = with_average(curves, results.metric, shared, ["arm", "seed", "evaluation", "spent"])
    spent = whole.groupby(["arm", "sub_model", "evaluation"], observed=True)["spent"].mean()
    points = over_seeds(whole, ["arm", "sub_model", "evaluation"], results.metric)
    points = points.join(spent, on=["arm", "sub_model", "evaluation"])
    seeds = {arm: count for (_, arm), count in results.seeds.items()}
    ends = _ends(results, curves)
    kept = [
        n == seeds[arm] and evaluation < ends.get(arm, np.inf)
        for arm, evaluation, n in zip(points["arm"], points["evaluation"], points["n"], strict=True)
    ]
    columns = ["arm", "sub_model", "evaluation", "spent", "mean", "sd", "n"]
    unit = budget.words.partition(" ")[2] or budget.unit
    return points[kept][columns], unit if known else _STEPS


def _evaluations(curves: pd.DataFrame) -> "pd.Series[int]":
    """The number of every row's evaluation in its trial, from 1: seeds may be evaluated at different steps."""
    return curves.groupby(["facet", "arm", "seed"], observed=True)["step"].rank("dense").astype(int)


def _ends(results: Results, curves: pd.DataFrame) -> dict[str, int]:
    """The evaluation at which the first of an arm's seeds diverged; what was measured at it is of no network."""
    last = curves.groupby(["arm", "seed"], observed=True)["evaluation"].max()
    ends: dict[str, int] = {}
    for each in results.diverged:
        if (where := (each.arm, each.seed)) in last.index:
            ends[each.arm] = min(int(last[where]), ends.get(each.arm, int(last[where])))
    return ends


def _band(rows: pd.DataFrame, style: Style, common: dict[str, object]) -> go.Scatter:
    there: Sequence[float] = rows["spent"].to_list()
    upper, lower = (rows["mean"] + rows["sd"]).to_list(), (rows["mean"] - rows["sd"]).to_list()
    return go.Scatter(
        x=or_nothing([*there, *there[::-1]]),
        y=or_nothing([*upper, *lower[::-1]]),
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=style.band,
        showlegend=False,
        hoverinfo="skip",
        **common,
    )
