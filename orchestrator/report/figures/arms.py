"""Many arms, best first: a dot per seed, which a table of thirteen columns does not show and lines would tangle."""

import plotly.graph_objects as go

from orchestrator.report.drawing import Drawing
from orchestrator.report.figures.arrangement import Panel, arranged, lines_of
from orchestrator.report.figures.selector import menu
from orchestrator.report.figures.spread import (
    AT_AN_AXIS,
    arm_names,
    capitalised,
    in_a_box,
    in_a_caption,
    over_seeds,
    seeds_of,
    with_average,
)
from orchestrator.report.figures.styles import NEUTRAL, Style
from orchestrator.report.results import Results
from orchestrator.report.tables import AVERAGE, some_of

MANY = 6  # arms: more than these are also shown best first
_LINE, _TEXT = 24, 18  # pixels of an arm, and of a line of its name


def ranked_arms(results: Results, styles: dict[str, Style]) -> Drawing:
    """The final metric of every arm with a mean, sorted by it, of the average or of a sub-model that a menu chooses."""
    metric, names = results.metric, arm_names(results, AT_AN_AXIS)
    choices = (AVERAGE, *some_of(results.sub_models)[::-1])
    finals = results.with_means[["arm", "seed", "sub_model", metric.name]]
    values = with_average(finals, metric, results.shared, ["arm", "seed"])
    values = values[values["sub_model"].isin(choices)]
    points = over_seeds(values, ["sub_model", "arm"], metric)
    seeds = seeds_of(points)
    order = {
        choice: points[points["sub_model"] == choice].sort_values(
            "mean", ascending=not metric.higher_is_better, kind="stable"
        )
        for choice in choices
    }
    traces, belong = [], []
    for choice, rows in order.items():
        arms = rows["arm"].to_list()
        each = values[values["sub_model"] == choice]
        means = go.Scatter(
            x=rows["mean"],
            y=[names[arm] for arm in arms],
            error_x={"array": rows["sd"], "visible": seeds > 1, "thickness": 2, "width": 5, "color": NEUTRAL},
            mode="markers",
            marker={
                "color": [styles[arm].color for arm in arms],
                "symbol": [styles[arm].symbol for arm in arms],
                "size": 10,
            },
            customdata=[in_a_box(metric, *row) for row in rows[["mean", "sd", "n"]].itertuples(index=False)],
            hovertemplate="%{y}: %{customdata}<extra></extra>",
            name="mean ± SD",
        )
        dots = go.Scatter(
            x=each[metric.name],
            y=[names[arm] for arm in each["arm"]],
            mode="markers",
            marker={
                "color": [styles[arm].color for arm in each["arm"]],
                "symbol": "line-ns-open",
                "size": 12,
                "line": {"width": 1.5},
            },
            customdata=[
                f"seed {seed}: {metric.with_unit(value)}"
                for seed, value in each[["seed", metric.name]].to_numpy(object)
            ],
            hovertemplate="%{y}, %{customdata}<extra></extra>",
            name="seeds",
        )
        traces += [dots, means] if seeds > 1 else [means]
        belong += [choice] * (2 if seeds > 1 else 1)
    for trace, choice in zip(traces, belong, strict=True):
        trace.visible, trace.showlegend = choice == AVERAGE, False
    listed = {choice: [names[arm] for arm in rows["arm"]] for choice, rows in order.items()}
    most = max((lines_of(name) for name in names.values()), default=1)
    y = {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": listed[AVERAGE],
        "autorange": "reversed",
    }
    figure = arranged(
        [Panel("", max(_LINE, _TEXT * most) * len(listed[AVERAGE]), {"title": {"text": metric.axis}}, y, menu=True)],
        traces,
        updatemenus=menu(choices, belong, {choice: {"yaxis.categoryarray": arms} for choice, arms in listed.items()}),
    )
    lost = [arm for arm in results.arms if arm not in set(points["arm"])]
    spread = in_a_caption(seeds, "bars")
    marks = f" Strokes are single seeds. {spread}" if seeds > 1 else f" {spread}"
    missing = f" Not drawn, since a seed diverged: {', '.join(lost)}." if lost else ""
    caption = (
        f"Final {metric.in_words} by arm, the {metric.best} mean first; {AVERAGE} is over the sub-models that every "
        f"arm has. The order of neighbours may be chance.{marks}{missing}"
    )
    data = values.merge(points, on=["sub_model", "arm"], sort=False).reset_index(drop=True)
    return Drawing("arms", f"{capitalised(metric.word)} by arm, sorted", caption, figure, data)
