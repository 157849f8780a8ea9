"""Errors as the reader meets them: one line each."""

from collections.abc import Iterable
from difflib import get_close_matches

from orchestrator.secrecy.redaction import without_passwords


class UserError(Exception):
    """One line saying what was wrong, where, and what to do. Raised before anything starts; the exit status is 2."""


class Stopped(Exception):
    """A study that had to end early, with nothing asked wrongly; run again it goes on. The exit status is 1."""


class ClusterLost(Stopped):
    """What runs the trials is gone. What they record still reaches the tracking store."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the nearest that does."""
    choices = list(known)
    near = get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(choices)}"
    return UserError(f"unknown {kind} {name[:80]!r}: {hint}")


def reason(error: BaseException) -> str:
    """What it says in one line, without passwords."""
    lines = [line.strip() for line in without_passwords(str(error)).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("(raised as a result of")]  # SQLAlchemy's, before the reason
    return (told or [type(error).__name__])[0][:300]
