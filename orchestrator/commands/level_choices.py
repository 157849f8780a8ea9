"""Levels as they are asked for on the command line: `method=NS,norm=batch`.

Levels are called what they are called, with commas and equals signs in them: `sampler=annealed(largest,0.5)`. So a text
is read by the names that there are. Where it can be read in two ways it is refused, and quotes as in CSV say which is
meant: `f="a,f=b"`, with a quote inside doubled.
"""

import json
import re
from collections.abc import Iterator, Sequence

from orchestrator.errors import UserError, unknown
from orchestrator.study.levels import by_value
from orchestrator.study.study import Factor

Pair = tuple[str, str]
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_LONGEST = 80  # characters of a text in an error


def chosen_levels(option: str, text: str, factors: Sequence[Factor]) -> list[Pair]:
    """The (factor, level) pairs that a text names; a level by its name, or by a number or other value it stands for.

    Raises:
        UserError: it names none that there are, or can be read in two ways.
    """
    by_name = {factor.name: factor for factor in factors}
    starts = [0, *(place + 1 for place, character in enumerate(text) if character == ",")]
    ways = {len(text) + 1: 1}  # in how many ways the rest can be read, by where it starts
    steps: dict[int, tuple[Pair, int]] = {}
    for start in reversed(starts):
        for pair, end in _candidates(text, start, by_name):
            if ways.get(end + 1):
                ways[start] = min(2, ways.get(start, 0) + ways[end + 1])
                steps[start] = pair, end + 1
    if ways.get(0, 0) > 1:
        raise UserError(f'{option} {_shown(text)} can be read in two ways: put levels in quotes, FACTOR="LEVEL"')
    if not ways.get(0):
        raise _why_not(option, text, by_name)
    found, place = list[Pair](), 0
    while place in steps:
        pair, place = steps[place]
        found.append(pair)
    return found


def _candidates(text: str, start: int, factors: dict[str, Factor]) -> Iterator[tuple[Pair, int]]:
    """What may stand from `start` on, each with where it ends: at a comma, or with the text."""
    comma = text.find(",", start)
    equals = text.find("=", start, len(text) if comma < 0 else comma)
    name = text[start : max(start, equals)].strip()
    if name not in factors:
        return
    levels, first = factors[name].levels, equals + 1
    while text[first : first + 1] == " ":
        first += 1
    found: dict[tuple[str, int], None] = {}
    for level, end in _read(text, first, tuple(levels)):
        while end < len(text) and text[end] == " ":
            end += 1
        if level in levels and (end == len(text) or text[end] == ","):
            found[level, end] = None
    for level, end in found:
        yield (name, level), end


def _read(text: str, first: int, levels: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Levels that may begin at `first`, each with the place after it: by their names, in quotes, by their values."""
    for level in levels:
        if text.startswith(level, first):
            yield level, first + len(level)
    if quoted := _QUOTED.match(text, first):
        yield quoted[1].replace('""', '"'), quoted.end()
    try:
        _, end = json.JSONDecoder().raw_decode(text, first)
    except (ValueError, RecursionError):
        end = min(place for place in (text.find(",", first), len(text)) if place >= 0)  # .5, which is no JSON
    if len(same := by_value(text[first:end], levels)) == 1:
        yield same[0], end


def _why_not(option: str, text: str, factors: dict[str, Factor]) -> UserError:
    """Of what commas separate, the first that names nothing."""
    for pair in text.split(","):
        name, equals, level = (part.strip() for part in pair.partition("="))
        if not equals:
            return UserError(f"{option} {_shown(text)}: give FACTOR=LEVEL, or several with commas")
        if name not in factors:
            return unknown("factor", name, factors)
        if level not in factors[name].levels:
            return unknown(f"level of {name}", level, factors[name].levels)
    return UserError(f"{option} {_shown(text)}: give FACTOR=LEVEL, or several with commas")


def _shown(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def completed_levels(begun: str, factors: Sequence[Factor]) -> list[str]:
    """What a text that ends in the midst of a pair may become."""
    before, comma, last = begun.rpartition(",")
    pairs = (f"{factor.name}={level}" for factor in factors for level in factor.levels)
    return [f"{before}{comma}{pair}" for pair in pairs if pair.startswith(last)]
