"""Samplers by name. In a config a sampler is a short text, `uniform` or `sandwich(4)`, which is how MLflow shows it."""

import inspect
import math
import re
from collections.abc import Callable, Sequence

from trainers.config.part import shown
from trainers.errors import ConfigError, unknown
from trainers.sampling import continuous, discrete
from trainers.sampling.sampler import Sampler

Arguments = list[str]
_CALL = re.compile(r"([\w-]+)\s*(?:\(([^()]*)\))?", re.ASCII)
_WHOLE, _DECIMAL = re.compile(r"-?[0-9]{1,9}"), re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SMALLEST = 1e-100  # below, quotients of two such numbers are none


def _plain(make: Callable[[], Sampler]) -> Callable[[Arguments], Sampler]:
    def parse(arguments: Arguments) -> Sampler:
        _count(arguments, 0, 0)
        return make()

    return parse


def _numbers(make: Callable[..., Sampler], *usual: float) -> Callable[[Arguments], Sampler]:
    def parse(arguments: Arguments) -> Sampler:
        _count(arguments, 0, len(usual))
        given = (_whole(a) if isinstance(u, int) else _number(a) for u, a in zip(usual, arguments, strict=False))
        return make(*given, *usual[len(arguments) :])

    return parse


def _or_continuous(
    targets: Callable[..., Sampler], between: Callable[..., Sampler], *usual: float
) -> Callable[[Arguments], Sampler]:
    def parse(arguments: Arguments) -> Sampler:
        if arguments and arguments[-1] == "continuous":
            return _numbers(between, *usual)(arguments[:-1])
        return _numbers(targets, *usual)(arguments)

    return parse


def _categorical(arguments: Arguments) -> Sampler:
    if not arguments:
        raise ConfigError("give a probability per target, smallest first, or label:probability pairs")
    if not any(":" in argument for argument in arguments):
        return discrete.categorical(tuple(_number(argument) for argument in arguments))
    pairs = [argument.partition(":") for argument in arguments]
    labels = [label.strip() for label, _, _ in pairs]
    if len(set(labels)) < len(labels):
        raise ConfigError("a target is given twice")
    return discrete.categorical({label: _number(share) for label, (_, _, share) in zip(labels, pairs, strict=True)})


def _fixed(arguments: Arguments) -> Sampler:
    _count(arguments, 0, 1)
    return discrete.fixed(arguments[0] if arguments else "largest")


def _annealed(arguments: Arguments) -> Sampler:
    _count(arguments, 1, 2)
    return discrete.annealed(arguments[0], _number(arguments[1]) if len(arguments) > 1 else 0.5)


_READ: dict[object, Callable[[str], object]] = {
    int: lambda text: _whole(text),
    float: lambda text: _number(text),
    str: str,
}


def by_signature(
    make: Callable[..., Sampler], parameters: Sequence[inspect.Parameter]
) -> Callable[[Arguments], Sampler]:
    """Reads the arguments of a sampler as its parameters are annotated, `float`, `int` or `str`.

    Raises:
        ConfigError: a parameter that no text says.
    """
    for parameter in parameters:
        if parameter.annotation not in _READ or parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            raise ConfigError(
                f"its parameter {parameter.name} must be annotated as float, int or str: it is read from a text"
            )
    least = sum(parameter.default is inspect.Parameter.empty for parameter in parameters)

    def parse(arguments: Arguments) -> Sampler:
        _count(arguments, least, len(parameters))
        return make(*(_READ[each.annotation](text) for each, text in zip(parameters, arguments, strict=False)))

    return parse


def _number(text: str) -> float:
    number = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ConfigError(f"give a finite number instead of {shown(text)}")
    if number and abs(number) < _SMALLEST:
        raise ConfigError(f"{shown(text)} is too small a number")
    return number


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ConfigError(f"give a whole number instead of {shown(text)}")
    return int(text)


def _count(arguments: Arguments, least: int, most: int) -> None:
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"from {least} to {most}"
        raise ConfigError(f"it takes {wanted} arguments, not {len(arguments)}")


SAMPLERS: dict[str, Callable[[Arguments], Sampler]] = {
    "uniform": _plain(discrete.uniform),
    "categorical": _categorical,
    "linear": _plain(discrete.linear),
    "macs": _plain(discrete.by_macs),
    "inverse-macs": _plain(discrete.by_inverse_macs),
    "geometric": _numbers(discrete.geometric, 0.5),
    "truncated-normal": _or_continuous(discrete.truncated_normal, continuous.truncated_normal, 0.5, 0.25),
    "log-uniform": _or_continuous(discrete.log_uniform, continuous.log_uniform),
    "round-robin": _plain(discrete.RoundRobin),
    "annealed": _annealed,
    "adaptive": _numbers(discrete.adaptive, 0.1),
    "fixed": _fixed,
    "all": _plain(discrete.All),
    "sandwich": _numbers(continuous.sandwich, 4),
}
"""What reads the arguments of each sampler, by its name."""


def name_of(text: str) -> str:
    """The sampler's name in a text, `sandwich` of `sandwich(4)`; the text itself where it is none."""
    match = _CALL.fullmatch(text.strip())
    return match[1] if match else text


def sampler(text: str) -> Sampler:
    """The sampler that a text names.

    `uniform`, `categorical(.4,.3,.2,.1)`, `categorical(w025:.5,w100:.5)`, `linear`, `macs`, `inverse-macs`,
    `geometric(ratio)`, `truncated-normal(mean,sd)`, `log-uniform`, the last two also with `continuous` as their last
    argument, `round-robin`, `annealed(largest,until)`, `annealed(smallest,until)`, `adaptive(temperature)`,
    `fixed(w050)`, `all`, `sandwich(n)`.

    Raises:
        ConfigError: no such sampler, or an argument that it cannot take.
    """
    match = _CALL.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"sampler {shown(text)} is not of the form name or name(argument, …)")
    name, inside = match[1], match[2]
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    if inside is not None and not inside.strip():
        raise ConfigError(f"sampler {shown(text)}: nothing stands in its brackets: leave them out")
    arguments = [argument.strip() for argument in inside.split(",")] if inside else []
    try:
        return SAMPLERS[name](arguments)
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"sampler {shown(text)}: {error}") from error
