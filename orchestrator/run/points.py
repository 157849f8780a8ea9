"""What a trial measured, as it is kept and recorded.

A point that the tracking store refuses would be refused again at each restart, since the checkpoint holds it. So it is
looked at before it gets there, where it is the trial's own fault and its alone.
"""

import math
import posixpath
import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

_NAME = re.compile(r"[/\w.\-: ]+")  # of a metric, as MLflow has them
_LONGEST_NAME = 250
_LARGEST_STEP = 2**63 - 1


def whole_step(step: object) -> int:
    """A step as it is kept.

    Raises:
        ValueError: it is no count of steps.
    """
    if not isinstance(step, Integral) or isinstance(step, bool) or not 0 <= int(step) <= _LARGEST_STEP:
        raise ValueError(f"a snapshot's step is {_shown(step)}: it is a whole number from 0")
    return int(step)


def share_done(progress: object, step: int) -> float:
    """A progress as it is reported.

    Raises:
        ValueError: it is no share of the budget.
    """
    if not isinstance(progress, Real) or isinstance(progress, bool) or not math.isfinite(progress):
        raise ValueError(f"the progress at step {step} is {_shown(progress)}: it is a number from 0 to 1")
    return float(progress)


def measured(metrics: Mapping[str, Any], step: object) -> dict[str, float]:
    """Metrics as they are kept: plain numbers, NaN and infinity among them, by names that MLflow takes.

    Raises:
        ValueError: a metric that cannot be recorded; says which, and at which step.
    """
    if not isinstance(metrics, Mapping):
        raise ValueError(f"the metrics at step {step} are {_shown(metrics)}: they are numbers by their names")
    return {_name(name, step): _number(name, value, step) for name, value in metrics.items()}


def _name(name: object, step: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME or _is_other_path(name):
        raise ValueError(
            f"a metric at step {step} has the name {_shown(name)}, which MLflow refuses: letters, digits, _ - . : / and"
            f" spaces, at most {_LONGEST_NAME} of them, and as a path it leads to itself"
        )
    return str(name)


def _is_other_path(name: str) -> bool:
    """Whether as a path it is another name's, or leads out of the folder."""
    return posixpath.normpath(name) != name or name == "." or name.startswith(("..", "/"))


def _number(name: str, value: object, step: object) -> float:
    """Of numpy's numbers, too, the plain one; a truth value is no measurement."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"{name} at step {step} is {_shown(value)}: a metric is a number")
    try:
        inexact = float(value)
    except OverflowError:
        raise ValueError(f"{name} at step {step} is a number beyond all that a float holds") from None
    return int(value) if isinstance(value, Integral) else inexact


def _shown(value: object) -> str:
    return f"{ascii(value)[:80]} ({type(value).__name__})"
