"""How long a trial trains."""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from trainers.config.part import Number, Part, Whole
from trainers.errors import ConfigError
from trainers.training.ledger import BudgetUnit


class BudgetConfig(Part):
    """An amount of a unit; or optimizer steps, and what training every target in each of them would take."""

    unit: BudgetUnit = Field(default="updates", description="What is counted.")
    amount: Whole = Field(
        default=78_200,
        ge=1,
        le=1 << 126,
        description="Training ends once so much is done.",
        json_schema_extra={"unit": "unit"},
    )
    updates: Annotated[Whole | None, Field(ge=1, le=1 << 40)] = Field(
        default=None,
        description="Optimizer steps, instead of an amount.",
        json_schema_extra={"unit": "optimizer steps"},
    )
    epochs: Annotated[Number | None, Field(ge=1e-6, le=1e6)] = Field(
        default=None,
        description="Instead of `updates`: the optimizer steps that see the training data so many times.",
        json_schema_extra={"unit": "passes over the training data"},
    )
    scale: Annotated[Number | None, Field(ge=1e-6, le=1e6)] = Field(
        default=None, description="Multiplies `updates` or `epochs`."
    )
    equalize: BudgetUnit | None = Field(
        default=None,
        description="The unit that `updates` become: the passes or multiply-accumulates of training every target in "
        "each, which is what a slimmable network (NS) does.",
    )

    def resolved(
        self, batches_per_epoch: float | None, accumulation: int, targets: int, macs_per_step: Callable[[], int]
    ) -> "BudgetConfig":
        """As unit and amount.

        Args:
            batches_per_epoch: micro-batches that see the training data once; None if nobody knows.
            accumulation: micro-batches per optimizer step. Epochs of passes are as many whatever it is.
            targets: number of target sub-models.
            macs_per_step: gives the multiply-accumulates of a batch of every target; asked only where they count.

        Raises:
            ConfigError: both an amount and what stands for one; epochs of data whose size is not known.
        """
        shorthands = self.model_fields_set & {"updates", "epochs", "scale", "equalize"}
        if shorthands and "amount" in self.model_fields_set:
            raise ConfigError(
                f"budget.amount and budget.{min(shorthands)} both say how long to train: give one of them"
            )
        if "unit" in self.model_fields_set and "amount" not in self.model_fields_set:
            raise ConfigError(f"budget.unit={self.unit}: give budget.amount, too; or equalize={self.unit} with updates")
        if "amount" in self.model_fields_set:
            return self
        steps: float = self.updates or self.amount
        if self.epochs is not None:
            if self.updates is not None:
                raise ConfigError("budget.epochs and budget.updates both say how long to train: give one of them")
            if batches_per_epoch is None:
                raise ConfigError("budget.epochs: the data set does not say how many examples it has: give updates")
            steps = self.epochs * batches_per_epoch
            if self.equalize in (None, "updates"):
                steps /= accumulation
        updates = max(1, round(steps * (self.scale or 1.0)))
        unit = self.equalize or "updates"
        per_update = {"updates": lambda: 1, "passes": lambda: targets, "macs": macs_per_step}[unit]()
        return BudgetConfig(unit=unit, amount=updates * per_update)
