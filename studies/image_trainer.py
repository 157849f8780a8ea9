"""What the studies of images are trained by."""

from studies.declaration import declaration
from studies.trainer import LoopTrainer
from trainers.config.image_trial import ImageTrialConfig
from trainers.trials.images import IMAGES


class ImageTrainer(LoopTrainer[ImageTrialConfig]):
    """Trains image classifiers."""

    kind = IMAGES
    declaration = declaration(IMAGES.task.metrics)
    name = "sortednet image classification 5"  # raised whenever the same config gives another result
