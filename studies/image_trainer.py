"""What the studies of images are trained by."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.declaration import Arrays, Declaration, ServedModel
from studies.trainer import Later, LoopTrainer
from trainers.config.image_trial import ImageTrialConfig

if TYPE_CHECKING:
    from trainers.trials.kind import TrialKind


def _kept(config: Mapping[str, Any]) -> Mapping[str, str]:
    from trainers.extraction.served_images import kept_beside

    return kept_beside(config)


_SERVED = ServedModel(
    "trainers.extraction.served_images",
    Arrays("uint8", 4),
    ("torch", "torchvision", "safetensors", "numpy"),
    _kept,
    {"trust_code": False},
)


def _kind() -> "TrialKind[ImageTrialConfig]":
    from trainers.trials.images import IMAGES

    return IMAGES


def _declaration() -> Declaration:
    from studies.declaration import declaration

    return declaration(_kind().task.metrics, ImageTrialConfig, served=_SERVED)


class ImageTrainer(LoopTrainer[ImageTrialConfig]):
    """Trains image classifiers."""

    config = ImageTrialConfig
    kind = Later(_kind)
    declaration = Later(_declaration)
    served = _SERVED
    name = "sortednet image classification 5"  # raised whenever the same config gives another result
