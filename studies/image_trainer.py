"""What the studies of images are trained by."""

from typing import TYPE_CHECKING

from orchestrator.trainer import Declaration
from studies.trainer import Later, LoopTrainer
from trainers.config.image_trial import ImageTrialConfig

if TYPE_CHECKING:
    from trainers.trials.kind import TrialKind


def _kind() -> "TrialKind[ImageTrialConfig]":
    from trainers.trials.images import IMAGES

    return IMAGES


def _declaration() -> Declaration:
    from studies.declaration import declaration

    return declaration(_kind().task.metrics)


class ImageTrainer(LoopTrainer[ImageTrialConfig]):
    """Trains image classifiers."""

    config = ImageTrialConfig
    kind = Later(_kind)
    declaration = Later(_declaration)
    name = "sortednet image classification 5"  # raised whenever the same config gives another result
