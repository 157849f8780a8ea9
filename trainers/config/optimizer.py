"""The optimizers, a class for each kind. `OptimizerConfig` is what a trial may have; another kind joins it by `|`."""

from typing import Literal

from pydantic import Field

from trainers.config.part import Number, Part


class SgdConfig(Part):
    """SGD with momentum, without Nesterov."""

    kind: Literal["sgd"] = Field(default="sgd", description="The optimizer.", json_schema_extra={"alone": True})
    learning_rate: Number = Field(default=0.1, ge=0, le=1e6, description="The full rate, which the schedule scales.")
    momentum: Number = Field(default=0.9, ge=0, le=1, description="Without dampening.")
    weight_decay: Number = Field(default=5e-4, ge=0, le=1e6, description="Of every parameter, at every step.")


OptimizerConfig = SgdConfig
