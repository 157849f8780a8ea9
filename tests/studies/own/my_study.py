"""A study with a part of every kind that a study's own file may register, to be copied anywhere and run there."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from beside import smallest_of
from numpy.typing import NDArray
from torch import Tensor, nn

from orchestrator import Factor, Preset, Study, main
from orchestrator.trainer import Trainer
from studies.binding import image_trainer
from trainers import ImageArrays, Lattice, Moment, SubModel, register
from trainers.tasks.images import ImageClassification
from trainers.tasks.task import Batch, precise

SIDE = 8


@register.sampler("cheap-first")
def cheap_first(moment: Moment, power: float = 1.0) -> NDArray[np.float64]:
    costs = [float(moment.macs(target)) for target in moment.lattice]
    return np.array([(smallest_of(costs) / cost) ** power for cost in costs])


@register.objective("with-smallest")
def with_smallest(drawn: tuple[SubModel, ...], lattice: Lattice) -> tuple[SubModel, ...]:
    return tuple(dict.fromkeys((*drawn, lattice.smallest)))


@register.network("two-layers")
class TwoLayers(nn.Module):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(shape[0], 8, 3, padding=1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.first(x)).relu().mean((2, 3)))  # type: ignore[no-any-return]


@register.dataset("stripes")
def stripes() -> ImageArrays:
    assert Path(__file__).name == "my_study.py"
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=96)
    images = rng.integers(0, 120, size=(96, 1, SIDE, SIDE), dtype=np.uint8)
    images[labels == 0, :, ::2] += 100  # lie
    images[labels == 1, :, :, ::2] += 100  # stand
    return ImageArrays.of(images[:64], labels[:64], images[64:], labels[64:])


@register.metric("recall", title="test recall of standing stripes", unit="%")
def recall(logits: Tensor, labels: Tensor) -> Tensor:
    return 100 * (logits.argmax(1)[labels == 1] == 1).double().mean()


@register.task("smoothed")
class Smoothed(ImageClassification):
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(precise(outputs), batch["targets"], label_smoothing=0.1)


def trainer() -> Trainer:
    return image_trainer(metrics=["recall"], primary="recall")


SETTINGS = {"network": "two-layers", "dataset": "stripes", "widths": [0.5, 1.0], "norm": "batch", "batch_size": 8}
RECIPE = {"objective": "with-smallest", "task": "smoothed", "updates": 12, "evaluations": 3, "precision": "fp32"}
STUDY = Study(
    name="my_study",
    title="Cheap sub-models first?",
    presets={"quick": Preset({**SETTINGS, **RECIPE}, seeds=2, about="stripes, seconds")},
    factors=(Factor.of("sampler", ["uniform", "cheap-first", "cheap-first(2)"]),),
    baseline={"sampler": "uniform"},
)

if __name__ == "__main__":
    torch.set_num_threads(1)
    main(STUDY, trainer)
