"""What a trial is trained on, as MLflow shows it in a column of its own: its name and what identifies its content."""

import json
from collections.abc import Mapping
from functools import reduce
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag

from orchestrator.declaration import Declaration
from orchestrator.study.plan import Plan, Trial
from orchestrator.track.limits import as_value

_NAME_LIMIT, _DIGEST_LIMIT = 500, 36  # characters
_PURPOSE = InputTag("mlflow.data.context", "training")


def inputs_of(trial: Trial, declaration: Declaration) -> list[DatasetInput]:
    """The trial's data; nothing where the trainer has no name for them."""
    name = _setting(trial.config, declaration.dataset)
    if name is None:
        return []
    source = json.dumps({"checksum": trial.data_checksum})
    digest = as_value(trial.data_checksum, _DIGEST_LIMIT)
    dataset = Dataset(as_value(str(name), _NAME_LIMIT), digest, source_type="code", source=as_value(source))
    return [DatasetInput(dataset, [_PURPOSE])]


def inputs_of_all(plan: Plan) -> list[DatasetInput]:
    """Of the trials of a plan, each data set once."""
    every = [each for trial in plan.trials for each in inputs_of(trial, plan.declaration)]
    return list({(each.dataset.name, each.dataset.digest): each for each in every}.values())


def _setting(config: Mapping[str, Any], name: str) -> Any:
    """A setting by its full name, `task.dataset`; None if there is none."""
    if not name:
        return None

    def inside(part: Any, key: str) -> Any:
        return part.get(key) if isinstance(part, Mapping) else None

    return reduce(inside, name.split("."), config)
