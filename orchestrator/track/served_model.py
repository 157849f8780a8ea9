"""A finished trial's network as a model of MLflow's: loaded and served by its run, its size chosen at every call.

What MLflow needs is a description beside the files that are kept anyway, and a module that reads them. No Python
object is stored, so nothing is unpickled.
"""

import json
import os
import platform
import shutil
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from orchestrator.declaration import ServedModel, Texts
from orchestrator.secrecy.redaction import has_password
from orchestrator.secrecy.tokens import kind_of_secret
from orchestrator.study.plan import Trial
from orchestrator.track.tracker import MODEL

KNOWN_BY = "mlflow.log-model.history"  # the run's tag by which MLflow shows its models
_CONFIG, _ENVIRONMENT, _REQUIREMENTS = "config.json", "python_env.yaml", "requirements.txt"
_OWN = ("sortednet-studies", "mlflow")


def put_together(
    folder: Path, names: Sequence[str], served: ServedModel, trial: Trial, run_id: str, milliseconds: int
) -> str:
    """Makes files in a folder, which holds the trial's `config.json` too, those of a model in a folder inside.

    Args:
        names: of the files that are the model's.
        run_id: of the trial's run.
        milliseconds: since the epoch, at which the network was trained.

    Returns:
        What the run's tag `KNOWN_BY` says.

    Raises:
        OSError: the folder cannot be written.
    """
    inside = folder / MODEL
    inside.mkdir()
    for name in names:
        (folder / name).rename(inside / name)
    shutil.copyfile(folder / _CONFIG, inside / _CONFIG)
    texts = served.kept(trial.config)
    for path in [path for path, text in texts.items() if kind_of_secret(text) is None and not has_password(text)]:
        (inside / path).parent.mkdir(parents=True, exist_ok=True)
        (inside / path).write_text(texts[path], encoding="utf-8")
    model = _model(served, trial, run_id, milliseconds)
    model.model_size_bytes = sum(file.stat().st_size for file in inside.rglob("*") if file.is_file())
    required = _requirements((*_OWN, *served.packages))
    (inside / _REQUIREMENTS).write_text("".join(f"{line}\n" for line in required))
    needed = {"build_dependencies": ["pip"], "dependencies": [f"-r {_REQUIREMENTS}"]}
    (inside / _ENVIRONMENT).write_text(json.dumps({"python": platform.python_version(), **needed}))  # JSON is YAML
    model.save(inside / "MLmodel")
    return json.dumps([model.get_tags_dict()])


def _model(served: ServedModel, trial: Trial, run_id: str, milliseconds: int) -> Model:
    """What MLflow is told of a trial's network."""
    answers = TensorSpec(np.dtype("float32"), (-1, -1))
    chosen = ParamSpec("sub_model", DataType.string, None), ParamSpec("max_macs", DataType.double, None)
    model = Model(
        artifact_path=MODEL,
        run_id=run_id,
        utc_time_created=datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None),
        signature=ModelSignature(_asked(served, trial), Schema([answers]), ParamSchema(list(chosen))),
        model_uuid=uuid.uuid5(uuid.NAMESPACE_OID, f"{trial.key} {run_id}").hex,
        metadata={"sub_models": {cost.label: cost.macs for cost in trial.sub_models}, "trial": trial.key},
    )
    return model.add_flavor(
        "python_function",
        loader_module=served.loader,
        python_version=platform.python_version(),
        env={"virtualenv": _ENVIRONMENT},
        config=dict(served.options),
    )


def _asked(served: ServedModel, trial: Trial) -> Schema:
    """What examples are; columns without names, so that a list is a table, too."""
    if isinstance(served.examples, Texts):
        return Schema([ColSpec(DataType.string)] * served.examples.each(trial.config))
    return Schema([TensorSpec(np.dtype(served.examples.type), (-1,) * served.examples.dimensions)])


def _requirements(packages: Sequence[str]) -> list[str]:
    """With the versions of here, less what says how a package was built, which no index has."""
    found = []
    for package in packages:
        try:
            found.append(f"{package}=={version(package).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return found


def link_beside(names: Sequence[str], artifacts: Path) -> None:
    """Has files of the model among the run's other artifacts, too: without a second copy where the file system can.

    Raises:
        OSError: the folder cannot be written.
    """
    for name in names:
        source, beside = artifacts / MODEL / name, artifacts / name
        if not source.is_file():
            continue
        beside.unlink(missing_ok=True)
        try:
            os.link(source, beside)
        except OSError:  # a file system without links
            shutil.copyfile(source, beside)
