"""Every setting of a kind of trial in words, from its declaration: the one place that says what a field means."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from trainers.config.names import short_names
from trainers.config.network import SubModelsConfig
from trainers.config.part import Part, choices, extra, parts
from trainers.config.trial import TrialConfig

_ONE = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_TINY, _HUGE = 1e-5, 1e5
_MANY = {int: "whole numbers", float: "numbers", str: "texts"}


@dataclass(frozen=True)
class Described:
    """A setting in words.

    Attributes:
        name, short: its full name, and the shortest that means no other.
        default: as `--set` takes it; or whose it is, where that is not known yet: `the method's`.
        takes: what values.
        about: a sentence.
        choices: the values, where they are few.
        unit: what it is counted in; empty for nothing.
    """

    name: str
    short: str
    default: str
    takes: str
    about: str
    choices: tuple[str, ...]
    unit: str


@dataclass(frozen=True)
class _Declared:
    """A field where it is declared.

    Attributes:
        part: the class.
        default: what it is unless it is said.
        is_usual: whether the trial is of this class unless another is said.
    """

    part: type[Part]
    field: FieldInfo
    default: Any
    is_usual: bool


def described(kind: type[TrialConfig]) -> tuple[Described, ...]:
    """The settings of a kind of trial, in the order in which they are declared.

    What several kinds of one part have, `optimizer.learning_rate`, is one setting with a default for each. Of
    dimensions those of single stages (`width_2`) are left out.
    """
    found: dict[str, list[_Declared]] = {}
    for name, declared in _declared(kind):
        found.setdefault(name, []).append(declared)
    short = short_names(kind)
    settings: list[Described] = []
    for name, several in found.items():
        if issubclass(several[0].part, SubModelsConfig) and name.endswith(".dimensions"):
            settings += _dimensions(name, several[0], short)
        else:
            settings.append(_in_words(name, several, short))
    return tuple(settings)


def _declared(part: type[Part], prefix: str = "", usual: Part | None = None) -> Iterator[tuple[str, _Declared]]:
    """Every field that is no part itself, by its full name."""
    for name, field in part.model_fields.items():
        has = usual is not None and type(usual) is part
        default = getattr(usual, name) if has else field.get_default(call_default_factory=True)
        for inner in parts(field):
            yield from _declared(inner, f"{prefix}{name}.", default)
        if not parts(field):
            yield f"{prefix}{name}", _Declared(part, field, default, has or usual is None)


def _in_words(name: str, several: list[_Declared], short: Mapping[str, str]) -> Described:
    first = several[0].field
    one_of = tuple(dict.fromkeys(choice for each in several for choice in choices(each.field)))
    return Described(
        name,
        short.get(name, name),
        _default(name, several),
        f"one of {', '.join(one_of)}" if one_of else _values(first.annotation, _bounds(first)),
        first.description or "",
        one_of,
        str(extra(first, "unit") or ""),
    )


def _default(name: str, several: list[_Declared]) -> str:
    """One for all kinds of its part, or each with the kind that has it."""
    if whose := extra(several[0].field, "usual"):
        return str(whose)
    if name.endswith(".kind"):
        return next(_text(each.default) for each in several if each.is_usual)
    texts = {_text(each.default): each.part for each in several}
    if len(texts) == 1 and any(each.is_usual for each in several):
        return next(iter(texts))
    return ", ".join(f"{text} ({part.model_fields['kind'].default})" for text, part in texts.items())


def _dimensions(name: str, declared: _Declared, short: Mapping[str, str]) -> Iterator[Described]:
    """A setting for each dimension of sub-models; what they mean is said together."""
    units = str(extra(declared.field, "unit") or "")
    means = dict(each.split(": ", 1) for each in units.split("; ") if ": " in each)
    assert issubclass(declared.part, SubModelsConfig)
    for dimension, kind in declared.part.DIMENSIONS.items():
        if "_" in dimension:
            continue
        full = f"{name}.{dimension}"
        default = _text(declared.default[dimension]) if dimension in declared.default else "[]"
        about = declared.field.description or ""
        yield Described(
            full, short.get(full, full), default, f"a list of {_MANY[kind]}", about, (), means.get(dimension, "")
        )


def _values(annotation: Any, bounds: str = "") -> str:
    """What a field takes, by its type."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _values(inner[0], bounds)
    if origin is tuple:
        kind = get_args(inner[0])[0] if get_origin(inner[0]) is Annotated else inner[0]
        return f"a list of {_MANY.get(kind, 'pairs')}"
    if NoneType in inner:
        return " or ".join([*(_values(each, bounds) for each in inner if each is not NoneType), "null"])
    return f"{_ONE.get(annotation, 'a value')}{bounds}"


def _bounds(field: FieldInfo) -> str:
    """Those that somebody may come upon; others are there so that nothing overflows."""
    metadata = [*field.metadata, *(each for part in get_args(field.annotation) for each in get_args(part)[1:])]
    bounds = {end: getattr(each, end) for each in metadata for end in ("ge", "le") if hasattr(each, end)}
    if bounds.keys() != {"ge", "le"}:
        return ""
    low = " above 0" if 0 < bounds["ge"] < _TINY else f" from {bounds['ge']:g}"
    return low if bounds["le"] >= _HUGE else f"{low} to {bounds['le']:g}"


def _text(value: Any) -> str:
    """A value as `--set` takes it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
