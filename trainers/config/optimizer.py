"""The optimizers, a class for each kind. `OptimizerConfig` is what a trial may have; another kind joins it by `|`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag

from trainers.config.part import Number, Part, Text, is_number, shown
from trainers.errors import ConfigError

Decayed = Literal["all", "matrices"]


def _rates(given: Any) -> tuple[tuple[str, float], ...]:
    pairs = given if isinstance(given, list | tuple) else ()
    if pairs != given or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ConfigError(f'optimizer.rates={shown(given)}: give pairs of pattern and multiple, e.g. [["fc.*", 10]]')
    for pattern, multiple in pairs:
        if not isinstance(pattern, str) or not pattern or not is_number(multiple) or not 0 <= multiple <= 1e6:
            raise ConfigError(
                f"optimizer.rates={shown(given)}: a pattern is a text, a multiple of the rate a number from 0 to 1e6"
            )
    return tuple((pattern, float(multiple)) for pattern, multiple in pairs)


def _patterns(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) and each for each in given):
        raise ConfigError(f'optimizer.frozen={shown(given)}: give a list of patterns, e.g. ["layer1.*"]')
    return tuple(given)


class _Optimizer(Part):
    """What every optimizer takes. Patterns are of parameters' names in the plain network (`*` matches dots, too)."""

    decayed: Decayed = Field(
        default="all", description="Whether biases and norms decay, too, or only parameters of two or more dimensions."
    )
    rates: Annotated[tuple[tuple[Text, Number], ...], BeforeValidator(_rates)] = Field(
        default=(),
        description="Pairs of pattern and multiple; the first that matches a parameter's name multiplies its rate.",
    )
    frozen: Annotated[tuple[Text, ...], BeforeValidator(_patterns)] = Field(
        default=(), description="Patterns of the parameters that are not trained."
    )
    clip_norm: Annotated[Number | None, Field(ge=1e-9, le=1e9)] = Field(
        default=None,
        description="Gradients are scaled down to this norm, all of a network's together, where theirs is larger.",
    )
    weight_decay: Number = Field(default=0.0, ge=0, le=1e6, description="Of what decays, at every step.")

    def resolved(self) -> Self:
        """Without what has no effect: where nothing decays, which parameters would."""
        return self if self.weight_decay else self.model_copy(update={"decayed": "all"})


class SgdConfig(_Optimizer):
    """SGD with momentum, without Nesterov."""

    kind: Literal["sgd"] = Field(default="sgd", description="The optimizer.", json_schema_extra={"alone": True})
    learning_rate: Number = Field(default=0.1, ge=0, le=1e6, description="The full rate, which the schedule scales.")
    momentum: Number = Field(default=0.9, ge=0, le=1, description="Without dampening.")
    weight_decay: Number = Field(
        default=5e-4, ge=0, le=1e6, description="Of what decays, at every step; part of the gradient."
    )


class AdamWConfig(_Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), at torch's defaults."""

    kind: Literal["adamw"] = Field(default="adamw", description="The optimizer.", json_schema_extra={"alone": True})
    learning_rate: Number = Field(default=1e-3, ge=0, le=1e6, description="The full rate, which the schedule scales.")
    beta1: Number = Field(default=0.9, ge=0, le=1, description="How much of the first moment stays at a step.")
    beta2: Number = Field(default=0.999, ge=0, le=1, description="How much of the second moment stays at a step.")
    epsilon: Number = Field(default=1e-8, ge=0, le=1, description="Added to the root of the second moment.")
    weight_decay: Number = Field(
        default=0.01, ge=0, le=1e6, description="Of what decays, at every step; times the learning rate."
    )


def _kind(given: Any) -> str:
    """SGD unless another is said, as every config written before there was another means it."""
    return str(given.get("kind", "sgd") if isinstance(given, Mapping) else given.kind)


OptimizerConfig = Annotated[
    Annotated[SgdConfig, Tag("sgd")] | Annotated[AdamWConfig, Tag("adamw")], Discriminator(_kind)
]
