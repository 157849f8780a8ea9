"""Counts and lists as sentences have them."""

from collections.abc import Sequence

ONE_SEED = "One seed, so no spread is known and nothing is separated."
_MOST_NAMED = 3


def counted(count: int, word: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:,} {word}{'s' * (count != 1)}"


def listed(names: Sequence[str], most: int = _MOST_NAMED, joint: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 4 more`."""
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} {joint} {len(names) - most} more"
    *some, last = names
    return f"{', '.join(some)} {joint} {last}" if some else last
