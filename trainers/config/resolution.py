"""From what a study says to the explicit config of a trial."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from trainers.build import check_patterns, target_costs
from trainers.config.names import full_names
from trainers.config.part import extra, in_a_line, leaves
from trainers.config.trial import TrialConfig
from trainers.errors import ConfigError
from trainers.sampling.names import sampler
from trainers.sampling.sampler import Moment

_NOTHING_SAID = (None, "auto")


def resolve(given: Mapping[str, Any]) -> TrialConfig:
    """The explicit config of what a study says.

    Shorthands (a method's name, optimizer steps for a budget) are spelled out, what comes from the data set or the
    machine is made explicit, and what has no effect goes back to its default. A resolved config resolves to itself.

    Args:
        given: settings, by full or short names (`full_names`).

    Raises:
        ConfigError: a name, value or combination that cannot be used.
    """
    said = _said(full_names(given))
    said.network.check()
    config = said.model_copy(
        update={
            "task": said.task.resolved(),
            "method": said.method.resolved(),
            "optimizer": said.optimizer.resolved(),
            "norm": said.norm.resolved(said.method.recipe.affine),
            "budget": said.budget.resolved(len(said.lattice), lambda: _macs_per_step(said)),
            "precision": said.precision.resolved(),
        }
    )
    _check_combination(config)
    check_patterns(config)
    return config


def _said(named: Mapping[str, Any]) -> TrialConfig:
    usual = {name for name, field in leaves(TrialConfig) if extra(field, "usual")}
    nested: dict[str, Any] = {}
    # Of dimensions, each that is not said keeps its default.
    supports = dict(TrialConfig().network.dimensions)
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
    try:
        return TrialConfig.model_validate(nested)
    except ValidationError as error:
        raise in_a_line(error, TrialConfig) from error


def _macs_per_step(config: TrialConfig) -> int:
    """Of a batch of every target, forward."""
    return config.task.batch_size * sum(cost.macs for cost in target_costs(config).values())


def _check_combination(config: TrialConfig) -> None:
    method, norm = config.method, config.norm
    chosen = sampler(method.sampler)
    try:
        chosen.expectation(Moment(config.lattice, lambda _: 1))  # raises if it does not fit the targets
    except ConfigError as error:
        raise ConfigError(f"sampler {method.sampler!r}: {error}") from error
    if method.objective != "sum" and chosen.draws != 1:
        raise ConfigError(
            f"objective={method.objective} is defined for one sub-model; sampler={method.sampler} draws more"
        )
    if chosen.continuous and norm.policy == "batch-switchable":
        raise ConfigError(
            f"sampler={method.sampler} draws widths between the targets, for which norm=batch-switchable has no "
            "statistics: choose another norm or a sampler of targets"
        )
    if chosen.continuous and method.sharing == "separate":
        raise ConfigError(f"sampler={method.sampler} draws widths between the targets; sharing=separate has none")
    if norm.affine == "line" and norm.policy == "batch-switchable":
        raise ConfigError("affine=line needs affine parameters that widths share: choose another norm")
    if norm.affine == "line" and method.sharing != "nested":
        raise ConfigError(f"affine=line is a line along the width of one network; sharing={method.sharing} has many")
    if method.distillation == "in-place" and method.sharing != "nested":
        raise ConfigError("distillation=in-place has the largest sub-model of one network teach: use sharing=nested")
