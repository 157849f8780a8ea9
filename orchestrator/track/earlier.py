"""Trials of the same settings that an earlier version recorded: under other keys, by which nothing finds them."""

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import UserError
from orchestrator.study.identity import canonical
from orchestrator.study.plan import Plan
from orchestrator.study.study import Names
from orchestrator.track.recorder import settings_text
from orchestrator.track.tracker import BASE, SETTINGS, Tracker


def of_an_earlier_version(tracker: Tracker, plan: Plan, full_names: Names) -> str:
    """Where they are and how to go on, in a line; nothing if there are none, or some of the plan's own beside them."""
    experiment = tracker.experiment(plan.study.name, create=False)
    if experiment is None or tracker.standings(experiment, plan.base_key):
        return ""
    for parent in tracker.parents(experiment, plan.preset):
        tags = parent.data.tags
        if (
            BASE not in tags
            or tags[BASE] == plan.base_key
            or not _the_same(tags.get(SETTINGS, ""), plan.base, full_names)
        ):
            continue
        finished = [
            key for key, trial in tracker.standings(experiment, tags[BASE]).items() if trial.status == "FINISHED"
        ]
        if finished:
            made_by = f"{tags.get('version.sortednet-studies', 'unknown')}, commit {tags.get('git.commit', 'none')}"
            return (
                f"{len(finished)} finished trials of these settings are in this store under other keys, since another "
                f"version, precision or content of the data made them ({made_by}): report them with that version, or "
                "run the study again, which leaves them as they are"
            )
    return ""


def _the_same(written: str, base: Mapping[str, Any], full_names: Names) -> bool:
    """Whether settings, as a parent run holds them, are these; of such as are too long to be held, word for word."""
    if written == settings_text(base):
        return True
    try:
        return canonical(full_names(json.loads(written))) == canonical(base)
    except (ValueError, TypeError, AttributeError, UserError):  # those of another study, or of a setting that is gone
        return False
