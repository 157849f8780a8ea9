"""A data set in memory: two stacks of uint8 images with their labels and the statistics that normalise them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.data.thinning import evenly_spread


@dataclass(frozen=True)
class ImageArrays:
    """Images `(N, C, H, W)` uint8 and labels `(N,)` int64, for training and testing.

    Attributes:
        mean: per channel, of pixels scaled to 0..1, subtracted before training.
        std: per channel, divided by.
        checksum: identifies the content.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checksum: str

    def __post_init__(self) -> None:
        for images, labels in ((self.train_images, self.train_labels), (self.test_images, self.test_labels)):
            if images.dtype != torch.uint8 or images.ndim != 4 or len(images) != len(labels):
                raise ValueError("images must be (N, C, H, W) uint8 with one label each")

    def thinned(self, count: int | None) -> "ImageArrays":
        """With so many of the training images, evenly spread; None: with all.

        Raises:
            DataError: there are fewer.
        """
        if count is None:
            return self
        kept = evenly_spread(count, len(self.train_images))
        return replace(self, train_images=self.train_images[kept], train_labels=self.train_labels[kept])

    def hold_out(self, count: int) -> "ImageArrays":
        """The last `count` training images in the test set's place, to choose a recipe without touching the latter."""
        return ImageArrays(
            self.train_images[:-count],
            self.train_labels[:-count],
            self.train_images[-count:],
            self.train_labels[-count:],
            self.mean,
            self.std,
            f"{self.checksum}, last {count} of train held out",
        )
