"""What the studies of images are trained by, imported when a command needs it: torch takes seconds, `--help` none."""

from orchestrator.trainer import Trainer


def image_trainer() -> Trainer:
    """Trains image classifiers."""
    from studies.image_trainer import ImageTrainer

    return ImageTrainer()
