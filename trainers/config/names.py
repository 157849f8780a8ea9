"""The names of settings: a full one for each, `optimizer.learning_rate`, and the short ones that mean no other."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from trainers.config.network import SubModelsConfig, plural
from trainers.config.part import extra, leaves, parts
from trainers.config.trial import TrialConfig
from trainers.errors import ConfigError, nearest, unknown

_DIMENSIONS = "network.dimensions"


def full_names(given: Mapping[str, Any], kind: type[TrialConfig]) -> dict[str, Any]:
    """The settings of a kind of trial by their full names, whole parts (`optimizer={"momentum": 0}`) taken apart.

    A setting goes by its full name, its end (`learning_rate`), the full name with `_` for a dot (`schedule_stages`),
    the name of its part where it is what that part mainly says (`network`), or as a dimension's plural (`widths`).

    Raises:
        ConfigError: a name that nothing has, with the nearest; one that several have, with their full names; the same
            setting twice.
    """
    named: dict[str, Any] = {}
    for said, value in given.items():
        for name, inner in _taken_apart(said, value, kind):
            if name in named:
                raise ConfigError(f"{name} is given twice, once as {said}: give it once")
            named[name] = inner
    return named


def _taken_apart(said: str, value: Any, kind: type[TrialConfig]) -> Iterator[tuple[str, Any]]:
    inside = _parts(kind).get(said)
    if inside and isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _taken_apart(f"{inside}.{key}", inner, kind)
        return
    meant = _meanings(kind).get(said, ())
    if len(meant) > 1:
        raise ConfigError(f"{said} is ambiguous: say {' or '.join(meant)}")
    if not meant:
        near = _nearest(said, kind)
        raise unknown("setting", said, [near] if near else _full(kind))
    yield meant[0], value


def _nearest(said: str, kind: type[TrialConfig]) -> str:
    """The name that is most likely meant; of a part that there is, one of its own."""
    full = _full(kind)
    part, _, end = said.rpartition(".")
    inside = [name.removeprefix(f"{part}.") for name in full if part and name.startswith(f"{part}.")]
    if near := nearest(end, inside):
        return f"{part}.{near}"
    short = {name for name, means in _meanings(kind).items() if len(means) == 1 and name.replace("_", ".") not in full}
    return nearest(said, sorted(short | set(full), key=lambda name: (len(name), name)))


def _dimensions(kind: type[TrialConfig]) -> tuple[str, ...]:
    (network,) = (part for part in parts(kind.model_fields["network"]) if issubclass(part, SubModelsConfig))
    return tuple(network.DIMENSIONS)


@lru_cache
def _full(kind: type[TrialConfig]) -> tuple[str, ...]:
    names = dict.fromkeys(name for name, _ in leaves(kind) if name != _DIMENSIONS)
    return (*names, *(f"{_DIMENSIONS}.{name}" for name in _dimensions(kind)))


@lru_cache
def _parts(kind: type[TrialConfig]) -> dict[str, str]:
    """What a mapping may be given for, by how it is said."""
    return {name.partition(".")[0]: name.partition(".")[0] for name in _full(kind) if "." in name} | {
        "dimensions": _DIMENSIONS,
        _DIMENSIONS: _DIMENSIONS,
    }


@lru_cache
def _meanings(kind: type[TrialConfig]) -> dict[str, tuple[str, ...]]:
    """Every name that can be said, with the full names of what it may mean."""
    full = _full(kind)
    found: dict[str, dict[str, None]] = {}
    for name in full:
        ends = name.split(".")
        for spelling in (*(".".join(ends[start:]) for start in range(len(ends))), name.replace(".", "_")):
            found.setdefault(spelling, {})[name] = None
    for name, field in leaves(kind):
        if extra(field, "alone"):
            found[name.partition(".")[0]] = {name: None}
    for name in _dimensions(kind):
        found[plural(name)] = {f"{_DIMENSIONS}.{name}": None}
    # A full name means itself, whatever ends with it.
    return {said: (said,) if said in full else tuple(names) for said, names in found.items()}


def short_names(kind: type[TrialConfig]) -> dict[str, str]:
    """The shortest name that means a setting and no other, by its full name; of a dimension's support, its plural."""
    found: dict[str, str] = {}
    for said, means in _meanings(kind).items():
        if len(means) == 1 and len(said) < len(found.get(means[0], means[0])):
            found[means[0]] = said
    return found | {f"{_DIMENSIONS}.{name}": plural(name) for name in _dimensions(kind)}
