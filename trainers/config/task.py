"""What every task's config has."""

from typing import Self

from pydantic import Field

from trainers.config.part import Part, Text, Whole
from trainers.errors import ConfigError


class TaskConfig(Part):
    """What is learned: the base of every kind of task's config."""

    dataset: Text
    batch_size: Whole
    train_examples: Whole | None = Field(
        default=None,
        ge=1,
        le=1 << 40,
        description="Trains on so many of the training examples, evenly spread over the data set; null: on all.",
        json_schema_extra={"unit": "examples"},
    )
    interim_examples: Whole | None = Field(
        default=None,
        ge=1,
        le=1 << 40,
        description="Evaluations before the last are on so many of the test examples, evenly spread over the test set; "
        "null: on all.",
        json_schema_extra={"unit": "examples"},
    )

    def of(self, examples: int | None) -> Self:
        """The config for a data set of so many training examples; None: nobody knows how many.

        Raises:
            ConfigError: it has fewer than are to be trained on, or a batch has more.
        """
        wanted = self.train_examples
        if wanted is None or wanted == examples:
            return self.model_copy(update={"train_examples": None})
        if examples is not None and wanted > examples:
            raise ConfigError(f"task.train_examples={wanted}: {self.dataset} has {examples:,}")
        if wanted < self.batch_size:
            raise ConfigError(f"task.train_examples={wanted} are fewer than a batch has, batch_size={self.batch_size}")
        return self
