"""Takes away checkpoints of trials that are finished in the store, where a driver came no further than to say so."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from orchestrator.run.checkpoints import FINISHED, CheckpointFolder
from orchestrator.run.drivers import drivers
from orchestrator.study.plan import Plan
from orchestrator.track.tracker import OUTCOME, SECONDS, Tracker


def tidy(storage: Path, plan: Plan, finished: Sequence[str], tracker: Tracker, experiment: str) -> None:
    """Of a plan's finished trials; not of those that another driver on this storage trains, for another store.

    Args:
        finished: the keys of trials that are finished in the store.
    """
    others = drivers(storage)
    left = {key: CheckpointFolder(storage / "trials" / key) for key in finished}
    left = {
        key: folder
        for key, folder in left.items()
        if folder.has_checkpoints and not any(other.trains(key) for other in others)
    }
    if not left:
        return
    for trial in tracker.trials(experiment, plan.base_key):
        if trial.key not in left or trial.status != "FINISHED":
            continue
        with suppress(OSError, ValueError, KeyError):  # it takes room, no more
            outcome, seconds = trial.tags.get(OUTCOME, FINISHED), float(trial.tags[SECONDS])
            folder = left[trial.key]
            if (checkpoint := folder.latest()) is not None:
                ended = replace(checkpoint, outcome=outcome, seconds=seconds)
                folder.settle(ended, plan.declaration.artifacts, tracker.folder(trial.artifacts))
