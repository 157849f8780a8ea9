"""Errors that are the reader's to mend."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """One line saying what was wrong, where, and what to do. Raised before anything starts; the exit status is 2."""


class Stopped(Exception):
    """A study that had to end early, with nothing asked wrongly; run again it goes on. The exit status is 1."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the nearest that does."""
    choices = list(known)
    near = get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(choices)}"
    return UserError(f"unknown {kind} {name[:80]!r}: {hint}")
