"""The task of classifying images: which ones, how many at once, how they are varied."""

from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import Field

from trainers.config.part import Flag, Text, Whole, one_of
from trainers.config.task import TaskConfig


def _known() -> Iterable[str]:
    from trainers.data.datasets import known_datasets  # torch, which no other setting needs

    return known_datasets()


class ImagesConfig(TaskConfig):
    """What is learned, and from which images."""

    USUAL: ClassVar[str] = "classification"

    dataset: Annotated[Text, one_of("dataset", _known)] = Field(
        default="cifar10", description="The data set, by its name."
    )
    batch_size: Whole = Field(
        default=128, ge=2, le=1 << 20, description="Images per micro-batch.", json_schema_extra={"unit": "images"}
    )
    crop_padding: Whole = Field(
        default=4,
        ge=0,
        le=64,
        description="Padding of the random crop.",
        json_schema_extra={"unit": "pixels", "usual": "the data set's"},
    )
    flip: Flag = Field(
        default=True,
        description="Whether images are mirrored at random.",
        json_schema_extra={"usual": "the data set's"},
    )

    def resolved(self) -> "ImagesConfig":
        """With the data set's usual augmentation, unless another was said."""
        from trainers.data.datasets import dataset

        data = dataset(self.dataset)
        usual = self.model_copy(update=self.unsaid(crop_padding=data.crop_padding, flip=data.flip))
        return usual.of(data.train_images)
