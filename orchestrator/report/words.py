"""Counts and lists as sentences have them."""

from collections.abc import Sequence

ONE_SEED = "One seed, so no spread is known and nothing is separated."
_MOST_NAMED = 3


def counted(count: int, word: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:,} {word}{'s' * (count != 1)}"


def capital(text: str) -> str:
    """As a sentence begins; names in it stay as they are."""
    return text[:1].upper() + text[1:]


def each(names: Sequence[str], text: str) -> str:
    """`a, 41.20 %`, `a and b, 41.20 % each`."""
    return f"{listed(names)}, {text}{' each' * (len(names) > 1)}"


def percentage(share: float) -> str:
    """`92 %` of a share 0..1; neither all nor none where it is only nearly that."""
    text = f"{100 * share:.0f}"
    if text == "100" and share < 1:
        return "> 99 %"
    return "< 1 %" if text == "0" and share > 0 else f"{text} %"


def listed(names: Sequence[str], most: int = _MOST_NAMED, joint: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 4 more`."""
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} {joint} {len(names) - most} more"
    *some, last = names
    return f"{', '.join(some)} {joint} {last}" if some else last
