"""Choosing a sub-model for a budget without a search: they are sorted, so the largest that fits is the choice."""

from typing import Any

import pandas as pd

from orchestrator.declaration import Metric
from orchestrator.errors import UserError


def select(
    sub_models: pd.DataFrame,
    metric: Metric,
    max_macs: float | None = None,
    max_parameters: float | None = None,
    reached: float | None = None,
) -> "pd.Series[Any]":
    """The sub-model to use.

    Under a bound on cost it is the largest that fits, whatever its measured accuracy: nothing is picked on the test
    set. With `reached` it is the smallest that is at least as good by the metric, among those that fit.

    Args:
        sub_models: `sub_model`, `macs`, `parameters` and the metric of one arm.

    Raises:
        UserError: none fits.
    """
    fitting = sub_models
    if max_macs is not None:
        fitting = fitting[fitting["macs"] <= max_macs]
    if max_parameters is not None:
        fitting = fitting[fitting["parameters"] <= max_parameters]
    if reached is not None:
        measured = fitting[metric.name]
        fitting = fitting[measured >= reached if metric.higher_is_better else measured <= reached]
    if fitting.empty:
        measured = sub_models[metric.name]
        best = measured.max() if metric.higher_is_better else measured.min()
        least = sub_models.sort_values("macs").iloc[0]
        raise UserError(
            f"no sub-model fits: the smallest has {least['macs']:,.0f} MACs and {least['parameters']:,.0f} parameters, "
            f"the {metric.best} {metric.word} is {metric.with_unit(best)}"
        )
    return fitting.sort_values("macs").iloc[0 if reached is not None else -1]


def pareto(sub_models: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """The rows that no other row beats by the metric at no more multiply-accumulates; cheapest first."""
    best = float("-inf")
    kept = []
    ordered = sub_models.sort_values(["macs", metric.name], ascending=[True, not metric.higher_is_better])
    for index, value in zip(ordered.index, ordered[metric.name], strict=True):
        if (gain := metric.gain(value)) > best:
            best = gain
            kept.append(index)
    return sub_models.loc[kept]
