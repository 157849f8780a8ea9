"""How long sub-models take for one example, as it was measured after the trials, and whether the machine was idle."""

from dataclasses import dataclass
from typing import Any

from orchestrator.errors import UserError
from orchestrator.run.idleness import IDLE
from orchestrator.study.plan import Plan
from orchestrator.track.tracker import LATENCY, Tracker

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, ArithmeticError)


@dataclass(frozen=True)
class Latency:
    """Milliseconds of every sub-model for one example, by (table, arm) and label, and where they were measured.

    Attributes:
        others: share of the machine that other processes took meanwhile; None: nobody looked.
    """

    device: str
    milliseconds: dict[tuple[str, str], dict[str, float]]
    others: float | None = None

    @property
    def remark(self) -> str:
        """What is to be said beside the times; empty if the machine was idle."""
        if self.others is None:
            return "ms: whether the machine was idle was not recorded."
        if self.others <= IDLE:
            return ""
        return (
            f"ms: the machine was busy, other processes took {100 * self.others:.0f} % of it meanwhile, so these are "
            "longer than its own, and their order may be another."
        )


def read_latency(tracker: Tracker, experiment: str, plan: Plan) -> Latency | None:
    """As measured last; None if it was not, or the trainer measures none.

    Raises:
        UserError: what was recorded is not what a recorder writes.
    """
    parent = tracker.parent(experiment, plan.base_key)
    if parent is None:
        return None
    try:
        return _read(tracker.read_json(parent.info.artifact_uri, LATENCY), plan)
    except _UNREADABLE as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise UserError(
            f"{LATENCY} of the run {parent.info.run_id} is not as it was recorded ({what}): delete that file"
        ) from error


def _read(kept: Any, plan: Plan) -> Latency | None:
    if not kept or not kept["milliseconds"]:
        return None
    found = kept["milliseconds"]
    apart = isinstance(next(iter(found.values())), dict)  # else of an earlier version: the first arm's, for all
    by_arm: dict[tuple[str, str], dict[str, float]] = {}
    for arm in plan.arms:
        if measured := found.get(arm.label) if apart else found:
            where = plan.study.facet(dict(arm.levels)), plan.compared(dict(arm.levels))
            by_arm[where] = {name: float(value) for name, value in measured.items()}
    others = None if kept.get("others") is None else float(kept["others"])
    return Latency(str(kept["device"]), by_arm, others) if by_arm else None
