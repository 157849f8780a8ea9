"""Under which names MLflow keeps what a trial measured: it makes a section of charts of what stands before a name's
last slash, and sorts sections and charts by name.

So the average of a metric stands beside its parts, and totals come after what was tested. History and tables keep the
trainer's own names. A store of before has these in MLflow, too, and is read by them.
"""

from collections.abc import Mapping

from orchestrator.declaration import LEDGER, Declaration
from orchestrator.track.limits import as_name

TOTAL, AVERAGE = "total", "average"


class MetricNames:
    """The names of what a trainer declares."""

    def __init__(self, declaration: Declaration) -> None:
        grouped = [name for metric in declaration.metrics if metric.per_sub_model for name in metric.names]
        single = {name for metric in declaration.metrics if not metric.per_sub_model for name in metric.names}
        self._averages = {f"{name}_{AVERAGE}": f"{name}/{AVERAGE}" for name in grouped}
        self._averages = {name: kept for name, kept in self._averages.items() if name in single}
        self._unshown = {f"{LEDGER}/{total.name}" for total in declaration.totals if not total.title}

    def kept(self, name: str) -> str:
        """Of a metric by the trainer's name: `total/updates` of `ledger/updates`, `acc/average` of `acc_average`."""
        group, _, rest = name.partition("/")
        if group == LEDGER and rest:
            return as_name(f"{TOTAL}/{rest}")
        return as_name(self._averages.get(name, name))

    def is_worth_keeping(self, name: str, value: float) -> bool:
        """Not of a total that no report shows as long as it is zero: its chart would be an empty one."""
        return value != 0 or name not in self._unshown


def total_of(metrics: Mapping[str, float], name: str) -> float | None:
    """A trial's total by its name; None where it was not recorded."""
    kept = metrics.get(as_name(f"{TOTAL}/{name}"), metrics.get(as_name(f"{LEDGER}/{name}")))
    if kept is None and any(other.startswith(f"{TOTAL}/") for other in metrics):
        return 0.0  # not worth keeping
    return kept
