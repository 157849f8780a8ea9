"""Which parameters are trained, and which of them decay and at what share of the learning rate.

Frozen parameters are in no group: they are neither moved nor decayed, and have no gradient and no state.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import get_args

import torch
from torch import Tensor, nn

from trainers.config.optimizer import Decayed
from trainers.errors import ConfigError, unknown

DECAYED: tuple[Decayed, ...] = get_args(Decayed)


@dataclass(frozen=True)
class GroupRules:
    """How the parameters of a network are parted.

    Attributes:
        decayed: `all`; or `matrices`, those of two or more dimensions, so that biases and norms do not decay.
        rates: (pattern, multiple of the learning rate), of which the first that matches a parameter's name counts;
            others have the rate itself. `classifier.*` matches in the plain network and where it is part of another:
            `network.classifier.weight`, `networks.w050.classifier.weight`.

    Raises:
        ConfigError: no such `decayed`, or a multiple below zero.
    """

    decayed: Decayed = "all"
    rates: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.decayed not in DECAYED:
            raise unknown("decayed", self.decayed, DECAYED)
        for pattern, multiple in self.rates:
            if not multiple >= 0:
                raise ConfigError(f"rates: {pattern} has {multiple} times the learning rate, which must be 0 or more")


@dataclass(frozen=True)
class Group:
    """Parameters that are treated alike, with their names, in the network's order."""

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    weight_decay: float
    multiple: float

    def rate(self, rate: Tensor) -> Tensor:
        """The group's learning rate, as a tensor: a captured step reads it where it lies."""
        return rate if self.multiple == 1 else rate * self.multiple


def parameter_groups(network: nn.Module, weight_decay: float, rules: GroupRules) -> tuple[Group, ...]:
    """The groups of a network's trained parameters, whose gradients become zero and are added to in place from then on.

    A parameter that is tied to several places is one parameter, under its first name.

    Raises:
        ConfigError: nothing is trained, or a pattern matches no trained parameter.
    """
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    if not trained:
        raise ConfigError(f"{type(network).__name__} has no parameter to train: all of them are frozen")
    for pattern, _ in rules.rates:
        if not any(_matches(name, pattern) for name in trained):
            raise ConfigError(f"rates: {pattern!r} matches no trained parameter, e.g. not {next(iter(trained))!r}")
    parted: dict[tuple[float, float], list[str]] = {}
    for name, parameter in trained.items():
        parameter.grad = torch.zeros_like(parameter, requires_grad=False)
        decay = weight_decay if rules.decayed == "all" or parameter.ndim >= 2 else 0.0
        multiple = next((multiple for pattern, multiple in rules.rates if _matches(name, pattern)), 1.0)
        parted.setdefault((decay, multiple), []).append(name)
    return tuple(
        Group(tuple(names), tuple(trained[name] for name in names), decay, multiple)
        for (decay, multiple), names in parted.items()
    )


def freeze(network: nn.Module, patterns: Iterable[str]) -> None:
    """Leaves the parameters that match a pattern, as `GroupRules.rates` has them, as they are. Tied ones go together.

    Raises:
        ConfigError: a pattern that matches nothing.
    """
    named = dict(network.named_parameters(remove_duplicate=False))
    for pattern in patterns:
        matching = [parameter for name, parameter in named.items() if _matches(name, pattern)]
        if not matching:
            raise ConfigError(f"frozen: {pattern!r} matches no parameter, e.g. not {next(iter(named), None)!r}")
        for parameter in matching:
            parameter.requires_grad_(False)


def gradients(group: Group) -> list[Tensor]:
    """Where the gradients of a group lie."""
    found = [parameter.grad for parameter in group.parameters]
    return [gradient for gradient in found if gradient is not None]


def zeros_like(group: Group) -> list[Tensor]:
    """A tensor of zeros for every parameter of a group, laid out as it is."""
    return [torch.zeros_like(parameter, requires_grad=False) for parameter in group.parameters]


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")
