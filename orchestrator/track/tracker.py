"""The MLflow store: experiment = study, parent run = base config, child run = trial, found again by its key tag."""

import csv
import io
import json
import logging
import os
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

import sqlalchemy
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts, list_artifacts
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from orchestrator.errors import UserError, reason
from orchestrator.secrecy.redaction import shown_address
from orchestrator.track import new_database
from orchestrator.track.database import Database
from orchestrator.track.sqlite_address import file_of

KEY, BASE, ARM, SEED, FACTOR, OUTCOME = "trial.key", "study.base_key", "arm", "seed", "factor.", "outcome"
PRESET, SETTINGS = "study.preset", "study.settings"
DEVICE, LATENCY, BUDGET, EPOCH = "device", "latency.json", "budget", "updates_per_epoch"
LOOKS = "looks.json"
_PAGE, _REACH_SECONDS, _READERS = 1000, 20, 16


@dataclass(frozen=True)
class Standing:
    """A child run by its id, and MLflow's status of it: RUNNING, FINISHED, FAILED or KILLED."""

    run_id: str
    status: str


@dataclass(frozen=True)
class TrackedTrial:
    """A child run as the report needs it.

    Attributes:
        status: as of `Standing`.
        artifacts: where its artifacts are, a URI.
        tags, params, metrics: as MLflow keeps them; metrics are the last values.
    """

    run_id: str
    status: str
    artifacts: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def key(self) -> str:
        return self.tags[KEY]

    @property
    def diverged(self) -> bool:
        """Whether it ended because its loss was no number, so that what it measured is no result."""
        return self.tags.get(OUTCOME) == "diverged"


class Tracker:
    """A thin reader and writer over `MlflowClient`; no global state of MLflow's is touched.

    Args:
        uri: of the tracking store.
        artifacts: artifact root for new experiments; None leaves it to a tracking server.

    Raises:
        UserError: the store cannot be reached or opened, or what answers is none.
    """

    def __init__(self, uri: str, artifacts: Path | None) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is raised, and said once
        self.uri = uri
        self._artifacts = artifacts
        try:
            _reach(uri)
        except Exception as error:  # SQLAlchemy and its drivers each raise their own
            raise UserError(f"the tracking store {shown_address(uri)} cannot be reached: {reason(error)}") from error
        try:
            if (database := file_of(uri)) is not None:
                new_database.create(database)
            self.client = MlflowClient(tracking_uri=uri)
            self.client.search_experiments(max_results=1)
            # Any JSON is an empty answer to MLflow's client; its server knows that nobody gave this name.
            stranger = _is_served(uri) and self.client.get_experiment_by_name(uuid.uuid4().hex) is not None
        except Exception as error:  # MLflow, too
            raise UserError(f"the tracking store {shown_address(uri)} cannot be opened: {reason(error)}") from error
        if stranger:
            raise UserError(f"what answers at {shown_address(uri)} is no MLflow server; look at its address and port")

    def experiment(self, name: str, create: bool) -> str | None:
        """The id of an experiment; None if there is none and none is to be created."""
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                raise UserError(
                    f"the MLflow experiment {name!r} was deleted in {shown_address(self.uri)}; restore it with "
                    f"`mlflow experiments restore -x {found.experiment_id}` or use another --storage"
                )
            return str(found.experiment_id)
        if not create:
            return None
        root = None if self._artifacts is None else (self._artifacts / name).as_uri()
        # For the interface's list, no more: it opens with pages for generative AI unless its address says otherwise.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(self.client.create_experiment(name, artifact_location=root, tags=kind))

    def parent(self, experiment: str, base_key: str) -> Run | None:
        """The parent run of a base config."""
        wanted = f"tags.`{BASE}` = '{base_key}' AND tags.`study.role` = 'base'"
        found = self.client.search_runs([experiment], wanted, max_results=1)
        return found[0] if found else None

    def parents(self, experiment: str, preset: str) -> Iterator[Run]:
        """The parent runs of every base config of a preset, oldest first."""
        return self._search(experiment, f"tags.`{PRESET}` = '{preset}' AND tags.`study.role` = 'base'")

    def standings(self, experiment: str, base_key: str) -> dict[str, Standing]:
        """Every child run of a base config, by the key of its trial."""
        if _is_served(self.uri):
            found = self._search(experiment, _trials_of(base_key))
            return {run.data.tags[KEY]: Standing(run.info.run_id, run.info.status) for run in found}
        return {key: Standing(*standing) for key, *standing in self._database(experiment, base_key).standings()}

    def trials(self, experiment: str, base_key: str) -> list[TrackedTrial]:
        """Every child run of a base config with what it recorded, oldest first."""
        if _is_served(self.uri):
            return [
                TrackedTrial(
                    run.info.run_id,
                    run.info.status,
                    run.info.artifact_uri,
                    run.data.tags,
                    run.data.params,
                    run.data.metrics,
                )
                for run in self._search(experiment, _trials_of(base_key))
            ]
        return [TrackedTrial(*contents) for contents in self._database(experiment, base_key).contents()]

    def _database(self, experiment: str, base_key: str) -> Database:
        return Database(self.uri, experiment, (BASE, base_key), KEY)

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

    def read_json(self, artifacts: str, name: str) -> Any:
        """A JSON artifact of the run whose artifacts are there; None if it has none of that name."""
        text = self.read_text(artifacts, name)
        return None if text is None else json.loads(text)

    def read_csv(self, artifacts: str, name: str) -> list[dict[str, str]]:
        """A CSV artifact's rows; none if there is none of that name."""
        return parse_csv(self.read_text(artifacts, name))

    def read_texts(self, trials: Sequence[TrackedTrial], name: str) -> Iterator[str | None]:
        """The artifact `name` of every trial, some ahead of their use: a tracking server takes a while for each."""
        with ThreadPoolExecutor(_READERS) as readers:
            for first in range(0, len(trials), 4 * _READERS):
                block = trials[first : first + 4 * _READERS]
                yield from readers.map(lambda trial: self.read_text(trial.artifacts, name), block)

    def read_text(self, artifacts: str, name: str) -> str | None:
        """A text artifact of the run whose artifacts are there; None if it has none of that name.

        Raises:
            MlflowException, OSError: it has one, or may have, and it cannot be read now.
        """
        where = urlparse(artifacts)
        if where.scheme in ("", "file"):
            try:
                return (Path(unquote(where.path)) / name).read_text(errors="replace")
            except (FileNotFoundError, NotADirectoryError):
                return None
        whole = f"{artifacts.rstrip('/')}/{name}"
        try:
            with tempfile.TemporaryDirectory() as scratch:  # through this store's server, whatever MLflow's default is
                path = Path(download_artifacts(whole, dst_path=scratch, tracking_uri=self.uri))
                return path.read_text(errors="replace")
        except (MlflowException, OSError):  # the same for one that is not there as for a server that stumbles
            listed = list_artifacts(artifact_uri=artifacts, tracking_uri=self.uri)
            if name in {PurePosixPath(file.path).name for file in listed}:
                raise
            return None


def parse_csv(text: str | None) -> list[dict[str, str]]:
    """A CSV's rows by their heads; none without a text."""
    return [] if text is None else list(csv.DictReader(io.StringIO(text)))


def _is_served(uri: str) -> bool:
    """Whether a server stands before the store; else it is a database."""
    return uri.startswith(("http://", "https://"))


def _trials_of(base_key: str) -> str:
    return f"tags.`{BASE}` = '{base_key}' AND tags.`study.role` = 'trial'"


def _reach(uri: str) -> None:
    """Asks once, whether anybody answers; MLflow itself would go on asking for minutes."""
    if not _is_served(uri):
        if not uri.startswith("sqlite"):
            engine = sqlalchemy.create_engine(uri)
            try:
                engine.connect().close()
            finally:
                engine.dispose()
        return
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers; a proxy may not know /health
