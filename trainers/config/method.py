"""How sub-models are trained: a method by its name, or the parts that make it up."""

from typing import Annotated

from pydantic import Field

from trainers.config.methods import METHODS, Distillation, Method, Sharing
from trainers.config.part import Number, Part, Text, Whole, one_of
from trainers.objectives import OBJECTIVES


class MethodConfig(Part):
    """Which sub-models a step draws, what is summed over them, and what they share. The defaults are SortedNet's."""

    name: Annotated[Text | None, one_of("method", lambda: METHODS)] = Field(
        default=None,
        description="Stands for sampler, objective, sharing, accumulation, distillation and the norms' affine.",
        json_schema_extra={"alone": True},
    )
    sampler: Text = Field(
        default="uniform",
        description="The distribution that sub-models are drawn from, of extracted networks until they are extracted.",
        json_schema_extra={"usual": "the method's"},
    )
    objective: Annotated[Text, one_of("objective", lambda: OBJECTIVES)] = Field(
        default="stochastic-loss", description="Whose losses a step sums.", json_schema_extra={"usual": "the method's"}
    )
    sharing: Sharing = Field(
        default="nested",
        description="One nested network, separate ones per target, or extracted: nested first and then separate.",
        json_schema_extra={"usual": "the method's"},
    )
    extract_at: Number = Field(
        default=0.5,
        ge=0,
        le=1,
        description="When the targets of sharing=extracted become networks of their own.",
        json_schema_extra={"unit": "share of the budget"},
    )
    accumulation: Whole = Field(
        default=1,
        ge=1,
        le=4096,
        description="Micro-batches per optimizer step, each with its own images and draw; gradients average.",
        json_schema_extra={"usual": "the method's"},
    )
    distillation: Distillation = Field(
        default="none",
        description="in-place: every other sub-model learns the largest one's predictions instead of the labels.",
        json_schema_extra={"usual": "the method's"},
    )

    @property
    def recipe(self) -> Method:
        """What the method's name stands for."""
        return METHODS[self.name or "SortedNet"]

    def resolved(self) -> "MethodConfig":
        """The parts instead of the name; what was said of them overrides it. What has no effect is as if unsaid."""
        recipe = self.recipe
        update = {"name": None} | self.unsaid(
            sampler=recipe.sampler,
            objective=recipe.objective,
            sharing=recipe.sharing,
            accumulation=recipe.accumulation,
            distillation=recipe.distillation,
        )
        if update.get("sharing", self.sharing) != "extracted":
            update["extract_at"] = MethodConfig.model_fields["extract_at"].default
        return self.model_copy(update=update)
