"""A storage's own database after the storage was moved or copied: where its artifacts are is set right.

MLflow keeps whole paths. Left as they are, a moved storage finds none of its artifacts, and a copy writes into its
original. Artifacts lie beside the database that knows them, so where it is now says where they are. An experiment whose
artifacts were never there, on a server or in another storage, is left alone.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from orchestrator.errors import UserError, reason
from orchestrator.run.drivers import drivers
from orchestrator.secrecy.redaction import shown_address
from orchestrator.track import new_database

ROOT = "artifacts"  # beside the database
BESIDE = "study.artifacts"  # the experiment's tag that says so
_SECONDS = 60.0  # that another writer is waited for
_FOLDER_OF_A_RUN = 3  # EXPERIMENT/RUN/artifacts


@dataclass(frozen=True)
class _Move:
    """Where an experiment's artifacts were, as it says, and where they are."""

    experiment: int
    recorded: str
    here: Path


def relocate(database: Path) -> str:
    """Sets right where artifacts are, all in one transaction; gives why not, if it cannot be done now.

    Raises:
        sqlite3.Error: this is no database of MLflow's, or it does not answer.
    """
    if not _moves(database):
        return ""
    if others := drivers(database.parent):  # by another mount's path, perhaps, which is theirs to write by
        return f"{others[0].study} runs on it: {others[0].holder.text}"
    try:
        with new_database.lock(database), closing(_connected(database)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for move in _found(connection, database):
                _rewrite(connection, move)
            connection.execute("COMMIT")
    except (OSError, sqlite3.OperationalError) as error:
        return reason(error)
    return ""


def places(artifacts: str, root: Path | None) -> list[Path]:
    """The folders in which a run's artifacts may be, the likeliest first; none for what a server keeps.

    Args:
        artifacts: where they are as recorded, a URI.
        root: of this storage's artifacts.
    """
    recorded = _path(artifacts)
    if recorded is None:
        return []
    if root is None or len(recorded.parts) <= _FOLDER_OF_A_RUN:
        return [recorded]
    here = root.joinpath(*recorded.parts[-_FOLDER_OF_A_RUN:])
    return list(dict.fromkeys([here, recorded]))


def absent(name: str, whose: str, artifacts: str) -> UserError:
    """The error for an artifact of a finished trial that is not there, which says nothing of what it was."""
    if not artifacts:
        return UserError(
            f"{name} of {whose} is not there, since its run in MLflow no longer says where: --only and --seeds choose "
            "trials without it"
        )
    recorded = _path(artifacts)
    where = shown_address(artifacts) if recorded is None else str(recorded)
    return UserError(
        f"{name} of {whose} is not there, in {where}: put that folder back, or give the --storage that it is in now; "
        "--only and --seeds choose trials without it"
    )


def _moves(database: Path) -> list[_Move]:
    with closing(_connected(database)) as connection:
        return _found(connection, database)


def _connected(database: Path) -> sqlite3.Connection:
    """Opens it as it is: nothing is created, transactions are begun by hand."""
    return sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=_SECONDS, isolation_level=None)


def _found(connection: sqlite3.Connection, database: Path) -> list[_Move]:
    """The experiments whose artifacts are beside the database, though they say that they are elsewhere."""
    root, found = database.parent / ROOT, []
    known = connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
    for experiment, location in known:
        recorded = _path(location or "")
        if recorded is None or recorded.parent.name != ROOT or recorded.parent == root:
            continue
        here = root / recorded.name
        if not _is_same(recorded, here) and _is_own(connection, experiment, recorded, here, database.name):
            found.append(_Move(experiment, location, here))
    return found


def _is_own(connection: sqlite3.Connection, experiment: int, recorded: Path, here: Path, database: str) -> bool:
    """Whether artifacts recorded elsewhere belong beside the database.

    An experiment says so. One of before it did is known by a run's folder that is here; or, as long as no trial has
    finished, by nobody else's being where it was recorded: nothing, or a storage with a database of its own.
    """
    tags = "SELECT 1 FROM experiment_tags WHERE experiment_id = ? AND key = ?"
    if connection.execute(tags, (experiment, BESIDE)).fetchone() is not None:
        return True
    runs = connection.execute("SELECT run_uuid, status FROM runs WHERE experiment_id = ?", (experiment,)).fetchall()
    if here.is_dir() and {run for run, _ in runs} & {path.name for path in here.iterdir()}:
        return True
    before = recorded.parent.parent
    return not any(status == "FINISHED" for _, status in runs) and (
        not before.exists() or (before / database).is_file()
    )


def _rewrite(connection: sqlite3.Connection, move: _Move) -> None:
    before, now = move.recorded.rstrip("/"), move.here.as_uri()
    connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (now, move.experiment))
    runs = connection.execute(
        "SELECT run_uuid, status, artifact_uri FROM runs WHERE experiment_id = ?", (move.experiment,)
    ).fetchall()
    for run, status, artifacts in runs:
        if artifacts is None or not artifacts.startswith(f"{before}/"):
            continue
        moved = now + artifacts.removeprefix(before)
        here, there = _path(moved), _path(artifacts)
        assert here is not None
        assert there is not None
        if status == "FINISHED" and there.is_dir() and not here.is_dir():
            continue  # written to the old place by what did not know of the move
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (moved, run))


def _path(location: str) -> Path | None:
    """The folder that a location means, as MLflow reads it; None if it is none of this machine's."""
    parts = urlparse(location)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost") or not location:
        return None
    path = Path(unquote(parts.path if parts.scheme else location))
    return path if path.is_absolute() else None


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one folder: by a link, or by another mount's path; their parents', if it is not yet."""
    for first, second in ((one, other), (one.parent, other.parent), (one.parent.parent, other.parent.parent)):
        if first.exists() and second.exists():
            return first.samefile(second)
    return False
