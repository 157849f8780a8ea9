"""What the studies are trained by, imported when a command needs it: torch takes seconds, `--help` none."""

from orchestrator.trainer import Trainer


def image_trainer() -> Trainer:
    """Trains image classifiers."""
    from studies.image_trainer import ImageTrainer

    return ImageTrainer()


def text_trainer() -> Trainer:
    """Fine-tunes encoders of texts."""
    from studies.text_trainer import TextTrainer

    return TextTrainer()
