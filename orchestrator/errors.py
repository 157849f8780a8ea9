"""Errors as the reader meets them: one line each."""

import re
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
    near = nearest(name[:_LONGEST_NAME], choices)
    hint = f"did you mean {near!r}?" if near else f"choose from {_some(choices)}"
    return UserError(f"unknown {kind} {name[:_LONGEST_NAME]!r}: {hint}")


def _some(names: list[str]) -> str:
    room = _LONGEST_CHOICE
    for index, name in enumerate(names):
        room -= len(name) + len(", ")
        if room < 0:
            return f"{', '.join(names[:index])}, … ({len(names)} in all)"
    return ", ".join(names)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most likely meant; empty if none is.

    The same in another case (`ns`), the one that it has the initials of (`lr`), or one that is
    spelt much like it.
    """
    choices = list(known)
    said = name.casefold()
    by_case = {choice.casefold(): choice for choice in reversed(choices)}
    if said in by_case:
        return by_case[said]
    if len(said) > 1 and (abbreviated := [choice for choice in choices if _initials(choice) == said]):
        return abbreviated[0]
    near = get_close_matches(said, by_case, n=1, cutoff=0.5)
    return by_case[near[0]] if near else ""


def _initials(name: str) -> str:
    """`lr` of `learning_rate`, `sn` of `SortedNet`."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    return "".join(word[0] for word in words).casefold() if len(words) > 1 else ""


def reason(error: BaseException) -> str:
    """What it says in one line, without passwords."""
    lines = [line.strip() for line in without_passwords(str(error)).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("(raised as a result of")]  # SQLAlchemy's, before the reason
    return (told or [type(error).__name__])[0][:300]
