"""Errors a user can mend: one line, saying what was wrong, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST_NAME, _LONGEST_CHOICE = 80, 250  # characters


class ConfigError(ValueError):
    """A setting that cannot be used. Raised before anything starts."""


class DataError(RuntimeError):
    """A data set that cannot be had or is not what it claims to be."""


def unknown(kind: str, name: object, known: Iterable[str]) -> ConfigError:
    """The error for a name that does not exist, with the nearest that does, or as many of them as go into a line."""
    choices, asked = sorted(known), str(name)[:_LONGEST_NAME]
    near = get_close_matches(asked, choices, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {_some(choices)}"
    return ConfigError(f"unknown {kind} {asked!r}: {hint}")


def _some(names: list[str]) -> str:
    room = _LONGEST_CHOICE
    for index, name in enumerate(names):
        room -= len(name) + len(", ")
        if room < 0:
            return f"{', '.join(names[:index])}, … ({len(names)} in all)"
    return ", ".join(names)
