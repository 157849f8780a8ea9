"""A function or class of a study's own as a sampler."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Concatenate, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainers.config.part import shown
from trainers.errors import ConfigError
from trainers.sampling.discrete import OneTarget, Weights
from trainers.sampling.names import Arguments, by_signature
from trainers.sampling.sampler import Moment, Sampler

Weigh: TypeAlias = Callable[Concatenate[Moment, ...], NDArray[np.float64] | Sequence[float]]
"""(moment, arguments …) → a weight for each target, smallest first."""


def own_sampler(name: str, part: Weigh | type[Sampler], needs_gaps: bool) -> Callable[[Arguments], Sampler]:
    """What reads the arguments of a sampler that a study's own file has.

    Args:
        part: a class of samplers, or a function that weighs the targets.
        needs_gaps: whether such a function reads `Moment.gaps`.

    Raises:
        ConfigError: it has not what a sampler has; an argument that no text says.
    """
    try:
        parameters = list(inspect.signature(part, eval_str=True).parameters.values())
    except (NameError, ValueError, TypeError) as error:
        raise ConfigError(f"sampler {name}: what it is called with cannot be read: {error}") from error
    try:
        if isinstance(part, type):
            lacking = [
                each for each in ("draws", "continuous", "needs_gaps", "sample", "expectation") if not _has(part, each)
            ]
            if lacking:
                raise ConfigError(f"it lacks {', '.join(lacking)}: see Sampler in trainers/sampling/sampler.py")
            return by_signature(part, parameters)
        if not parameters:
            raise ConfigError("it takes nothing: its first parameter is the moment, see Moment in trainers")
        return by_signature(partial(_weighing, name, part, needs_gaps), parameters[1:])
    except ConfigError as error:
        raise ConfigError(f"sampler {name}: {error}") from error


def _has(part: type, name: str) -> bool:
    return hasattr(part, name) or name in inspect.get_annotations(part)


def _weighing(name: str, weigh: Weigh, needs_gaps: bool, *arguments: object) -> OneTarget:
    def weights(moment: Moment) -> Weights:
        given = np.asarray(weigh(moment, *arguments), dtype=np.float64)
        count = len(moment.lattice)
        if given.shape != (count,) or not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
            raise ConfigError(
                f"sampler {name} weighs the {count} targets as {shown(given.tolist())}: give each a number, smallest "
                "target first, none of them negative and not all of them zero"
            )
        return given

    return OneTarget(weights, needs_gaps)
