"""A config as MLflow's parameters: one per setting, by its full name."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow.entities import Param

from orchestrator.track.limits import PARAM_LIMIT, as_name, as_value

_AT_ONCE = 100  # of a batch


def params_of(config: Mapping[str, Any], prefix: str = "") -> list[Param]:
    """Of a config in parts, and of the parts of one by a prefix, `task.`."""
    params: list[Param] = []
    for name, value in sorted(config.items()):
        if isinstance(value, Mapping):
            params += params_of(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            params.append(Param(as_name(f"{prefix}{name}"), as_value(text, PARAM_LIMIT)))
    return params


def in_batches(params: Sequence[Param]) -> list[Sequence[Param]]:
    """As many at once as a store takes; one batch of none where there are none."""
    return [params[first : first + _AT_ONCE] for first in range(0, len(params), _AT_ONCE)] or [[]]
