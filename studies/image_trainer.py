"""What the studies of images are trained by."""

from orchestrator.trainer import ServedModel
from studies.declaration import declaration
from studies.trainer import LoopTrainer
from trainers.config.image_trial import ImageTrialConfig
from trainers.trials.images import IMAGES

_SERVED = ServedModel("trainers.extraction.served_images", "uint8", 4, ("torch", "torchvision", "safetensors", "numpy"))


class ImageTrainer(LoopTrainer[ImageTrialConfig]):
    """Trains image classifiers."""

    kind = IMAGES
    declaration = declaration(IMAGES.metrics, short={"acc": "accuracy"}, decimals={"loss": 3}, served=_SERVED)
    name = "sortednet image classification 5"  # raised whenever the same config gives another result
