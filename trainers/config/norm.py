"""The norm layers of a nested network."""

from typing import Literal

from pydantic import Field

from trainers.config.methods import Affine
from trainers.config.part import Number, Part, Whole

NormPolicy = Literal["instance", "batch", "batch-switchable", "batch-recalibrated", "group", "layer"]
CALIBRATION_BATCH = 250  # images


class NormConfig(Part):
    """What the sub-models' norm layers share, and what not."""

    policy: NormPolicy = Field(
        default="instance", description="The norm policy, by its name.", json_schema_extra={"alone": True}
    )
    recalibration_batches: Whole = Field(
        default=20,
        ge=1,
        le=10_000,
        description=f"Training batches of {CALIBRATION_BATCH} images each over which batch-recalibrated averages; "
        "others don't.",
        json_schema_extra={"unit": "batches"},
    )
    affine: Affine = Field(
        default="shared",
        description="Scale and shift: shared, or a line between two endpoints along the width.",
        json_schema_extra={"usual": "the method's"},
    )
    line_penalty: Number = Field(
        default=1.0,
        ge=0,
        le=1e6,
        description="Weight in the loss of the cos² between the γ of all lines' endpoints; without lines none.",
    )

    @property
    def recalibrated(self) -> int:
        """Over how many batches statistics are averaged before an evaluation; 0 where the policy keeps its own."""
        return self.recalibration_batches if self.policy == "batch-recalibrated" else 0

    @property
    def penalty(self) -> float:
        """The weight of the lines' penalty; 0 without lines."""
        return self.line_penalty if self.affine == "line" else 0.0

    def resolved(self, affine: Affine) -> "NormConfig":
        """With the method's affine unless another was said. What has no effect is as if unsaid."""
        update: dict[str, object] = self.unsaid(affine=affine)
        declared = NormConfig.model_fields
        if self.policy != "batch-recalibrated":
            update["recalibration_batches"] = declared["recalibration_batches"].default
        if update.get("affine", self.affine) != "line":
            update["line_penalty"] = declared["line_penalty"].default
        return self.model_copy(update=update)
