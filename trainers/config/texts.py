"""The task of classifying or scoring texts: which ones, how many at once, how much of each."""

from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import Field

from trainers.config.part import Text, Whole, one_of
from trainers.config.task import TaskConfig


def _known() -> Iterable[str]:
    from trainers.data.text.datasets import TEXTS  # torch, which no other setting needs

    return TEXTS


class TextsConfig(TaskConfig):
    """What is learned, and from which texts."""

    USUAL: ClassVar[str] = "texts"

    dataset: Annotated[Text, one_of("dataset", _known)] = Field(
        default="rotten-tomatoes", description="The data set, by its name."
    )
    batch_size: Whole = Field(
        default=32, ge=2, le=1 << 20, description="Texts per micro-batch.", json_schema_extra={"unit": "texts"}
    )
    length: Whole = Field(
        default=128,
        ge=4,
        le=1 << 16,
        description="The longest that a text or pair may be; what is longer is cut, of a pair the longer text first.",
        json_schema_extra={"unit": "tokens"},
    )
