"""Numbers and values as they are typed: in ASCII digits, finite, and small enough to be meant.

Python reads more than anybody types on purpose (`１`, `1_0`, `nan`, five thousand digits), and click less than it says:
a range lets `nan` pass.
"""

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from orchestrator.errors import UserError
from orchestrator.study.levels import LEADING_POINT

_WHOLE, _DECIMAL = re.compile(r"[+-]?[0-9]+"), re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
if TYPE_CHECKING:
    _WholeType = click.ParamType[int]
    _DecimalType = click.ParamType[float]
else:  # not generic in every click that is supported
    _WholeType = click.ParamType
    _DecimalType = click.ParamType

LONGEST_SECONDS = 1e9  # some thirty years
SHARES = 0.0001, 1e6  # of processors and GPUs: Ray counts in ten thousandths
_MOST_DIGITS, _MOST_SEEDS, _DEEPEST, _LONGEST = 30, 10_000, 20, 80


class WholeNumber(_WholeType):
    """A whole number between two bounds, both allowed."""

    name = "integer"

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not _WHOLE.fullmatch(value) or len(value) > _MOST_DIGITS or not self.low <= int(value) <= self.high:
            self.fail(f"{shown(value)}: give a whole number from {self.low:,} to {self.high:,}", param, ctx)
        return int(value)


class Decimal(_DecimalType):
    """A number between two bounds, both allowed, or besides zero; or any finite one."""

    name = "number"

    def __init__(self, low: float | None = None, high: float | None = None, or_zero: bool = False) -> None:
        self.low, self.high, self.or_zero = low, high, or_zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        number = float(value) if _DECIMAL.fullmatch(value) and len(value) <= _LONGEST else float("nan")
        low, high = self.low if self.low is not None else -_LARGEST, self.high if self.high is not None else _LARGEST
        if not (low <= number <= high or (self.or_zero and number == 0)):
            self.fail(f"{shown(value)}: give a number{self._bounds}", param, ctx)
        return abs(number) if number == 0 else number

    @property
    def _bounds(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f"{', 0 or' if self.or_zero else ''} from {self.low:g} to {self.high:,.15g}"


_LARGEST = 1e300


def seeds(text: str | None, usual: int) -> tuple[int, ...]:
    """The seeds that `--seeds` names: so many, or a list.

    Raises:
        UserError: none, one twice, too many or too large.
    """
    if text is None:
        return tuple(range(usual))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch("[0-9]+", part) for part in parts):
        raise UserError(f"--seeds {shown(text)}: give a number of seeds (3) or a list of whole numbers (0,1,2)")
    if "," not in text:
        if len(parts[0]) > _MOST_DIGITS or not 1 <= int(parts[0]) <= _MOST_SEEDS:
            raise UserError(f"--seeds {shown(text)}: give from 1 to {_MOST_SEEDS} seeds")
        return tuple(range(int(parts[0])))
    if len(parts) > _MOST_SEEDS:
        raise UserError(f"--seeds {shown(text)}: give from 1 to {_MOST_SEEDS} seeds")
    found: dict[int, None] = {}
    for part in parts:
        if len(part) > _MOST_DIGITS or int(part) >= 1 << 63:
            raise UserError(f"--seeds {shown(text)}: seed {shown(part)} is too large, the limit is 2^63 − 1")
        if int(part) in found:
            raise UserError(f"--seeds {shown(text)}: seed {int(part)} is given twice")
        found[int(part)] = None
    return tuple(found)


def setting(assignment: str) -> tuple[str, Any]:
    """The name and value of `KEY=VALUE`; the value is JSON where it can be, else a text.

    Raises:
        UserError: no `=`, or nothing before it; JSON that says something twice, is nested without end or holds a number
            beyond all bounds.
    """
    key, equals, value = assignment.partition("=")
    if not equals or not key:
        raise UserError(f"--set {shown(assignment)}: give KEY=VALUE")

    def refuse(why: str) -> NoReturn:
        raise UserError(f"--set {shown(assignment)}: {why}")

    def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, inner in pairs:
            if name in found:
                refuse(f"{shown(name)} is given twice")
            found[name] = inner
        return found

    def finite(text: str) -> float:
        if not abs(number := float(text)) <= _LARGEST:
            refuse(f"{shown(text)} is too large a number")
        return number

    def no_number(text: str) -> NoReturn:
        raise ValueError(text)  # NaN and Infinity, which are no JSON: a text

    try:
        read = json.loads(
            LEADING_POINT.sub(r"\g<1>0.", value), object_pairs_hook=once, parse_float=finite, parse_constant=no_number
        )
    except ValueError:
        return key, value
    except RecursionError:
        refuse("it is nested too deeply")
    if _depth(read) > _DEEPEST:
        refuse("it is nested too deeply")
    return key, read


def _depth(value: Any) -> int:
    """How deeply lists and mappings are nested."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, list | dict)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def shown(text: str) -> str:
    """What was typed, cut where it is long."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
