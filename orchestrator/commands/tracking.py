"""What the commands ask of the tracking store. MLflow is imported by those that find one."""

from typing import TYPE_CHECKING

from orchestrator.commands.options import Options
from orchestrator.study.plan import Plan
from orchestrator.track.address import database_file
from orchestrator.trainer import Trainer

if TYPE_CHECKING:
    from orchestrator.track.tracker import TrackedTrial, Tracker


def open_tracker(options: Options) -> "Tracker":
    """The tracking store, made if there is none yet.

    Raises:
        UserError: it cannot be reached or opened.
    """
    from orchestrator.track.tracker import Tracker  # MLflow takes two seconds to import; bad input is answered before

    return Tracker(options.tracking_uri, options.artifacts)


def find_tracker(options: Options) -> "Tracker | None":
    """The tracking store; None if there is none yet: looking creates nothing."""
    database = database_file(options.tracking_uri)
    if database is not None and not database.exists():
        return None
    return open_tracker(options)


def tracked_trials(plan: Plan, tracker: "Tracker | None") -> "dict[str, TrackedTrial]":
    """The recorded trials of a plan's base config, by key, with what they recorded."""
    experiment = experiment_id(plan, tracker)
    if tracker is None or experiment is None:
        return {}
    return {trial.key: trial for trial in tracker.trials(experiment, plan.base_key)}


def earlier_trials(plan: Plan, trainer: Trainer, tracker: "Tracker | None") -> list[str]:
    """At most one line, about trials of an earlier version that this one passes over."""
    if tracker is None:
        return []
    from orchestrator.track.earlier import of_an_earlier_version

    line = of_an_earlier_version(tracker, plan, trainer.full_names)
    return [line] if line else []


def finished_keys(plan: Plan, tracker: "Tracker | None") -> set[str]:
    """The keys of the plan's trials that have finished, from the tracker."""
    experiment = experiment_id(plan, tracker)
    if tracker is None or experiment is None:
        return set()
    standings = tracker.standings(experiment, plan.base_key)
    return {key for key, standing in standings.items() if standing.status == "FINISHED"}


def experiment_id(plan: Plan, tracker: "Tracker | None") -> str | None:
    """The study's experiment; None where it or the store is not there yet."""
    return None if tracker is None else tracker.experiment(plan.study.name, create=False)
