"""The update ledger: who was updated how often, counted where the work is done; and the budget that ends a trial.

"The same number of gradient updates" has three readings. Four sub-models summed in one optimizer step are one
update, four passes, and 1.88 times the multiply-accumulates of one full-width pass. The ledger counts all three at
once, so that a comparison can be made in any of them and never mixes two unnoticed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from trainers.lattice import Lattice
from trainers.submodel import SubModel

BudgetUnit = Literal["updates", "passes", "macs"]


@dataclass
class Tally:
    """Counts of one sub-model, or of all together.

    Attributes:
        updates: optimizer steps to whose gradient it contributed.
        passes: forward-backward passes.
        samples: examples seen, summed over passes.
        macs: multiply-accumulates of the forward passes; the backward costs about twice as much again in every arm.
            A forward without a backward, a teacher's, counts a third.
        forwards: forward passes without a backward.
    """

    updates: int = 0
    passes: int = 0
    samples: int = 0
    macs: int = 0
    forwards: int = 0


@dataclass(frozen=True)
class Budget:
    """Ends training once `unit` has reached `amount`; overshoot is less than one optimizer step."""

    unit: BudgetUnit
    amount: int

    def spent(self, ledger: "UpdateLedger") -> int:
        """How much of the unit has been used."""
        amount: int = getattr(ledger.total, self.unit)
        return amount

    def exhausted(self, ledger: "UpdateLedger") -> bool:
        """Whether training is over."""
        return self.spent(ledger) >= self.amount


@dataclass
class UpdateLedger:
    """Counts per sub-model by label, and in total. Sub-models between two targets are counted under their interval.

    A pass is noted with `record_pass`; `record_update` closes the optimizer step that those passes make up.
    """

    lattice: Lattice
    total: Tally = field(default_factory=Tally)
    per_sub_model: dict[str, Tally] = field(default_factory=dict)
    _in_step: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for target in self.lattice:
            self.per_sub_model.setdefault(target.label, Tally())

    def record_pass(self, sub_model: SubModel, samples: int, macs: int) -> None:
        """One forward-backward pass over `samples` examples that took `macs` multiply-accumulates forward."""
        label = self._account(sub_model)
        for tally in (self.per_sub_model.setdefault(label, Tally()), self.total):
            tally.passes += 1
            tally.samples += samples
            tally.macs += macs
        self._in_step.add(label)

    def record_forward(self, sub_model: SubModel, macs: int) -> None:
        """One forward pass without a backward that took `macs` multiply-accumulates."""
        label = self._account(sub_model)
        for tally in (self.per_sub_model.setdefault(label, Tally()), self.total):
            tally.forwards += 1
            tally.macs += (macs + 1) // 3  # rounded to the nearest, in whole numbers however large

    def record_update(self) -> None:
        """One optimizer step over the passes since the last one.

        Raises:
            RuntimeError: there were none.
        """
        if not self._in_step:
            raise RuntimeError("an optimizer step without a pass")
        for label in self._in_step:
            self.per_sub_model[label].updates += 1
        self.total.updates += 1
        self._in_step.clear()

    def _account(self, sub_model: SubModel) -> str:
        if sub_model in self.lattice:
            return sub_model.label
        inside = self.lattice.below(sub_model)
        around = [target for target in self.lattice if sub_model <= target]
        return f"{inside[-1].label}-{around[0].label}" if inside and around else "elsewhere"

    def as_dict(self) -> dict[str, Any]:
        """JSON form, between steps."""
        per = {label: asdict(tally) for label, tally in self.per_sub_model.items()}
        return {"total": asdict(self.total), "per_sub_model": per}

    @classmethod
    def from_dict(cls, lattice: Lattice, saved: Mapping[str, Any]) -> "UpdateLedger":
        """The ledger that `as_dict` wrote.

        Raises:
            ValueError: a count that is none.
        """
        for tally in (saved["total"], *saved["per_sub_model"].values()):
            if not all(type(count) is int and count >= 0 for count in tally.values()):
                raise ValueError("a count is no whole number")
        per = {label: Tally(**tally) for label, tally in saved["per_sub_model"].items()}
        return cls(lattice, Tally(**saved["total"]), per)
