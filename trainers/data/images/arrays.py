"""A data set in memory: two stacks of uint8 images with their labels and the statistics that normalise them."""

import hashlib
from dataclasses import dataclass, replace

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from trainers.data.images import given
from trainers.data.thinning import evenly_spread
from trainers.errors import ConfigError


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

    @classmethod
    def of(
        cls,
        train_images: ArrayLike | Tensor,
        train_labels: ArrayLike | Tensor,
        test_images: ArrayLike | Tensor,
        test_labels: ArrayLike | Tensor,
    ) -> "ImageArrays":
        """Of arrays of numpy or torch: normalised by the training images, identified by all that is in them.

        Args:
            train_images, test_images: `(N, C, H, W)` uint8, or other whole numbers from 0 to 255.
            train_labels, test_labels: `(N,)` whole numbers from 0.

        Raises:
            ConfigError: other shapes or numbers; images of another shape to be tested on.
        """
        images = [given.images(train_images, "training"), given.images(test_images, "test")]
        if (shape := tuple(images[0].shape[1:])) != (other := tuple(images[1].shape[1:])):
            raise ConfigError(f"training images are {shape} each and test images {other}: give all the same shape")
        labels = [
            given.labels(train_labels, "training", len(images[0])),
            given.labels(test_labels, "test", len(images[1])),
        ]
        given.refuse_gaps((labels[0], labels[1]))
        digest = hashlib.sha256()
        for each in (images[0], labels[0], images[1], labels[1]):
            digest.update(f"{tuple(each.shape)} {each.dtype}".encode())
            digest.update(each.numpy().tobytes())
        scaled = images[0].double().div(255).transpose(0, 1).flatten(1)
        mean = tuple(round(value, 4) for value in scaled.mean(1).tolist())
        std = tuple(round(value, 4) or 1.0 for value in scaled.std(1, correction=0).tolist())
        return cls(images[0], labels[0], images[1], labels[1], mean, std, digest.hexdigest())

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
