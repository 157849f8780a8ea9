"""The MLflow store: experiment = study, parent run = base config, child run = trial, found again by its key tag."""

import csv
import io
import json
import logging
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts, list_artifacts
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from orchestrator.errors import UserError, reason
from orchestrator.secrecy.redaction import shown_address
from orchestrator.track import new_database
from orchestrator.track.address import is_served, reach
from orchestrator.track.database import Database
from orchestrator.track.limits import LOCATION_LIMIT
from orchestrator.track.relocation import BESIDE, ROOT, places, relocate
from orchestrator.track.sqlite_address import file_of

KEY, BASE, ARM, SEED, FACTOR, OUTCOME = "trial.key", "study.base_key", "arm", "seed", "factor.", "outcome"
CODE = "code."  # before what the study's own file defines, by what it is
PRESET, SETTINGS, RUN_NAME = "study.preset", "study.settings", "mlflow.runName"
ROLE, ARM_SETTINGS, SECONDS = "study.role", "arm.settings", "seconds"
DEVICE, LATENCY, BUDGET, EPOCH = "device", "latency.json", "budget", "updates_per_epoch"
LOOKS = "looks.json"
DIVERGED = "diverged"  # an outcome
MODEL = "model"  # the folder of a run's model, among its artifacts
_PAGE, _READERS = 1000, 16
_ORDER = ("FINISHED", "RUNNING", "KILLED", "FAILED")


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
        """As `has_diverged`."""
        return has_diverged(self.tags)


def has_diverged(tags: Mapping[str, str]) -> bool:
    """Whether a run with these tags ended because its loss was no number, so that what it measured is no result."""
    return tags.get(OUTCOME) == DIVERGED


class _OfTrial(Protocol):
    @property
    def status(self) -> str: ...


_Run = TypeVar("_Run", bound=_OfTrial)


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
        self._misplaced = ""  # why a database that was moved cannot be set right now
        try:
            reach(uri)
        except Exception as error:  # SQLAlchemy and its drivers each raise their own
            raise UserError(f"the tracking store {shown_address(uri)} cannot be reached: {reason(error)}") from error
        try:
            if (database := file_of(uri)) is not None:
                new_database.create(database)
                self._misplaced = relocate(database)
            self.client = MlflowClient(tracking_uri=uri)
            self.client.search_experiments(max_results=1)
            # Any JSON is an empty answer to MLflow's client; its server knows that nobody gave this name.
            stranger = is_served(uri) and self.client.get_experiment_by_name(uuid.uuid4().hex) is not None
        except Exception as error:  # MLflow, too
            raise UserError(f"the tracking store {shown_address(uri)} cannot be opened: {reason(error)}") from error
        if stranger:
            raise UserError(f"what answers at {shown_address(uri)} is no MLflow server; look at its address and port")

    def experiment(self, name: str, create: bool) -> str | None:
        """The id of an experiment; None if there is none and none is to be created.

        Raises:
            UserError: it was deleted; or it is to be written to, and a storage that was moved cannot be set right now.
        """
        if create and self._misplaced:
            raise UserError(
                f"{shown_address(self.uri)} was moved or copied, and what it says of where artifacts are cannot be set "
                f"right now ({self._misplaced}): wait until nothing runs on it, and make it writable"
            )
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
        if root is not None and file_of(self.uri) is None and len(root) > LOCATION_LIMIT:
            raise UserError(
                f"the address of the storage's artifacts, {root}, has {len(root)} characters, of which this tracking "
                f"store takes {LOCATION_LIMIT}: give a --storage with a shorter path"
            )
        # For the interface's list, no more: it opens with pages for generative AI unless its address says otherwise.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        database = file_of(self.uri)
        if database is not None and self._artifacts == database.parent / ROOT:
            tags[BESIDE] = ROOT
        return str(self.client.create_experiment(name, artifact_location=root, tags=tags))

    def parent(self, experiment: str, base_key: str) -> Run | None:
        """The parent run of a base config."""
        wanted = f"tags.`{BASE}` = '{base_key}' AND tags.`{ROLE}` = 'base'"
        return next(self._search(experiment, wanted), None)  # of two, made at once from two storages, the older

    def parents(self, experiment: str, preset: str) -> Iterator[Run]:
        """The parent runs of every base config of a preset, oldest first."""
        return self._search(experiment, f"tags.`{PRESET}` = '{preset}' AND tags.`{ROLE}` = 'base'")

    def standings(self, experiment: str, base_key: str) -> dict[str, Standing]:
        """The run that counts of every trial of a base config, by the trial's key."""
        if is_served(self.uri):
            found = [
                (run.data.tags[KEY], Standing(run.info.run_id, run.info.status))
                for run in self._children(experiment, base_key)
            ]
        else:
            read = self._database(experiment, base_key).standings()
            found = [(key, Standing(*standing)) for key, *standing in read]
        return counting(found)

    def trials(self, experiment: str, base_key: str) -> list[TrackedTrial]:
        """The run that counts of every trial of a base config with what it recorded, oldest first."""
        if is_served(self.uri):
            found = [
                TrackedTrial(
                    run.info.run_id,
                    run.info.status,
                    run.info.artifact_uri,
                    run.data.tags,
                    run.data.params,
                    run.data.metrics,
                )
                for run in self._children(experiment, base_key)
            ]
        else:
            found = [TrackedTrial(*contents) for contents in self._database(experiment, base_key).contents()]
        counts = {trial.run_id for trial in counting((trial.key, trial) for trial in found).values()}
        return [trial for trial in found if trial.run_id in counts]

    def _children(self, experiment: str, base_key: str) -> list[Run]:
        """Oldest first. Whoever's run has no key, is no trial."""
        found = self._search(experiment, f"tags.`{BASE}` = '{base_key}'")
        trials = [run for run in found if KEY in run.data.tags]
        return sorted(trials, key=lambda run: (run.info.start_time, run.info.run_id))

    def _database(self, experiment: str, base_key: str) -> Database:
        return Database(self.uri, experiment, (BASE, base_key), KEY)

    def all_runs(self, experiment: str, view: int) -> Iterator[Run]:
        """Every run of an experiment, whosever, oldest first; `view` is MLflow's `ViewType`."""
        return self._search(experiment, "", view)

    def _search(self, experiment: str, wanted: str, view: int = ViewType.ACTIVE_ONLY) -> Iterator[Run]:
        token = None
        while True:
            page = self.client.search_runs(
                [experiment], wanted, view, _PAGE, order_by=["attributes.start_time ASC"], page_token=token
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
        if folders := places(artifacts, self._artifacts):
            for folder in folders:
                with suppress(FileNotFoundError, NotADirectoryError):
                    return (folder / name).read_text(errors="replace")
            return None
        with tempfile.TemporaryDirectory() as scratch:
            file = self._downloaded(artifacts, name, scratch)
            return None if file is None else file.read_text(errors="replace")

    def fetch(self, artifacts: str, name: str, scratch: str) -> Path | None:
        """An artifact as a file on this machine, put into the folder `scratch` unless it is one; None without one.

        A server keeps the files of a trial's model with the model alone.

        Raises:
            MlflowException, OSError: as `read_text`.
        """
        if folders := places(artifacts, self._artifacts):
            return next((folder / name for folder in folders if (folder / name).is_file()), None)
        return self._downloaded(artifacts, name, scratch) or self._downloaded(artifacts, f"{MODEL}/{name}", scratch)

    def _downloaded(self, artifacts: str, name: str, scratch: str) -> Path | None:
        """Through this store's server, whatever MLflow's default is."""
        whole = f"{artifacts.rstrip('/')}/{name}"
        try:
            return Path(download_artifacts(whole, dst_path=scratch, tracking_uri=self.uri))
        except (MlflowException, OSError):  # the same for one that is not there as for a server that stumbles
            listed = list_artifacts(artifact_uri=artifacts, tracking_uri=self.uri)
            if name in {PurePosixPath(file.path).name for file in listed}:
                raise
            return None

    def folder(self, artifacts: str) -> Path | None:
        """The folder in which a run's artifacts are; None where a server keeps them, or it is not there."""
        return next((folder for folder in places(artifacts, self._artifacts) if folder.is_dir()), None)

    def attach(self, run_id: str, files: Path, into: str | None = None) -> None:
        """Copies a folder's files to a run's artifacts, or into a folder of theirs.

        Not by MLflow's client, which remembers by a run's id where its artifacts are: a copied storage has the same.
        """
        artifacts = self.client.get_run(run_id).info.artifact_uri
        repository: Any = get_artifact_repository(artifacts, tracking_uri=self.uri)
        repository.log_artifacts(str(files), into)

    def attach_text(self, run_id: str, text: str, name: str) -> None:
        """Writes a text as a run's artifact; `name` may be in a folder."""
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            self.attach(run_id, Path(scratch))


def parse_csv(text: str | None) -> list[dict[str, str]]:
    """A CSV's rows by their heads; none without a text."""
    return [] if text is None else list(csv.DictReader(io.StringIO(text)))


def counting(runs: Iterable[tuple[str, _Run]]) -> dict[str, _Run]:
    """Of the runs of each trial the one that counts: two storages, or a copied run, may have given it several.

    A finished one before one that runs, was interrupted or has failed, in this order; of two alike the older, so that
    what was reported once stays as it was.

    Args:
        runs: by the key of their trial, oldest first.
    """
    found: dict[str, _Run] = {}
    for key, run in runs:
        if key not in found or _rank(run.status) < _rank(found[key].status):
            found[key] = run
    return found


def _rank(status: str) -> int:
    return _ORDER.index(status) if status in _ORDER else len(_ORDER)
