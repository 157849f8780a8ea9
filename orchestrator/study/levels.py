"""What levels are called: a text for every value, no two that read alike, and none that a table could not show.

A level is known by its name in tables, figures, tags and on the command line, so two of one name would be one arm in
the report, and two that merely look alike two rows that nobody can tell apart. What is refused is refused before
anything trains.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from orchestrator.errors import UserError
from orchestrator.study.identity import canonical

SEPARATOR = " · "  # between the levels of an arm
_LONGEST = 100  # characters of a name
LEADING_POINT = re.compile(r"^(-?)\.(?=[0-9])")  # which JSON does not know: .5
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_LOOK_ALIKES = str.maketrans(  # Cyrillic and Greek letters that are drawn as Latin ones, and dashes as a hyphen
    "АВСЕНІЈКМОРЅТХУасеіјорѕхуΑΒΕΖΗΙΚΜΝΟΡΤΥΧονυιη‐‑‒–—―−",
    "ABCEHIJKMOPSTXYaceijopsxyABEZHIKMNOPTYXovuin-------",
)


def level_name(value: Any) -> str:
    """The name of a level that stands for a value: a text is its own, anything else is written as JSON, as for `--set`.

    `8`, `0.001`, `true`, `null`, `[0.5, 1.0]`, `{"depth": [1, 2]}`.
    """
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # has no canonical form either, which is said of the setting
        with suppress(Exception):  # what a class of somebody's own may do
            return repr(value)
        return f"a value ({type(value).__name__}) that cannot be written"


def by_value(text: str, names: Iterable[str]) -> list[str]:
    """The names that say the same value as a text, in whatever spelling: `8` for `8.0`, `0.1` for `.1`."""
    said = _value(text)
    return [name for name in names if said is not None and said == _value(name)]


def _value(text: str) -> str | None:
    """The canonical form of what is JSON; None for other texts."""
    try:
        return canonical(json.loads(LEADING_POINT.sub(r"\g<1>0.", text)))
    except (ValueError, TypeError, RecursionError):
        return None


def refuse_unreadable(factor: str, names: Iterable[str], repeated: Iterable[str] = ()) -> None:
    """Refuses names of levels, or of columns, that could not be shown, told apart or asked for.

    Args:
        factor: whose they are.
        names: of its levels.
        repeated: those of them that several levels were given.

    Raises:
        UserError: the name, and why.
    """
    for name in repeated:
        raise UserError(f"{factor} has two levels named {_shown(name)}: name them apart")
    alike: dict[str, str] = {}
    for name in names:
        if why := _unreadable(name):
            raise UserError(f"a level of {factor}, {_shown(name)}, {why}: name it otherwise")
        reads = _as_read(name)
        if reads in alike:
            raise UserError(
                f"two levels of {factor} read alike, {_shown(alike[reads])} and {_shown(name)}: name them apart"
            )
        alike[reads] = name


def _unreadable(name: object) -> str:
    """Why a name cannot be shown; empty if it can."""
    if not isinstance(name, str):
        return "is no text"
    if not name.strip():
        return "is empty"
    if not name.isprintable() or _INVISIBLE.search(name):
        return "holds a line break, or another character that cannot be seen"
    if len(name) > _LONGEST:
        return f"has {len(name)} characters of at most {_LONGEST}"
    if name != name.strip():
        return "has a space at an end"
    if "  " in name:
        return "has several spaces in a row"
    if SEPARATOR in name:
        return f"holds {SEPARATOR.strip()!r}, which stands between the levels of an arm"
    if unicodedata.combining(name[0]):
        return "begins with a mark that joins the letter before it"
    return ""


def _as_read(name: str) -> str:
    """What is left of a name for a reader who sees neither case, nor spaces, nor which script a letter is of."""
    plain = unicodedata.normalize("NFKC", name).translate(_LOOK_ALIKES)
    return "".join(unicodedata.normalize("NFKC", plain.casefold()).split())


def _shown(name: object) -> str:
    """A name on one line, in characters that can be told apart."""
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:80]}…"


def names_of(levels: Mapping[str, Any]) -> dict[str, str]:
    """Levels by factor, each by its name."""
    return {factor: level_name(level) for factor, level in levels.items()}
