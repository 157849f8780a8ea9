"""How the learning rate goes over a trial."""

from typing import Literal

from pydantic import Field

from trainers.config.part import Number, Part, Whole

Shape = Literal["cosine", "linear", "constant"]


class ScheduleConfig(Part):
    """A linear warm-up to the full rate, and a shape that the rate follows from there to the end of the budget."""

    shape: Shape = Field(
        default="cosine",
        description="To zero along half a cosine or a line, or at the full rate.",
        json_schema_extra={"alone": True},
    )
    warmup: Number = Field(
        default=0.025,
        ge=0,
        le=1,
        description="How long the rate rises linearly.",
        json_schema_extra={"unit": "share of the budget"},
    )
    stages: Whole = Field(
        default=200,
        ge=0,
        le=1_000_000,
        description="Equal stages within which the rate is constant; 0: it changes at every step.",
        json_schema_extra={"unit": "stages per trial"},
    )
