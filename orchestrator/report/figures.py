"""Plotly figures of a study: accuracy over cost, over training, over budgets, and over a lattice."""

import math
from itertools import combinations, pairwise

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from orchestrator.report.divergence import diverged_seeds, in_place
from orchestrator.report.escaping import for_plotly
from orchestrator.report.results import Results
from orchestrator.study.levels import SEPARATOR
from orchestrator.trainer import Metric

_PALETTE = qualitative.Safe  # told apart by colour-blind readers
_DASHES = ("solid", "dot", "dash", "dashdot")
_MOST_PANELS = 4


def _styles(results: Results) -> dict[str, dict[str, str]]:
    """Colour by the first factor's level, dash by the others', so that arms pair up to the eye.

    Once every colour is taken, the next levels have the same ones with the next dash.
    """
    first = list(dict.fromkeys(arm.split(SEPARATOR)[0] for arm in results.arms))
    rest = list(dict.fromkeys(arm.partition(SEPARATOR)[2] for arm in results.arms))
    styles = {}
    for arm in results.arms:
        rounds, place = divmod(first.index(arm.split(SEPARATOR)[0]), len(_PALETTE))
        dash = rounds + rest.index(arm.partition(SEPARATOR)[2])
        styles[arm] = {"color": _PALETTE[place], "dash": _DASHES[dash % len(_DASHES)]}
    return styles


def _names(results: Results) -> dict[str, str]:
    """What every arm is called in a figure of one table, which says of how many seeds it has no numbers."""
    lost, seeds = diverged_seeds(results.diverged), {arm: count for (_, arm), count in results.seeds.items()}
    return {
        arm: for_plotly(f"{arm} ({in_place(len(lost[arm]), seeds[arm])})" if arm in lost else arm)
        for arm in results.arms
    }


def _line(values: "pd.Series[float]") -> "list[float] | list[None]":
    """The values; one that is none where there are none, since a line without any has no place in the legend."""
    return values.to_list() or [None]


def accuracy_over_macs(results: Results) -> go.Figure:
    """The final metric of every sub-model over its multiply-accumulates, a line per arm, bars of one SD over seeds.

    An arm of which a seed diverged is named and has no line.
    """
    figure = go.Figure()
    styles, names = _styles(results), _names(results)
    stats = (
        results.with_means.groupby(["arm", "sub_model", "macs"])[results.metric.name]
        .agg(["mean", "std", "count"])
        .reset_index()
    )
    for arm in results.arms:
        rows = stats[stats["arm"] == arm].sort_values("macs")
        several = bool((rows["count"] > 1).all())
        figure.add_scatter(
            x=_line(rows["macs"] / 1e6),
            y=_line(rows["mean"]),
            error_y={"type": "data", "array": rows["std"], "visible": several},
            name=names[arm],
            mode="lines+markers",
            line=styles[arm],
            customdata=rows[["sub_model", "count"]],
            hovertemplate="%{customdata[0]}: "
            + _number(results.metric, "y")
            + " at %{x:.3f} M MACs, n = %{customdata[1]}",
        )
    figure.update_layout(xaxis_title="MACs per example (millions)", yaxis_title=results.metric.axis, height=460)
    return _tidied(figure)


def accuracy_over_updates(results: Results) -> go.Figure:
    """The mean primary metric over steps, a panel per sub-model, a line per arm.

    That of an arm of which a seed diverged ends before the first of them did.
    """
    name, panels = results.metric.name, _panels(results.sub_models)
    figure = make_subplots(
        rows=(len(panels) + 1) // 2, cols=2, subplot_titles=panels, shared_xaxes=True, vertical_spacing=0.09
    )
    styles, names, ends = _styles(results), _names(results), _ends(results)
    means = results.curves.groupby(["arm", "sub_model", "step"], observed=True)[name].mean()
    curves = means.to_frame().reset_index()
    for index, panel in enumerate(panels):
        for arm in results.arms:
            rows = curves[(curves["arm"] == arm) & (curves["sub_model"] == panel)].sort_values("step")
            rows = rows[rows["step"] < ends.get(arm, math.inf)]
            figure.add_scatter(
                x=_line(rows["step"]),
                y=_line(rows[name]),
                name=names[arm],
                legendgroup=arm,
                showlegend=index == 0,
                mode="lines+markers",
                line=styles[arm],
                row=index // 2 + 1,
                col=index % 2 + 1,
            )
    figure.update_xaxes(title_text="gradient updates", row=(len(panels) + 1) // 2)
    figure.update_yaxes(title_text=results.metric.axis, col=1)
    figure.update_layout(height=320 * ((len(panels) + 1) // 2))
    return _tidied(figure)


def _ends(results: Results) -> dict[str, int]:
    """The step at which the first of an arm's seeds diverged, by arm; what was measured at it is of no network."""
    last = results.curves.groupby(["arm", "seed"], observed=True)["step"].max()
    ends: dict[str, int] = {}
    for each in results.diverged:
        if (where := (each.arm, each.seed)) in last.index:
            ends[each.arm] = min(int(last[where]), ends.get(each.arm, int(last[where])))
    return ends


def _panels(sub_models: tuple[str, ...]) -> tuple[str, ...]:
    """The largest first; of many, some from the largest to the smallest."""
    count = min(len(sub_models), _MOST_PANELS)
    last = len(sub_models) - 1
    return tuple(sub_models[last - round(place * last / max(1, count - 1))] for place in range(count))


def accuracy_over_lattice(results: Results) -> go.Figure:
    """A heat map per arm, one dimension of the sub-models down and the others across: mean final value of every one.

    That of an arm of which a seed diverged is empty.
    """
    down, *others = _varying(results)
    across = " · ".join(others)
    titles = list(_names(results).values())
    figure = make_subplots(rows=len(results.arms), cols=1, subplot_titles=titles, vertical_spacing=0.12)
    name, metric, frame = results.metric.name, results.metric, results.with_means
    values = frame[name]
    shown = [arm for arm in results.arms if arm in set(frame["arm"])]
    for index, arm in enumerate(results.arms):
        if arm not in shown:
            continue
        rows = frame[frame["arm"] == arm]
        grid = rows.pivot_table(index=down, columns=others, values=name, aggfunc="mean")
        figure.add_heatmap(
            x=[" · ".join(f"{value:g}" for value in _tuple(column)) for column in grid.columns],
            y=[f"{value:g}" for value in grid.index],
            z=grid.to_numpy(),
            texttemplate=f"%{{z:.{max(1, metric.decimals - 1)}f}}",
            zmin=float(values.min()),
            zmax=float(values.max()),
            colorscale="Viridis" if metric.higher_is_better else "Viridis_r",
            colorbar={"title": metric.unit or metric.word},
            showscale=arm == shown[0],
            hovertemplate=f"{across} %{{x}}, {down} %{{y}}: {_number(metric, 'z')}<extra></extra>",
            row=index + 1,
            col=1,
        )
    figure.update_xaxes(title_text=across, type="category")
    figure.update_yaxes(title_text=down, type="category")
    figure.update_layout(height=80 + 420 * len(results.arms))
    return _tidied(figure)


def has_grid(results: Results) -> bool:
    """Whether the sub-models make up more than a chain, so that a map of them shows what a line does not."""
    varying = _varying(results)
    if len(varying) < 2:
        return False
    points = results.frame[list(varying)].drop_duplicates()
    return len(points) > max(points[varying[0]].nunique(), len(points[list(varying[1:])].drop_duplicates()))


def _varying(results: Results) -> tuple[str, ...]:
    """The dimensions of all sub-models in which some differ."""
    return tuple(name for name in results.shared_dimensions if results.frame[name].nunique() > 1)


def _tuple(column: object) -> tuple[float, ...]:
    """What pandas names a column by, of one dimension or several."""
    return column if isinstance(column, tuple) else (column,)


def averages_over_budget(results: Results, axis: str, others: tuple[str, ...]) -> pd.DataFrame:
    """The metric averaged over the sub-models that all arms have: `panel`, `arm`, `level` of the axis, `mean`, `sd`,
    `n`; nothing of an arm where a seed of it diverged."""
    frame = results.with_means[results.with_means["sub_model"].isin(results.shared)]
    levels = pd.DataFrame({name: results.levels_of(name) for name in others}, index=frame.index)
    panel = levels.agg(SEPARATOR.join, axis=1) if others else pd.Series("", index=frame.index)
    placed = frame.assign(panel=panel, level=results.levels_of(axis))
    averages = placed.groupby(["panel", "arm", "level", "seed"], sort=False)[results.metric.name].mean()
    over_seeds = averages.groupby(["panel", "arm", "level"], sort=False).agg(["mean", "std", "count"]).reset_index()
    return over_seeds.rename(columns={"std": "sd", "count": "n"})


def accuracy_over_budget(averages: pd.DataFrame, results: Results, axis: str) -> go.Figure:
    """The average over the budget, a panel per kind of budget, a line per arm, bars of one SD over seeds."""
    panels = list(dict.fromkeys(averages["panel"])) or [""]
    lost = {arm: [each.facet for each in results.diverged if each.arm == arm] for arm in results.arms}
    names = {
        arm: for_plotly(f"{arm} (diverged: {', '.join(dict.fromkeys(where))})" if where else arm)
        for arm, where in lost.items()
    }
    figure = make_subplots(rows=1, cols=len(panels), subplot_titles=list(map(for_plotly, panels)), shared_yaxes=True)
    styles = _styles(results)
    for index, panel in enumerate(panels):
        for arm in results.arms:
            rows = averages[(averages["panel"] == panel) & (averages["arm"] == arm)]
            figure.add_scatter(
                x=_line(rows["level"].map(for_plotly)),
                y=_line(rows["mean"]),
                error_y={"type": "data", "array": rows["sd"], "visible": bool((rows["n"] > 1).all())},
                name=names[arm],
                legendgroup=arm,
                showlegend=index == 0,
                mode="lines+markers",
                line=styles[arm],
                row=1,
                col=index + 1,
            )
    figure.update_xaxes(title_text=axis, type="category")
    figure.update_yaxes(title_text=f"average {results.metric.axis}", col=1)
    figure.update_layout(height=440)
    return _tidied(figure)


def crossings(averages: pd.DataFrame, metric: Metric) -> list[str]:
    """Where the lines of two arms cross between neighbouring budgets, one sentence each."""
    lines: dict[str, dict[str, dict[str, float]]] = {}
    for point in averages.to_dict("records"):
        lines.setdefault(str(point["panel"]), {}).setdefault(str(point["arm"]), {})[str(point["level"])] = point["mean"]
    found = []
    points = f" {'points' if metric.unit == '%' else metric.unit}".rstrip()
    for panel, arms in lines.items():
        where = f"{panel}: " if panel else ""
        for one, other in combinations(arms, 2):
            lead = [
                (level, metric.gain(mean - arms[other][level]))
                for level, mean in arms[one].items()
                if level in arms[other]
            ]
            for (low, before), (high, after) in pairwise(lead):
                if before * after < 0:
                    ahead, behind = (one, other) if after > 0 else (other, one)
                    found.append(
                        f"{where}{ahead} overtakes {behind} between {low} and {high} "
                        f"({metric.text(abs(before))}{points} behind, then {metric.text(abs(after))} ahead)"
                    )
    return found


def _number(metric: Metric, axis: str) -> str:
    """Plotly's template for a value of the metric."""
    return f"%{{{axis}:.{metric.decimals}f}} {metric.unit}".rstrip()


def _tidied(figure: go.Figure) -> go.Figure:
    legend = {"orientation": "h", "y": -0.14, "yanchor": "top"}
    figure.update_layout(template="plotly_white", margin={"l": 60, "r": 20, "t": 40, "b": 40}, legend=legend)
    return figure
