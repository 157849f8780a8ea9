"""Metrics of a study's own: functions of what a sub-model gives for the whole test set, and of what was to be given."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from trainers.errors import ConfigError, unknown
from trainers.tasks.task import Metric

Compute = Callable[[Tensor, Tensor], float | Tensor]
"""(outputs `(N, …)` fp32, targets `(N, …)`), both of the whole test set and on the device → a number."""


@dataclass(frozen=True)
class Measure:
    """What is measured of every target besides the task's own metrics."""

    metric: Metric
    compute: Compute


MEASURES: dict[str, Measure] = {}
"""Those that are registered, by the names of their metrics."""


def measures(names: Iterable[str]) -> tuple[Measure, ...]:
    """The registered ones of these names.

    Raises:
        ConfigError: there is none of a name.
    """
    wanted = tuple(names)
    for name in wanted:
        if name not in MEASURES:
            raise (
                unknown("metric", name, MEASURES)
                if MEASURES
                else ConfigError(f"unknown metric {name!r}: the study's file registers none")
            )
    return tuple(MEASURES[name] for name in wanted)


def with_measures(usual: Iterable[Metric], more: Iterable[Measure], primary: str | None) -> tuple[Metric, ...]:
    """A task's metrics and more of them, with another one as the primary if it is named.

    Raises:
        ConfigError: none is called so.
    """
    every = [*usual, *(measure.metric for measure in more)]
    if primary is None:
        return tuple(every)
    if primary not in (names := [metric.name for metric in every]):
        raise unknown("metric", primary, names)
    return tuple(replace(metric, primary=metric.name == primary) for metric in every)


def measured(more: Iterable[Measure], outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """What each of them gives, by name."""
    return {measure.metric.name: float(measure.compute(outputs, targets)) for measure in more}
