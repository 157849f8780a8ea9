"""What every task's config has."""

from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field

from trainers.config.part import Part, Text, Whole
from trainers.errors import ConfigError


def _names(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ConfigError("task.metrics: give a list of names")
    return tuple(value) or None


Names = Annotated[tuple[str, ...] | None, BeforeValidator(_names)]


class TaskConfig(Part):
    """What is learned: the base of every kind of task's config. `USUAL` names what its trials learn unless told."""

    USUAL: ClassVar[str]

    dataset: Text
    batch_size: Whole
    train_examples: Whole | None = Field(
        default=None,
        ge=1,
        le=1 << 40,
        description="Trains on so many of the training examples, evenly spread over the data set; null: on all.",
        json_schema_extra={"unit": "examples"},
    )
    name: Text | None = Field(
        default=None,
        description="What is learned of the examples: a task that the study's file registers; null: the usual one.",
        json_schema_extra={"alone": True},
    )
    metrics: Names = Field(
        default=None,
        description="What the study's file registers to be measured beside the task's own; the trainer names them.",
    )
    primary: Text | None = Field(
        default=None,
        description="The metric that the report is about, if not the task's own; the trainer names it.",
    )
    interim_examples: Whole | None = Field(
        default=None,
        ge=1,
        le=1 << 40,
        description="Evaluations before the last are on so many of the test examples, evenly spread over the test set, "
        "and go by names of their own; null: on all.",
        json_schema_extra={"unit": "examples"},
    )

    def of(self, examples: int | None) -> Self:
        """The config for a data set of so many training examples; None: nobody knows how many. The usual task is None.

        Raises:
            ConfigError: it has fewer than are to be trained on, or a batch has more.
        """
        wanted = self.train_examples
        if self.name == self.USUAL:
            return self.model_copy(update={"name": None}).of(examples)
        if wanted is None or wanted == examples:
            return self.model_copy(update={"train_examples": None})
        if examples is not None and wanted > examples:
            raise ConfigError(f"task.train_examples={wanted}: {self.dataset} has {examples:,}")
        if wanted < self.batch_size:
            raise ConfigError(f"task.train_examples={wanted} are fewer than a batch has, batch_size={self.batch_size}")
        return self
