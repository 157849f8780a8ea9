"""What a study may say, checked one setting at a time."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, get_args

from trainers.config.methods import METHODS, Affine, Distillation, Sharing
from trainers.config.precision import PRECISIONS
from trainers.errors import ConfigError, unknown
from trainers.nested.layers.norms import NORM_POLICIES
from trainers.networks.architectures import NETWORKS
from trainers.objectives import OBJECTIVES
from trainers.training.ledger import BUDGET_UNITS


@dataclass(frozen=True)
class Settings:
    """What a study may say; the names `--set` knows. `resolve` makes a `TrialConfig` of it.

    Fields as in `TrialConfig`, but: `method` stands for sampler, objective, sharing, accumulation, distillation and
    affine, each of which overrides it when given. `updates` and `equalize` give the budget: as many optimizer steps
    (`updates`), or the passes or multiply-accumulates that training *every* target in each of that many steps would
    take, which is what a slimmable network (NS) uses; `budget_scale` multiplies it. None stands for the data set's
    usual augmentation.
    """

    dataset: str = "cifar10"
    network: str = "cpreresnet20"
    widths: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    depths: tuple[int, ...] = ()
    method: str = "SortedNet"
    norm: str = "instance"
    recalibration_batches: int = 20
    affine: str | None = None
    line_penalty: float = 1.0
    sharing: str | None = None
    extract_at: float = 0.5
    sampler: str | None = None
    objective: str | None = None
    distillation: str | None = None
    accumulation: int | None = None
    precision: str = "auto"
    deterministic: bool = False
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.025
    schedule_stages: int = 200
    crop_padding: int | None = None
    flip: bool | None = None
    updates: int = 78_200
    budget_scale: float = 1.0
    equalize: str = "updates"
    evaluations: int = 20


_LONGEST = 80  # characters of a value in an error
_RANGES: dict[str, tuple[float, float]] = {
    "recalibration_batches": (1, 10_000),
    "line_penalty": (0, 1e6),
    "extract_at": (0, 1),
    "accumulation": (1, 4096),
    "batch_size": (2, 1 << 20),
    "learning_rate": (0, 1e6),
    "momentum": (0, 1),
    "weight_decay": (0, 1e6),
    "warmup": (0, 1),
    "schedule_stages": (0, 1_000_000),
    "crop_padding": (0, 64),
    "updates": (1, 1 << 40),
    "budget_scale": (1e-6, 1e6),
    "evaluations": (1, 100_000),
}


def settings(given: Mapping[str, Any]) -> Settings:
    """Checks names, types and ranges one by one.

    Raises:
        ConfigError: naming the field, what it got and what it takes.
    """
    known = {field.name: field for field in fields(Settings)}
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise unknown("setting", name, known)
        checked[name] = _typed(name, value, known[name].type)
    result = Settings(**checked)
    for name, (low, high) in _RANGES.items():
        value = getattr(result, name)
        if value is not None and not low <= value <= high:
            raise ConfigError(f"{name}={value}: must be from {low:g} to {high:g}")
    _choose("network", result.network, NETWORKS)
    _choose("method", result.method, METHODS)
    _choose("norm", result.norm, NORM_POLICIES)
    _choose("precision", result.precision, (*PRECISIONS, "auto"))
    _choose("equalize", result.equalize, BUDGET_UNITS)
    _choose("objective", result.objective, OBJECTIVES)
    _choose("sharing", result.sharing, get_args(Sharing))
    _choose("distillation", result.distillation, get_args(Distillation))
    _choose("affine", result.affine, get_args(Affine))
    return result


def _typed(name: str, value: Any, declared: Any) -> Any:
    """The value as the field's type: numbers where numbers belong, a list of numbers as widths, texts elsewhere."""
    optional = isinstance(declared, UnionType)
    if value is None and optional:
        return None
    kind = get_args(declared)[0] if optional else declared
    if kind == tuple[float, ...]:
        if isinstance(value, list | tuple) and value and all(_is_number(item) for item in value):
            return tuple(float(item) for item in value)
        raise ConfigError(f"{name}={_shown(value)}: give a list of numbers, e.g. {name}=[0.25,0.5,1]")
    if kind == tuple[int, ...]:
        if isinstance(value, list | tuple) and all(_is_number(item) and float(item).is_integer() for item in value):
            return tuple(int(item) for item in value)
        raise ConfigError(f"{name}={_shown(value)}: give a list of whole numbers, e.g. {name}=[1,2,3]")
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise ConfigError(f"{name}={_shown(value)}: give true or false")
    if kind is int:
        if _is_number(value) and float(value).is_integer():
            return int(value)
        raise ConfigError(f"{name}={_shown(value)}: give a whole number")
    if kind is float:
        if _is_number(value):
            return float(value)
        raise ConfigError(f"{name}={_shown(value)}: give a number")
    if isinstance(value, str):
        return value
    raise ConfigError(f"{name}={_shown(value)}: give a text")


def _is_number(value: Any) -> bool:
    """A finite number that a float can hold."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _shown(value: Any) -> str:
    """The value on one line, cut where it is long."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a number of many digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _choose(field: str, value: Any, choices: Any) -> None:
    if value is not None and value not in choices:
        raise unknown(field, value, choices)
