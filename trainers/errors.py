"""Errors a user can mend: one line, saying what was wrong, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class ConfigError(ValueError):
    """A setting that cannot be used. Raised before anything starts."""


class DataError(RuntimeError):
    """A data set that cannot be had or is not what it claims to be."""


def unknown(kind: str, name: object, known: Iterable[str]) -> ConfigError:
    """The error for a name that does not exist, with the nearest that does."""
    choices = sorted(known)
    near = get_close_matches(str(name), choices, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(choices)}"
    return ConfigError(f"unknown {kind} {str(name)[:80]!r}: {hint}")
