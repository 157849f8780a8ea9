"""A figure as a report shows and exports it."""

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go


@dataclass(frozen=True)
class Drawing:
    """One figure of a report.

    Attributes:
        name: what it is asked for by and its files are called: `cost`, `training`, `cost-half` of one of many tables;
            unique in a report, of ASCII letters, digits and hyphens.
        title: its heading.
        caption: what it shows, error bars and n included, and what it does not say.
        figure: without title and legend entries that cannot be read in black and white.
        data: the numbers that are drawn, tidy: a row per mark.
        table: the title of the one table that it is of, where there are several; else empty.
    """

    name: str
    title: str
    caption: str
    figure: go.Figure
    data: pd.DataFrame
    table: str = ""
