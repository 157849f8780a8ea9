"""From what a study says to the explicit config of a trial, whatever its kind."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from trainers.config.names import full_names
from trainers.config.part import Part, extra, in_a_line, leaves, shown
from trainers.config.trial import TrialConfig
from trainers.errors import ConfigError
from trainers.objectives import OBJECTIVES, OF_ONE
from trainers.own.parts import OWN

if TYPE_CHECKING:
    from trainers.sampling.sampler import Sampler

_NOTHING_SAID = (None, "auto")
ConfigT = TypeVar("ConfigT", bound=TrialConfig)


def said(given: Mapping[str, Any], kind: type[ConfigT]) -> ConfigT:
    """What a study says as a config, before anything is resolved.

    Args:
        given: settings, by full or short names (`full_names`).
        kind: of the trial.

    Raises:
        ConfigError: a name or value that cannot be used.
    """
    named = full_names(given, kind)
    usual = {name for name, field in leaves(kind) if extra(field, "usual")}
    nested: dict[str, Any] = {}
    # Of dimensions, each that is not said keeps its default.
    supports = dict(kind.model_fields["network"].get_default().dimensions)
    for name, value in named.items():
        if name in usual and any(value is nothing or value == nothing for nothing in _NOTHING_SAID):
            continue
        part, _, field = name.partition(".")
        if field.startswith("dimensions."):
            supports[field.removeprefix("dimensions.")] = value
            nested.setdefault(part, {})["dimensions"] = supports
        elif field:
            nested.setdefault(part, {})[field] = value
        else:
            nested[part] = value
    for part, declared in kind.model_fields.items():
        if isinstance(nested.get(part), Mapping) and isinstance(usually := declared.get_default(), Part):
            nested[part] = _over(usually, nested[part])
    try:
        return kind.model_validate(nested)
    except ValidationError as error:
        raise in_a_line(error, kind) from error


def _over(usually: Part, given: Mapping[str, Any]) -> dict[str, Any]:
    """A part of which some is said; the rest is as the trial usually has it, unless it is said to be another's kind."""
    own_kind = getattr(usually, "kind", None)
    if given.get("kind", own_kind) != own_kind:
        return dict(given)
    kind = {} if own_kind is None else {"kind": own_kind}
    return {**usually.model_dump(exclude_unset=True), **kind, **given}


def check_method(config: TrialConfig) -> None:
    """Refuses a method that does not fit the targets, or whose parts do not fit one another.

    Raises:
        ConfigError: naming the parts.
    """
    from trainers.sampling.names import sampler  # NumPy, which no check of a value needs
    from trainers.sampling.sampler import Moment

    method = config.method
    chosen = sampler(method.sampler)
    try:
        chosen.expectation(Moment(config.lattice, lambda _: 1))  # raises if it does not fit the targets
    except ConfigError as error:
        raise ConfigError(f"sampler {shown(method.sampler)}: {error}") from error
    if method.objective in OF_ONE and chosen.draws != 1:
        raise ConfigError(
            f"objective={method.objective} is defined for one sub-model; sampler={method.sampler} draws more"
        )
    if ("objective", method.objective) in OWN:
        _check_own_objective(config, chosen)
    if chosen.continuous and method.sharing == "separate":
        raise ConfigError(f"sampler={method.sampler} draws widths between the targets; sharing=separate has none")
    if method.distillation == "in-place" and method.sharing != "nested":
        raise ConfigError("distillation=in-place has the largest sub-model of one network teach: use sharing=nested")


def _check_own_objective(config: TrialConfig, chosen: "Sampler") -> None:
    """Tries it on one draw."""
    import numpy as np

    from trainers.sampling.sampler import Moment
    from trainers.submodel import SubModel

    name, lattice = config.method.objective, config.lattice
    drawn = chosen.sample(np.random.default_rng(0), Moment(lattice, lambda _: 1))
    given = OBJECTIVES[name](drawn, lattice)
    if not isinstance(given, tuple) or not given or not all(isinstance(each, SubModel) for each in given):
        raise ConfigError(f"objective {name} gives {shown(given)}: it is to give a tuple of the sub-models to train")
