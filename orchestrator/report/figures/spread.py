"""Means over seeds and their spread, and how figures say which it is.

Values of arms have their standard deviation, as tables have it; differences have a 95 % interval, since they are what
is tested. Bars of two arms that overlap say nothing of their difference: arms are paired by seed.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import pandas as pd

from orchestrator.declaration import Metric
from orchestrator.report.divergence import diverged_seeds, in_place
from orchestrator.report.escaping import lines_for_plotly
from orchestrator.report.results import Results
from orchestrator.report.tables import AVERAGE

ValueT = TypeVar("ValueT")
IN_A_LEGEND, AT_AN_AXIS = 38, 26  # characters of a line that a phone has room for


def over_seeds(frame: pd.DataFrame, by: Sequence[str], metric: Metric) -> pd.DataFrame:
    """`mean`, `sd` (NaN of one) and `n` of the metric for every combination of the columns `by` that there is."""
    grouped = frame.groupby(list(by), sort=False, observed=True)[metric.name].agg(["mean", "std", "count"])
    return grouped.rename(columns={"std": "sd", "count": "n"}).reset_index()


def with_average(frame: pd.DataFrame, metric: Metric, shared: Iterable[str], by: Sequence[str]) -> pd.DataFrame:
    """The rows and, for every combination of the columns `by`, their average over the sub-models that arms share."""
    inside = frame[frame["sub_model"].isin(list(shared))]
    averages = inside.groupby(list(by), sort=False, observed=True)[metric.name].mean()
    return pd.concat([frame.astype({"sub_model": str}), averages.reset_index().assign(sub_model=AVERAGE)])


def seeds_of(points: pd.DataFrame) -> int:
    """Over how many seeds the means are; 0 without any."""
    return int(points["n"].max()) if len(points) else 0


def in_a_caption(seeds: int, bars: str) -> str:
    """What bars, or bands, around a mean are; `bars` names them."""
    if seeds < 2:
        return "One seed, so no spread is known."
    return (
        f"Means over n = {seeds} seeds, with {bars} of ± 1 SD over them. Arms are paired by seed, so overlapping "
        f"{bars} do not say that a difference is uncertain: that is tested in the differences."
    )


def in_a_box(metric: Metric, mean: float, sd: float, n: int) -> str:
    """`41.23 % ± 0.35 (SD, n = 3)`."""
    if n < 2:
        return f"{metric.with_unit(mean)} (one seed)"
    return f"{metric.with_unit(mean)} ± {metric.text(sd)} (SD, n = {n})"


def arm_names(results: Results, most: int = IN_A_LEGEND) -> dict[str, str]:
    """What every arm of one table is called in a figure: with how many seeds diverged, where its numbers are none.

    Args:
        most: characters of a line.
    """
    lost, seeds = diverged_seeds(results.diverged), {arm: count for (_, arm), count in results.seeds.items()}
    return {
        arm: lines_for_plotly(f"{arm} ({in_place(len(lost[arm]), seeds[arm])})" if arm in lost else arm, most)
        for arm in results.arms
    }


def or_nothing(values: Iterable[ValueT]) -> list[ValueT] | list[None]:
    """The values; one that is none where there are none, since what has no point has no place in the legend."""
    return list(values) or [None]


def capitalised(text: str) -> str:
    """The text with a capital letter, the rest as it is."""
    return text[:1].upper() + text[1:]
