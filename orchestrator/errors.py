"""Errors as the reader meets them: one line each."""

from collections.abc import Iterable
from difflib import get_close_matches

from orchestrator.secrecy.redaction import without_passwords

_LONGEST_NAME, _LONGEST_CHOICE = 80, 250  # characters


class UserError(Exception):
    """One line saying what was wrong, where, and what to do. Raised before anything starts; the exit status is 2."""


class Stopped(Exception):
    """A study that had to end early, with nothing asked wrongly; run again it goes on. The exit status is 1."""


class ClusterLost(Stopped):
    """What runs the trials is gone. What they record still reaches the tracking store."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the nearest that does, or as many of them as go into a line."""
    choices = list(known)
    near = get_close_matches(name[:_LONGEST_NAME], choices, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {_some(choices)}"
    return UserError(f"unknown {kind} {name[:_LONGEST_NAME]!r}: {hint}")


def _some(names: list[str]) -> str:
    room = _LONGEST_CHOICE
    for index, name in enumerate(names):
        room -= len(name) + len(", ")
        if room < 0:
            return f"{', '.join(names[:index])}, … ({len(names)} in all)"
    return ", ".join(names)


def reason(error: BaseException) -> str:
    """What it says in one line, without passwords."""
    lines = [line.strip() for line in without_passwords(str(error)).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("(raised as a result of")]  # SQLAlchemy's, before the reason
    return (told or [type(error).__name__])[0][:300]
