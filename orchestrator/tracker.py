"""The MLflow store: experiment = study, parent run = base config, child run = trial, found again by its key tag."""

import csv
import io
import json
import logging
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from orchestrator.errors import UserError

KEY, BASE, ARM, SEED, FACTOR, OUTCOME = "trial.key", "study.base_key", "arm", "seed", "factor.", "outcome"
PRESET, SAID = "study.preset", "study.settings"
LATENCY = "latency.json"
_PAGE, _REACH_SECONDS = 1000, 5


@dataclass(frozen=True)
class TrackedTrial:
    """A child run as the report needs it.

    Attributes:
        status: MLflow's RUNNING, FINISHED, FAILED or KILLED.
        tags, params, metrics: as MLflow keeps them; metrics are the last values.
    """

    run_id: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def key(self) -> str:
        return self.tags[KEY]


class Tracker:
    """A thin reader and writer over `MlflowClient`; no global state of MLflow's is touched.

    Args:
        uri: of the tracking store.
        artifacts: artifact root for new experiments; None leaves it to a tracking server.

    Raises:
        UserError: the store cannot be reached or opened.
    """

    def __init__(self, uri: str, artifacts: Path | None) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.uri = uri
        self._artifacts = artifacts
        _reach(uri)
        try:
            self.client = MlflowClient(tracking_uri=uri)
            self.client.search_experiments(max_results=1)
        except Exception as error:  # MLflow, SQLAlchemy and their drivers each raise their own
            raise UserError(f"the tracking store {uri} cannot be opened: {_first_line(error)}") from error

    def experiment(self, name: str, create: bool) -> str | None:
        """The id of an experiment; None if there is none and none is to be created."""
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                raise UserError(
                    f"the MLflow experiment {name!r} was deleted in {self.uri}; restore it with "
                    f"`mlflow experiments restore -x {found.experiment_id}` or use another --storage"
                )
            return str(found.experiment_id)
        if not create:
            return None
        root = None if self._artifacts is None else (self._artifacts / name).as_uri()
        # Opens in the interface as model training rather than as generative AI.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(self.client.create_experiment(name, artifact_location=root, tags=kind))

    def parent(self, experiment: str, base_key: str) -> Run | None:
        """The parent run of a base config."""
        wanted = f"tags.`{BASE}` = '{base_key}' AND tags.`study.role` = 'base'"
        found = self.client.search_runs([experiment], wanted, max_results=1)
        return found[0] if found else None

    def trials(self, experiment: str, base_key: str) -> list[TrackedTrial]:
        """Every child run of a base config, oldest first."""
        wanted = f"tags.`{BASE}` = '{base_key}' AND tags.`study.role` = 'trial'"
        return [
            TrackedTrial(run.info.run_id, run.info.status, run.data.tags, run.data.params, run.data.metrics)
            for run in self._search(experiment, wanted)
        ]

    def _search(self, experiment: str, wanted: str) -> Iterator[Run]:
        token = None
        while True:
            page = self.client.search_runs(
                [experiment], wanted, max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def read_json(self, run_id: str, name: str) -> Any:
        """A JSON artifact; None if the run has none of that name."""
        text = self.read_text(run_id, name)
        return None if text is None else json.loads(text)

    def read_csv(self, run_id: str, name: str) -> list[dict[str, str]]:
        """A CSV artifact's rows; none if the run has none of that name."""
        text = self.read_text(run_id, name)
        return [] if text is None else list(csv.DictReader(io.StringIO(text)))

    def read_text(self, run_id: str, name: str) -> str | None:
        """A text artifact; None if the run has none of that name."""
        with tempfile.TemporaryDirectory() as scratch:
            try:
                return Path(self.client.download_artifacts(run_id, name, scratch)).read_text()
            except (MlflowException, OSError):
                return None


def _reach(uri: str) -> None:
    if not uri.startswith(("http://", "https://")):
        return
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers; a proxy may not know /health
    except (OSError, ValueError) as error:
        raise UserError(f"the tracking server {uri} cannot be reached: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
