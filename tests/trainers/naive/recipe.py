"""Settings, random numbers, methods, batches and the learning rate."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WIDTHS = (0.25, 0.5, 0.75, 1.0)
Draw = Callable[[np.random.Generator], list[float]]


def stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """Philox with the key (seed, BLAKE2b-64 of the purpose), its 256-bit counter starting at index · 2¹⁹²."""
    word = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    key, counter = np.array([seed, word], np.uint64), np.array([0, 0, 0, index], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def one_of_four(*chances: float) -> Draw:
    """One target: the first at which the chances, added up from the smallest target, exceed a uniform number."""

    def draw(rng: np.random.Generator) -> list[float]:
        number, below = rng.random() * sum(chances), 0.0
        for width, chance in zip(WIDTHS, chances, strict=True):
            below += chance
            if number < below:
                return [width]
        raise AssertionError("a uniform number of 1")

    return draw


def sandwich(rng: np.random.Generator) -> list[float]:
    """The smallest, the largest and two between them, in the order of LCS's code."""
    return [0.25, 1.0, 0.25 + 0.75 * rng.random(), 0.25 + 0.75 * rng.random()]


def all_four(rng: np.random.Generator) -> list[float]:
    return [1.0, 0.75, 0.5, 0.25]


@dataclass(frozen=True)
class Method:
    """How a step's loss is made.

    Attributes:
        draw: the widths of a micro-batch, in the order in which they run; their losses are summed.
        below: every target up to the drawn one is summed, largest first.
        distilled: all but the full width learn its predictions.
        line: norm parameters lie on a line between two endpoints.
        apart_from: share of the budget from which on every target is a network of its own, all of them trained.
    """

    draw: Draw
    below: bool = False
    distilled: bool = False
    line: bool = False
    apart_from: float = math.inf


METHODS = {
    "SortedNet": Method(one_of_four(1, 1, 1, 1)),
    "SortedNet-summation": Method(one_of_four(1, 1, 1, 1), below=True),
    "NS": Method(all_four),
    "US": Method(sandwich),
    "US-distilled": Method(sandwich, distilled=True),
    "LCS-p": Method(sandwich),
    "LCS-l": Method(sandwich, line=True),
    "Independent": Method(all_four, apart_from=0.0),
    "Extracted": Method(one_of_four(0, 0, 0, 1)),
    "Extracted-tuned": Method(one_of_four(0, 0, 0, 1), apart_from=0.5),
    "NestedDropout": Method(one_of_four(8, 4, 2, 1)),
    "SortedNet-distilled": Method(one_of_four(1, 1, 1, 1), distilled=True),
}


@dataclass(frozen=True)
class Images:
    """uint8 images `(N, C, H, W)` and labels `(N,)`; mean and SD per channel of pixels scaled to 0..1."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalised(self, pixels: Tensor) -> Tensor:
        mean, std = (torch.tensor(value, dtype=torch.float64).view(-1, 1, 1) for value in (self.mean, self.std))
        return (pixels.double() / 255 - mean) / std


@dataclass(frozen=True)
class Recipe:
    """A trial's settings, named as in a study."""

    method: Method
    norm: str
    seed: int
    updates: int
    batch_size: int
    accumulation: int
    learning_rate: float
    momentum: float
    weight_decay: float
    warmup: float
    schedule_stages: int
    crop_padding: int
    flip: bool
    evaluations: int
    recalibration_batches: int
    line_penalty: float
    unit: str = "updates"


def batch(recipe: Recipe, images: Images, number: int) -> tuple[Tensor, Tensor]:
    """Training micro-batch `number` of an endless stream of epochs: each image padded, mirrored, cropped."""
    examples, padding, chosen, labels = len(images.train), recipe.crop_padding, [], []
    height, width = images.train.shape[2:]
    for place in range(number * recipe.batch_size, (number + 1) * recipe.batch_size):
        epoch, at = divmod(place, examples)
        order = stream(recipe.seed, "order", epoch).permutation(examples)
        augment = stream(recipe.seed, "augmentation", epoch)
        mirrored = augment.integers(2, size=examples)[at] if recipe.flip else 0
        down, right = augment.integers(2 * padding + 1, size=(2, examples))[:, at]
        image = F.pad(images.train[order[at]], (padding,) * 4)
        image = image.flip(2) if mirrored else image
        chosen.append(image[:, down : down + height, right : right + width])
        labels.append(images.train_labels[order[at]])
    return images.normalised(torch.stack(chosen)), torch.stack(labels)


def rate(recipe: Recipe, progress: float) -> float:
    """Linear warm-up, then half a cosine over what remains; with stages, LCS's: constant within each."""
    stages, warmup = recipe.schedule_stages, recipe.warmup
    stage = math.floor(progress * stages)
    rising, falling = ((stage + 1) / stages, stage / stages) if stages else (progress, progress)
    if falling < warmup:
        return recipe.learning_rate * rising / warmup
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (falling - warmup) / (1 - warmup)))
