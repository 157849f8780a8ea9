"""Choosing a sub-model for a budget without a search: they are sorted, so the largest that fits is the choice."""

from typing import Any

import pandas as pd

from orchestrator.errors import UserError


def select(
    sub_models: pd.DataFrame,
    max_macs: float | None = None,
    max_parameters: float | None = None,
    min_accuracy: float | None = None,
) -> "pd.Series[Any]":
    """The sub-model to use.

    Under a bound on cost it is the largest that fits, whatever its measured accuracy: nothing is picked on the test
    set. With `min_accuracy` (per cent) it is the smallest that reached it, among those that fit.

    Args:
        sub_models: `sub_model`, `macs`, `parameters`, `test_acc` of one arm.

    Raises:
        UserError: none fits.
    """
    fitting = sub_models
    if max_macs is not None:
        fitting = fitting[fitting["macs"] <= max_macs]
    if max_parameters is not None:
        fitting = fitting[fitting["parameters"] <= max_parameters]
    if min_accuracy is not None:
        fitting = fitting[fitting["test_acc"] >= min_accuracy]
    if fitting.empty:
        least = sub_models.sort_values("macs").iloc[0]
        raise UserError(
            f"no sub-model fits: the smallest has {least['macs']:,.0f} MACs and {least['parameters']:,.0f} parameters, "
            f"the highest accuracy is {sub_models['test_acc'].max():.2f} %"
        )
    return fitting.sort_values("macs").iloc[0 if min_accuracy is not None else -1]


def pareto(sub_models: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other row beats in accuracy at no more multiply-accumulates; cheapest first."""
    best = float("-inf")
    kept = []
    ordered = sub_models.sort_values(["macs", "test_acc"], ascending=[True, False])
    for index, accuracy in zip(ordered.index, ordered["test_acc"], strict=True):
        if accuracy > best:
            best = accuracy
            kept.append(index)
    return sub_models.loc[kept]
