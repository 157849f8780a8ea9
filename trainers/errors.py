"""Errors a user can mend: one line, saying what was wrong, where, and what to do."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from traceback import walk_tb

from trainers.own.imports import is_installed

_HERE = Path(__file__).parent
_LONGEST_NAME, _LONGEST_CHOICE = 80, 250  # characters


class ConfigError(ValueError):
    """A setting that cannot be used. Raised before anything starts."""


class DataError(RuntimeError):
    """A data set that cannot be had or is not what it claims to be."""


def place_and_reason(error: Exception) -> str:
    """`ValueError: …, raised at my_study.py, line 12`: of somebody's own code, at its innermost place."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    for frame, line in reversed([*walk_tb(error.__traceback__)]):
        file = Path(frame.f_code.co_filename)
        if not file.is_relative_to(_HERE) and not is_installed(file):
            return f"{said}, raised at {file.name}, line {line}"
    return said


def unknown(kind: str, name: object, known: Iterable[str]) -> ConfigError:
    """The error for a name that does not exist, with the nearest that does, or as many of them as go into a line."""
    choices, asked = sorted(known), str(name)[:_LONGEST_NAME]
    near = nearest(asked, choices)
    hint = f"did you mean {near!r}?" if near else f"choose from {_some(choices)}"
    return ConfigError(f"unknown {kind} {asked!r}: {hint}")


def _some(names: list[str]) -> str:
    room = _LONGEST_CHOICE
    for index, name in enumerate(names):
        room -= len(name) + len(", ")
        if room < 0:
            return f"{', '.join(names[:index])}, … ({len(names)} in all)"
    return ", ".join(names)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most likely meant; empty if none is.

    The same in another case (`ns`), the one that it has the initials of (`lr`), or one that is spelt much like it.
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
