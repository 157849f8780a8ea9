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
    scale: Annotated[Number | None, Field(ge=1e-6, le=1e6)] = Field(default=None, description="Multiplies `updates`.")
    equalize: BudgetUnit | None = Field(
        default=None,
        description="The unit that `updates` become: the passes or multiply-accumulates of training every target in "
        "each, which is what a slimmable network (NS) does.",
    )

    def resolved(self, targets: int, macs_per_step: Callable[[], int]) -> "BudgetConfig":
        """As unit and amount.

        Args:
            targets: number of target sub-models.
            macs_per_step: gives the multiply-accumulates of a batch of every target; asked only where they count.

        Raises:
            ConfigError: both an amount and what stands for one.
        """
        shorthands = self.model_fields_set & {"updates", "scale", "equalize"}
        if shorthands and "amount" in self.model_fields_set:
            raise ConfigError(
                f"budget.amount and budget.{min(shorthands)} both say how long to train: give one of them"
            )
        if "unit" in self.model_fields_set and "amount" not in self.model_fields_set:
            raise ConfigError(f"budget.unit={self.unit}: give budget.amount, too; or equalize={self.unit} with updates")
        if "amount" in self.model_fields_set:
            return self
        updates = max(1, round((self.updates or self.amount) * (self.scale or 1.0)))
        unit = self.equalize or "updates"
        per_update = {"updates": lambda: 1, "passes": lambda: targets, "macs": macs_per_step}[unit]()
        return BudgetConfig(unit=unit, amount=updates * per_update)
