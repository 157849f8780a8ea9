"""What a study of a single trial has left in its storage."""

from pathlib import Path

from orchestrator.study.study import Study
from orchestrator.track.tracker import TrackedTrial, Tracker


def only_trial(study: Study, storage: Path, preset: str = "smoke") -> TrackedTrial:
    """The trial, as a tracker finds it."""
    tracker = Tracker(f"sqlite:///{storage / 'mlflow.db'}", storage / "artifacts")
    experiment = tracker.experiment(study.name, create=False)
    assert experiment is not None
    (parent,) = tracker.parents(experiment, preset)
    (found,) = tracker.trials(experiment, parent.data.tags["study.base_key"])
    return found
