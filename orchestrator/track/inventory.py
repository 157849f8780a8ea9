"""What a tracking store knows, study by study: for whoever tidies a storage, which has no plan to go by."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run, ViewType

from orchestrator.track.tracker import BASE, KEY, PRESET, SETTINGS, Tracker, counting, has_diverged


@dataclass(frozen=True)
class KnownRun:
    """A run of a study, a trial's or a base config's.

    Attributes:
        key: of its trial; empty for a base config's.
        folder: where its artifacts are on this machine, if they are.
        deleted: whether it was deleted in MLflow, where it can be restored from.
        diverged: as `has_diverged`.
    """

    run_id: str
    key: str
    status: str
    folder: Path | None
    deleted: bool
    diverged: bool


@dataclass(frozen=True)
class Holding:
    """What is known of one base config of a study; preset and settings are empty if its own run is gone."""

    study: str
    preset: str
    settings: str
    base_key: str
    runs: Sequence[KnownRun]

    @property
    def trials(self) -> dict[str, KnownRun]:
        """Of every trial the run that counts, by the trial's key."""
        return counting((run.key, run) for run in self.runs if run.key and not run.deleted)

    @property
    def standings(self) -> dict[str, str]:
        """MLflow's status of every trial, by its key."""
        return {key: run.status for key, run in self.trials.items()}


def holdings(tracker: Tracker) -> list[Holding]:
    """Everything that studies recorded, in the order in which it began; runs of anybody else are passed over."""
    found: list[Holding] = []
    for experiment in sorted(tracker.client.search_experiments(), key=lambda each: each.creation_time or 0):
        by_base: dict[str, list[Run]] = {}
        for run in tracker.all_runs(experiment.experiment_id, ViewType.ALL):
            if BASE in run.data.tags:
                by_base.setdefault(run.data.tags[BASE], []).append(run)
        for base_key, runs in by_base.items():
            own = next((run.data.tags for run in runs if KEY not in run.data.tags), {})
            known = [_known(tracker, run) for run in runs]
            found.append(Holding(experiment.name, own.get(PRESET, ""), own.get(SETTINGS, ""), base_key, known))
    return found


def _known(tracker: Tracker, run: Run) -> KnownRun:
    folder, deleted = tracker.folder(run.info.artifact_uri), run.info.lifecycle_stage == "deleted"
    tags = run.data.tags
    return KnownRun(run.info.run_id, tags.get(KEY, ""), run.info.status, folder, deleted, has_diverged(tags))
