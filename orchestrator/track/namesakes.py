"""Two studies of one name in different files, which would share an experiment, parent runs and the report's folder.

A study is found again by its name: so it may grow, and its file be moved or edited, without losing what it has. A
second one that happens to have the same name would overwrite the first one's report with its own each time. It is
told by its file, and by what it compares: another file that is still there, and whose study is not this one with more
or fewer levels, is another study's.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.run.environment import is_submitted
from orchestrator.study.identity import fingerprint
from orchestrator.study.plan import Plan
from orchestrator.track.limits import as_value
from orchestrator.track.tracker import Tracker

FILE, COMPARES = "study.file", "study.compares"
_DIGITS = 8


def refuse_namesake(tracker: Tracker, experiment: str, plan: Plan, file: Path) -> None:
    """Makes sure that what a store has under a plan's name is of the same study.

    Args:
        file: that the plan's study is in.

    Raises:
        UserError: it is another file's; names the file.
    """
    if (here := _signed(plan, file)) is None:
        return
    for parent in tracker.parents(experiment, plan.preset):
        other = parent.data.tags
        named = other.get(FILE, "")
        if named in ("", here[FILE]) or not _is_there(Path(named)) or file.samefile(named):
            continue
        if not _is_grown(other.get(COMPARES, ""), here[COMPARES]):
            raise UserError(
                f"{plan.study.name} is the name of another study in this store, that of {named}: give this one, "
                f"{file}, another name, or take another --storage"
            )


def sign(tracker: Tracker, run_id: str, plan: Plan, file: Path) -> None:
    """Says on the parent run of a plan's base config whose it is now."""
    for name, text in (_signed(plan, file) or {}).items():
        tracker.client.set_tag(run_id, name, text)


def _signed(plan: Plan, file: Path) -> dict[str, str] | None:
    """Tags; None where the file says nothing: in a session without one, or a copy on a cluster."""
    if is_submitted() or not _is_there(file):
        return None
    factors = {
        factor.name: {_digest(name): _digest(patch) for name, patch in factor.levels.items()}
        for factor in plan.study.factors
    }
    compares = {"settings": _digest(plan.study.presets[plan.preset].settings), "factors": factors}
    return {FILE: as_value(str(file)), COMPARES: as_value(json.dumps(compares, sort_keys=True))}


def _digest(value: Any) -> str:
    try:
        return fingerprint(value=value)[:_DIGITS]
    except TypeError:  # of a level that nobody has asked for
        return "unknown"


def _is_grown(one: str, other: str) -> bool:
    """Whether two studies are one, which has more levels in one file than in the other."""
    try:
        first, second = json.loads(one), json.loads(other)
        pairs = [(first["factors"][name], second["factors"][name]) for name in first["factors"] | second["factors"]]
        same = first["settings"] == second["settings"]
        return same and (all(map(_has, pairs)) or all(_has((after, before)) for before, after in pairs))
    except (ValueError, KeyError, TypeError, AttributeError):  # too long to be held, or factors of different names
        return one == other


def _has(pair: tuple[Mapping[str, str], Mapping[str, str]]) -> bool:
    more, fewer = pair
    return fewer.items() <= more.items()


def _is_there(file: Path) -> bool:
    """False for one in somebody else's folder, too."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False
