"""Plotly figures of a study: accuracy over cost, accuracy over training."""

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from orchestrator.report.results import Results

_PALETTE = qualitative.Safe  # told apart by colour-blind readers
_DASHES = ("solid", "dot", "dash", "dashdot")


def _styles(results: Results) -> dict[str, dict[str, str]]:
    """Colour by the first factor's level, dash by the second's, so that arms pair up to the eye."""
    first = list(dict.fromkeys(arm.split(" · ")[0] for arm in results.arms))
    rest = list(dict.fromkeys(arm.partition(" · ")[2] for arm in results.arms))
    return {
        arm: {
            "color": _PALETTE[first.index(arm.split(" · ")[0]) % len(_PALETTE)],
            "dash": _DASHES[rest.index(arm.partition(" · ")[2]) % len(_DASHES)],
        }
        for arm in results.arms
    }


def accuracy_over_macs(results: Results) -> go.Figure:
    """Final accuracy of every sub-model over its multiply-accumulates, a line per arm, bars of one SD over seeds."""
    figure = go.Figure()
    styles = _styles(results)
    stats = results.frame.groupby(["arm", "sub_model", "macs"])["test_acc"].agg(["mean", "std", "count"]).reset_index()
    for arm in results.arms:
        rows = stats[stats["arm"] == arm].sort_values("macs")
        several = bool((rows["count"] > 1).all())
        figure.add_scatter(
            x=rows["macs"] / 1e6,
            y=rows["mean"],
            error_y={"type": "data", "array": rows["std"], "visible": several},
            name=arm,
            mode="lines+markers",
            line=styles[arm],
            customdata=rows[["sub_model", "count"]],
            hovertemplate="%{customdata[0]}: %{y:.2f} % at %{x:.3f} M MACs, n = %{customdata[1]}",
        )
    figure.update_layout(xaxis_title="MACs per image (millions)", yaxis_title="test accuracy (%)", height=460)
    return _tidied(figure)


def accuracy_over_updates(results: Results) -> go.Figure:
    """Mean accuracy over gradient updates, a panel per sub-model, a line per arm."""
    panels = results.sub_models[::-1]
    figure = make_subplots(
        rows=(len(panels) + 1) // 2, cols=2, subplot_titles=panels, shared_xaxes=True, vertical_spacing=0.09
    )
    styles = _styles(results)
    means = results.curves.groupby(["arm", "sub_model", "step"])["test_acc"].mean()
    curves = means.to_frame().reset_index()
    for index, panel in enumerate(panels):
        for arm in results.arms:
            rows = curves[(curves["arm"] == arm) & (curves["sub_model"] == panel)].sort_values("step")
            figure.add_scatter(
                x=rows["step"],
                y=rows["test_acc"],
                name=arm,
                legendgroup=arm,
                showlegend=index == 0,
                mode="lines+markers",
                line=styles[arm],
                row=index // 2 + 1,
                col=index % 2 + 1,
            )
    figure.update_xaxes(title_text="gradient updates", row=(len(panels) + 1) // 2)
    figure.update_yaxes(title_text="test accuracy (%)", col=1)
    figure.update_layout(height=320 * ((len(panels) + 1) // 2))
    return _tidied(figure)


def _tidied(figure: go.Figure) -> go.Figure:
    legend = {"orientation": "h", "y": -0.14, "yanchor": "top"}
    figure.update_layout(template="plotly_white", margin={"l": 60, "r": 20, "t": 40, "b": 40}, legend=legend)
    return figure
