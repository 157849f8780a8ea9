"""Tasks: what a batch is, what is minimised and what is measured. The loop and the ledger know none of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.data.images import ImageArrays
from trainers.randomness import stream


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the device: what goes into the network, and what the task compares its output with."""

    inputs: Tensor
    targets: Tensor


class Task(Protocol):
    """Supplies batches by index, so that a resumed trial and a paired arm see the same ones."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch dimension."""

    def batch(self, index: int) -> Batch:
        """The training micro-batch number `index`, augmented: a function of (seed, index) alone."""

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Inputs of `count` training batches without augmentation, to recompute normalisation statistics."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The mean loss over the batch, a scalar."""

    def distillation_loss(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """The mean loss against another sub-model's outputs in the labels' place, a scalar."""

    def evaluate(self, forward: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Metrics over the whole test set, by name."""


_EVALUATION_BATCH = 100  # images: larger activations fall out of the processor's cache, 2× slower on CPU
_CALIBRATION_BATCH = 250


class ImageClassification:
    """Random crop and mirror on the device, cross-entropy, accuracy in per cent.

    Training images are one endless stream: a permutation per epoch, batches running across its end, so that every
    batch is full. (The published recipe ends each epoch with a batch of 80.) Both mirrorings lie padded in memory
    with every crop as a view, so a batch is one indexing operation, with no Python per image.

    Args:
        arrays: the data, moved to `device`.
        batch_size: images per micro-batch.
        seed: of the trial; decides order and augmentation.
        device: where batches are made.
        crop_padding: pixels of zero padding around an image before a random crop of its own size; 0 for none.
        flip: mirror every other image at random.
        channels_last: memory layout of the batches.
    """

    def __init__(
        self,
        arrays: ImageArrays,
        batch_size: int,
        seed: int,
        device: torch.device,
        crop_padding: int,
        flip: bool,
        channels_last: bool = False,
    ) -> None:
        self._batch_size, self._seed, self._device = batch_size, seed, device
        self._padding, self._flip = crop_padding, flip
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        images = arrays.train_images.to(device)
        padded = F.pad(images, (crop_padding,) * 4)
        both = torch.stack([padded, padded.flip(3)]) if flip else padded[None]
        height, width = images.shape[2:]
        self._crops = both.unfold(3, height, 1).unfold(4, width, 1)
        self._plain = images
        self._labels = arrays.train_labels.to(device)
        self._test_images, self._test_labels = arrays.test_images.to(device), arrays.test_labels.to(device)
        mean, std = torch.tensor(arrays.mean), torch.tensor(arrays.std)
        self._scale = (1 / (255 * std)).view(1, -1, 1, 1).to(device)
        self._shift = (-mean / std).view(1, -1, 1, 1).to(device)
        self._epochs: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self._plain.shape[1:])

    def batch(self, index: int) -> Batch:
        examples = len(self._labels)
        start = index * self._batch_size
        parts = []
        while start < (index + 1) * self._batch_size:
            epoch, offset = divmod(start, examples)
            length = min((index + 1) * self._batch_size - start, examples - offset)
            parts.append([column[offset : offset + length] for column in self._epoch(epoch)])
            start += length
        chosen, mirrored, down, right = (torch.cat(columns) for columns in zip(*parts, strict=True))
        return Batch(self._normalised(self._crops[mirrored, chosen, :, down, right]), self._labels[chosen])

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Order, mirroring and offset of every image in one epoch: one transfer to the device per epoch."""
        if epoch not in self._epochs:
            self._epochs = {known: draw for known, draw in self._epochs.items() if known == epoch - 1}
            examples = len(self._labels)
            augment = stream(self._seed, "augmentation", epoch)
            mirrored = augment.integers(2, size=examples) if self._flip else np.zeros(examples, np.int64)
            offsets = augment.integers(2 * self._padding + 1, size=(2, examples))
            columns = (stream(self._seed, "order", epoch).permutation(examples), mirrored, *offsets)
            order, mirror, down, right = (torch.from_numpy(column).to(self._device) for column in columns)
            self._epochs[epoch] = (order, mirror, down, right)
        return self._epochs[epoch]

    def calibration(self, count: int) -> Iterator[Tensor]:
        order, *_ = self._epoch(0)
        for chosen in order[: count * _CALIBRATION_BATCH].split(_CALIBRATION_BATCH):
            yield self._normalised(self._plain[chosen])

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(outputs.float(), batch.targets)

    def distillation_loss(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Cross-entropy with the teacher's probabilities (in-place distillation, Yu & Huang 2019)."""
        return F.cross_entropy(outputs.float(), teacher.float().softmax(1))

    def evaluate(self, forward: Callable[[Tensor], Tensor]) -> dict[str, float]:
        correct = torch.zeros((), dtype=torch.int64, device=self._device)
        loss = torch.zeros((), dtype=torch.float64, device=self._device)
        for images, labels in zip(
            self._test_images.split(_EVALUATION_BATCH), self._test_labels.split(_EVALUATION_BATCH), strict=True
        ):
            outputs = forward(self._normalised(images)).float()
            correct += (outputs.argmax(1) == labels).sum()
            loss += F.cross_entropy(outputs, labels, reduction="sum").double()
        examples = len(self._test_labels)
        return {"acc": 100 * correct.item() / examples, "loss": loss.item() / examples}

    def _normalised(self, images: Tensor) -> Tensor:
        return (images * self._scale).add_(self._shift).contiguous(memory_format=self._layout)
