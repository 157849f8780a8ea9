"""Image classification as a task: cropped and mirrored images, cross-entropy, accuracy."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.acceleration import ClassificationKernels
from trainers.config.norm import CALIBRATION_BATCH
from trainers.data.images.arrays import ImageArrays
from trainers.data.thinning import evenly_spread
from trainers.randomness import stream
from trainers.tasks.measures import Measure, measured, with_measures
from trainers.tasks.task import Batch, Inputs, Metric, Shape, precise
from trainers.training.graphs import Graphs

_EVALUATION_BATCH = {"cpu": 100, "cuda": 1000}  # images: on CPU larger activations fall out of the cache, 2× slower


class Normalisation:
    """Images of whole numbers from 0 to 255, made what networks are trained on.

    Args:
        mean, std: per channel, of pixels scaled to 0..1.
        device: where the images are.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device | None = None) -> None:
        means, deviations = torch.tensor(mean), torch.tensor(std)
        self.scale = (1 / (255 * deviations)).view(1, -1, 1, 1).to(device)
        self.shift = (-means / deviations).view(1, -1, 1, 1).to(device)

    def __call__(self, images: Tensor) -> Tensor:
        """Of images `(N, C, H, W)` uint8, in fp32."""
        return (images * self.scale).add_(self.shift)


class ImageClassification:
    """Random crop and mirror on the device, cross-entropy, accuracy in per cent. A batch has `inputs` and `targets`.

    Training images are one endless stream: a permutation per epoch, batches running across its end, so that every
    batch is full. (The published recipe ends each epoch with a batch of 80.) The padded images lie in memory with every
    crop as a view, so a batch is one indexing operation and one mirroring, with no Python per image.

    Args:
        arrays: the data, moved to `device`.
        batch_size: images per micro-batch.
        seed: of the trial; decides order and augmentation.
        device: where batches are made.
        crop_padding: pixels of zero padding around an image before a random crop of its own size; 0 for none.
        flip: mirror every other image at random.
        channels_last: memory layout of the batches.
        kernels: make batches and losses in place of torch's own operations.
        measures: what else is measured, of logits and labels.
        primary: the name of the primary metric; None: the accuracy.
    """

    metrics: tuple[Metric, ...] = (
        Metric("acc", "test accuracy", "%", higher_is_better=True, primary=True, short="accuracy"),
        Metric("loss", "test loss", "", higher_is_better=False, decimals=3),
    )

    def __init__(
        self,
        arrays: ImageArrays,
        batch_size: int,
        seed: int,
        device: torch.device,
        crop_padding: int,
        flip: bool,
        channels_last: bool = False,
        kernels: ClassificationKernels | None = None,
        measures: tuple[Measure, ...] = (),
        primary: str | None = None,
    ) -> None:
        self.metrics = with_measures(self.metrics, measures, primary)
        self._measures = measures
        self._batch_size, self._seed, self._device = batch_size, seed, device
        self._padding, self._flip = crop_padding, flip
        self._kernels = kernels
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        images = arrays.train_images.to(device)
        height, width = images.shape[2:]
        self._plain = images.contiguous()
        if kernels is None:
            self._crops = F.pad(images, (crop_padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
        self._labels = arrays.train_labels.to(device)
        self._test_images, self._test_labels = arrays.test_images.to(device), arrays.test_labels.to(device)
        self._normalise = Normalisation(arrays.mean, arrays.std, device)
        self._epochs: dict[int, Tensor] = {}
        self._test_rows = torch.arange(len(self._test_labels), device=device)
        self._evaluated: dict[int, Tensor] = {}  # by number of rows, where captured evaluations read them

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._plain.shape[1:])

    def contents(self, index: int) -> Mapping[Shape, int]:
        return {self.shape: self._batch_size}

    def example(self, shape: Shape) -> Inputs:
        assert isinstance(shape, tuple)
        return (torch.zeros(1, *shape),)

    def selection(self, index: int) -> Tensor:
        """`(4, batch size)` int64: number of the image, whether mirrored, offset down and right."""
        examples = len(self._labels)
        start, end = index * self._batch_size, (index + 1) * self._batch_size
        parts = []
        while start < end:
            epoch, offset = divmod(start, examples)
            length = min(end - start, examples - offset)
            parts.append(self._epoch(epoch)[:, offset : offset + length])
            start += length
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def gather(self, selection: Tensor) -> Batch:
        if self._kernels is not None:
            scaled = self._normalise.scale, self._normalise.shift, self._padding, self._layout
            images, labels = self._kernels.cropped(selection, self._plain, self._labels, *scaled)
            return {"inputs": images, "targets": labels}
        chosen, mirrored, down, right = selection.unbind()
        crops = self._crops[chosen, :, down, right]
        if self._flip:
            crops = torch.where(mirrored.bool()[:, None, None, None], crops.flip(3), crops)
        return {"inputs": self._normalised(crops), "targets": self._labels[chosen]}

    def inputs(self, batch: Batch) -> Inputs:
        return (batch["inputs"],)

    def _epoch(self, epoch: int) -> Tensor:
        """The selections of one whole epoch, in order: one transfer to the device per epoch."""
        if epoch not in self._epochs:
            self._epochs = {known: draw for known, draw in self._epochs.items() if known == epoch - 1}
            examples = len(self._labels)
            augment = stream(self._seed, "augmentation", epoch)
            mirrored = augment.integers(2, size=examples) if self._flip else np.zeros(examples, np.int64)
            down, right = augment.integers(2 * self._padding + 1, size=(2, examples))
            # The crop of a mirrored image is the mirrored crop at the offset from the other side.
            right = np.where(mirrored, 2 * self._padding - right, right)
            order = stream(self._seed, "order", epoch).permutation(examples)
            self._epochs[epoch] = torch.from_numpy(np.stack([order, mirrored, down, right])).to(self._device)
        return self._epochs[epoch]

    def calibration(self, count: int) -> Iterator[Inputs]:
        order = self._epoch(0)[0]
        for chosen in order[: count * CALIBRATION_BATCH].split(CALIBRATION_BATCH):
            yield (self._normalised(self._plain[chosen]),)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        if self._kernels is not None and outputs.shape[1] <= self._kernels.most_classes:
            return self._kernels.cross_entropy(outputs, batch["targets"])
        return F.cross_entropy(precise(outputs), batch["targets"])

    def imitation(self, outputs: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy with the teacher's probabilities (in-place distillation, Yu & Huang 2019)."""
        return F.cross_entropy(precise(outputs), precise(teacher).softmax(1))

    def evaluate(
        self, forward: Callable[[Tensor], Tensor], graphs: Graphs, name: Hashable, examples: int | None = None
    ) -> dict[str, float]:
        total = torch.zeros(2, dtype=torch.float64, device=self._device)
        kept: list[Tensor] = []
        tested = self._test_rows
        if examples is not None:
            tested = evenly_spread(examples, len(tested)).to(self._device)
        for rows in tested.split(_EVALUATION_BATCH[self._device.type]):
            if graphs.capturing:
                rows = self._evaluated.setdefault(len(rows), rows.clone()).copy_(rows)
            work = partial(self._measured, forward, rows)
            sums, outputs = graphs.run(("evaluation", name, len(rows)), work, pure=True)
            total += sums
            if self._measures:
                kept.append(outputs.clone())
        correct, loss = total.tolist()
        measured_on = self._test_labels[tested]
        more = measured(self._measures, torch.cat(kept), measured_on) if self._measures else {}
        return {"acc": 100 * correct / len(tested), "loss": loss / len(tested), **more}

    def _measured(self, forward: Callable[[Tensor], Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
        """`(2,)` float64: how many of these test images are classified rightly, and the sum of their losses; logits."""
        labels = self._test_labels[rows]
        outputs = precise(forward(self._normalised(self._test_images[rows])))
        correct = (outputs.argmax(1) == labels).sum().double()
        return torch.stack([correct, F.cross_entropy(outputs, labels, reduction="sum").double()]), outputs

    def _normalised(self, images: Tensor) -> Tensor:
        return self._normalise(images).contiguous(memory_format=self._layout)
