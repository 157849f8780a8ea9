"""What the studies are trained by, imported when a command needs it: torch takes seconds, `--help` none."""

from collections.abc import Sequence

from orchestrator.trainer import Trainer


def image_trainer(task: str | None = None, metrics: Sequence[str] = (), primary: str | None = None) -> Trainer:
    """Trains image classifiers.

    Args:
        task: a task that the study's file registers, whose metrics are not the usual ones.
        metrics: those that it registers and that are measured beside the task's own.
        primary: the one that the report is about, if not the task's own.

    Raises:
        UserError: one that is not registered.
    """
    from studies.image_trainer import ImageTrainer

    return ImageTrainer(task, metrics, primary)


def text_trainer(task: str | None = None, metrics: Sequence[str] = (), primary: str | None = None) -> Trainer:
    """Fine-tunes encoders of texts; see `image_trainer`."""
    from studies.text_trainer import TextTrainer

    return TextTrainer(task, metrics, primary)
