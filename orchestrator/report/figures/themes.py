"""What a figure has of the page around it: its text, its grid and its menus, in a light and in a dark theme.

Figures are transparent and carry the light theme; a page in dark mode gives them the other one, by
`Plotly.relayout(figure, {template: …})`. Colours of arms are the same in both.
"""

from dataclasses import dataclass

import plotly.graph_objects as go


@dataclass(frozen=True)
class Theme:
    """Colours. `background` is the page's, which shows through."""

    background: str
    ink: str
    soft: str
    grid: str


LIGHT = Theme("#ffffff", "#1c2024", "#60646c", "#e3e6ea")
DARK = Theme("#14171a", "#e8eaed", "#a6adb6", "#30363d")


def template(theme: Theme) -> go.layout.Template:
    """As Plotly takes it."""
    axis = {
        "gridcolor": theme.grid,
        "linecolor": theme.soft,
        "zerolinecolor": theme.soft,
        "zerolinewidth": 1.5,
        "tickcolor": theme.soft,
        "automargin": True,
        "ticklabelstandoff": 4,
        "title": {"standoff": 8, "font": {"size": 13}},
    }
    clear = "rgba(0, 0, 0, 0)"
    layout = {
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "font": {"color": theme.ink, "family": "system-ui, sans-serif", "size": 13},
        "xaxis": axis | {"zeroline": False, "showline": True, "ticks": "outside", "ticklen": 4},
        "yaxis": axis | {"zeroline": False},
        "hoverlabel": {
            "bgcolor": theme.background,
            "bordercolor": theme.soft,
            "font": {"color": theme.ink, "size": 13},
            "namelength": -1,
            "align": "left",
        },
        "modebar": {"bgcolor": clear, "color": theme.soft, "activecolor": theme.ink},
        "legend": {"bgcolor": clear, "font": {"size": 13}},
        # Plotly has one light colour for the entry under the pointer, so a menu is light in both themes.
        "updatemenudefaults": {"bgcolor": LIGHT.background, "bordercolor": theme.soft, "font": {"color": LIGHT.ink}},
        "coloraxis": {"colorbar": {"outlinewidth": 0, "ticks": "outside", "tickcolor": theme.soft}},
    }
    return go.layout.Template(layout=layout)
