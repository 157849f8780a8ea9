"""How a part of a config is declared: a frozen class, each field with its type, range, unit, default and a sentence.

pydantic checks them. What it says about a value takes several lines and names its own types; `in_a_line` says the same
to whoever wrote the value.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from trainers.errors import ConfigError, unknown

_LONGEST = 80  # characters of a value in an error


class Part(BaseModel):
    """A part of a trial's config, the whole included.

    A part holds what was said or, once resolved, every value. `model_fields_set` knows what was said: only the rest
    is taken from the method, the data set or the machine.

    A field's `json_schema_extra` may hold its `unit`; `usual`, whose value it takes unless one is said (null and
    "auto" say none); `located`, of a path, in place of which its content identifies a trial; and `alone`: the part's
    own name, given a single value, is short for this field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def unsaid(self, **usual: Any) -> dict[str, Any]:
        """Of these values the ones that were not said otherwise."""
        return {name: value for name, value in usual.items() if name not in self.model_fields_set}


def extra(field: FieldInfo, key: str) -> Any:
    """What a field's declaration says beyond pydantic's own; None if nothing."""
    return field.json_schema_extra.get(key) if isinstance(field.json_schema_extra, dict) else None


def parts(field: FieldInfo) -> tuple[type[Part], ...]:
    """The classes that a field may hold, several where it is a union by kind; none where it is no part."""
    of_union = get_origin(field.annotation) in (Union, UnionType)
    kinds = [_bare(kind) for kind in get_args(field.annotation)] if of_union else [field.annotation]
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Part))


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def leaves(part: type[Part], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every field that is no part itself, by its full name, `optimizer.learning_rate`."""
    for name, field in part.model_fields.items():
        if inner := parts(field):
            for each in inner:
                yield from leaves(each, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def is_number(value: object) -> bool:
    """A finite number that a float can hold."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _whole(value: Any) -> int:
    if is_number(value) and float(value).is_integer():
        return int(value)
    raise PydanticCustomError("mend", "give a whole number")


def _number(value: Any) -> float:
    if is_number(value):
        return float(value)
    raise PydanticCustomError("mend", "give a number")


def _numbers(value: Any) -> tuple[float, ...]:
    if isinstance(value, list | tuple) and all(map(is_number, value)):
        return tuple(map(float, value))
    raise PydanticCustomError("mend", "give a list of numbers")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise PydanticCustomError("mend", "give true or false")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise PydanticCustomError("mend", "give a text")


Whole = Annotated[int, BeforeValidator(_whole)]
"""3 and 3.0, but neither true nor "3"."""
Number = Annotated[float, BeforeValidator(_number)]
"""Finite, and neither true nor "3"."""
Numbers = Annotated[tuple[float, ...], BeforeValidator(_numbers)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Text = Annotated[str, BeforeValidator(_text)]


@dataclass(frozen=True)
class _OneOf:
    kind: str
    known: Callable[[], Iterable[str]]

    def __call__(self, value: Any) -> Any:
        if value not in (names := tuple(self.known())):
            raise unknown(self.kind, value, names)
        return value


def one_of(kind: str, known: Callable[[], Iterable[str]]) -> AfterValidator:
    """Refuses a name that is not known when it is given; what is registered by then is."""
    return AfterValidator(_OneOf(kind, known))


def choices(field: FieldInfo) -> list[str]:
    """What a field takes, where it takes one of some names."""
    known = [check.func.known for check in field.metadata if isinstance(getattr(check, "func", None), _OneOf)]
    return [name for names in known for name in names()] or _choices(field.annotation)


def _choices(annotation: Any) -> list[str]:
    """What a `Literal` allows, one that may be None included."""
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for each in get_args(annotation) for choice in _choices(each)]


def shown(value: object) -> str:
    """The value on one line, cut where it is long."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a number of many digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def in_a_line(error: ValidationError, whole: type[Part]) -> ConfigError:
    """The first thing that pydantic found: the field's full name, what it got and what it takes."""
    first = error.errors(include_url=False)[0]
    name, field, among = _found(whole, [str(place) for place in first["loc"]])
    value = first["input"]
    if first["type"] == "value_error":
        return ConfigError(str(first["ctx"]["error"]))
    if first["type"] == "union_tag_invalid":
        return unknown(f"{name}.kind", first["ctx"]["tag"], map(_kind, parts(field)) if field else ())
    if field is None:
        if name in dict(leaves(whole)):
            return ConfigError(f"{name}: {_kind(among[0])} has none, it is another {name.partition('.')[0]}'s")
        return unknown("setting", name, dict(leaves(whole)))
    if first["type"] == "literal_error":
        return unknown(name.rpartition(".")[2], value, _choices(field.annotation))
    if first["type"] in ("greater_than_equal", "less_than_equal"):
        low, high = (next(getattr(each, end) for each in field.metadata if hasattr(each, end)) for end in ("ge", "le"))
        return ConfigError(f"{name}={shown(value)}: must be from {low:g} to {high:g}")
    return ConfigError(f"{name}={shown(value)}: {first['msg']}")


def _found(whole: type[Part], places: list[str]) -> tuple[str, FieldInfo | None, tuple[type[Part], ...]]:
    """What pydantic's path leads to: its full name, the field if there is one, and the classes looked through last.

    Where a part may be of several kinds the path names the kind, too.
    """
    among: tuple[type[Part], ...] = (whole,)
    named, field = list[str](), None
    for place in places:
        if len(among) > 1 and (chosen := tuple(kind for kind in among if _kind(kind) == place)):
            among = chosen
            continue
        named.append(place)
        field = next((kind.model_fields[place] for kind in among if place in kind.model_fields), None)
        among = (parts(field) if field else ()) or among
    return ".".join(named), field, among


def _kind(part: type[Part]) -> str:
    """The name by which a class is chosen among several."""
    return str(part.model_fields["kind"].default) if "kind" in part.model_fields else ""
