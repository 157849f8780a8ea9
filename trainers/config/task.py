"""What every task's config has."""

from trainers.config.part import Part, Text, Whole


class TaskConfig(Part):
    """What is learned: the base of every kind of task's config."""

    dataset: Text
    batch_size: Whole
