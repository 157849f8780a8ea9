"""How often an arm updated its sub-models, as the SortedNet paper writes it: `~1.5 d12 + 1.5 d24`, in epochs.

Tasks differ in the number of their examples, so updates are comparable across them only as epochs: a sub-model's
updates, as the ledger counted them, over the optimizer steps in which every training example is seen once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

_MOST_TERMS = 4  # sub-models


@dataclass(frozen=True)
class TrialUpdates:
    """What one trial counted.

    Attributes:
        per_epoch: optimizer steps in which every training example is seen once; 0 if unknown.
        updates: by sub-model, smallest first: optimizer steps to whose gradient it contributed.
    """

    task: str
    per_epoch: float
    updates: Mapping[str, float]


def update_notation(trials: Sequence[TrialUpdates]) -> str:
    """Of all of an arm's trials, `1.5 d12 + 1.5 d24`; empty if the epoch of one of them is unknown.

    Every number is the mean over tasks of their means over seeds, to a tenth of an epoch. `~` stands before them if
    one is not every trial's own: if tasks differ in the tenth, or if a trial is a whole optimizer step or more away
    from it, as trials are that draw their sub-models. (A budget of whole steps leaves less than one of an epoch that
    is not whole.) Sub-models without an update are not named, and of more than four only the sum is given.
    """
    if not trials or not all(_known(trial) for trial in trials):
        return ""
    labels = dict.fromkeys(label for trial in trials for label, count in trial.updates.items() if count)
    terms = [_Term(label, [(trial, trial.updates.get(label, 0.0)) for trial in trials]) for label in labels]
    if len(terms) > _MOST_TERMS:
        sums = [(trial, math.fsum(trial.updates.values())) for trial in trials]
        terms = [_Term(f"over {len(terms)} sub-models", sums)]
    return "~" * (not all(term.exact for term in terms)) + " + ".join(term.text for term in terms)


def _known(trial: TrialUpdates) -> bool:
    return trial.per_epoch > 0 and all(map(math.isfinite, trial.updates.values()))


@dataclass(frozen=True)
class _Term:
    """The updates of one sub-model, or of all of them, in every trial."""

    name: str
    counts: Sequence[tuple[TrialUpdates, float]]

    @property
    def by_task(self) -> list[float]:
        """Epochs, means over seeds."""
        tasks: dict[str, list[float]] = {}
        for trial, count in self.counts:
            tasks.setdefault(trial.task, []).append(count / trial.per_epoch)
        return [fmean(epochs) for epochs in tasks.values()]

    @property
    def tenth(self) -> float:
        """Epochs as shown."""
        return round(fmean(self.by_task), 1)

    @property
    def exact(self) -> bool:
        """Whether every task shows the same, and every trial lies within an optimizer step of it."""
        return all(round(epochs, 1) == self.tenth for epochs in self.by_task) and all(
            abs(count - self.tenth * trial.per_epoch) < 1 for trial, count in self.counts
        )

    @property
    def text(self) -> str:
        """`1.5 d12`."""
        return f"{self.tenth:.1f}".removesuffix(".0") + f" {self.name}"
