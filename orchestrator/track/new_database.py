"""A new SQLite database for MLflow, whole or not there, and without MLflow's migrations where one was made before.

MLflow makes every new database by migrating the schema of its first release step by step, which takes two seconds of
processor time and ends the same each time. So the result is kept, per version of MLflow, and copied; only from a folder
that nobody else can write, since a database can hold triggers that do another's work.
"""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from stat import S_IWGRP, S_IWOTH
from uuid import uuid4

from filelock import FileLock
from mlflow import MlflowClient
from platformdirs import user_cache_path

from orchestrator.track.sqlite_address import address_of


def create(path: Path) -> None:
    """Makes the database aside, then puts it in place: one killed amid the migrations could not be opened again.

    Does nothing if it is there, or as soon as somebody else has made it.
    """
    if path.exists():
        return
    aside = path.with_name(f".{path.name}.new")
    with lock(path):
        if path.exists():  # somebody else was faster
            return
        aside.unlink(missing_ok=True)
        kept = user_cache_path("sortednet-studies") / f"mlflow-{version('mlflow')}.db"
        if not _copied(kept, aside):
            _migrated(aside)
            with suppress(OSError):  # a cache that cannot be written costs the next database its time, no more
                _keep(aside, kept)
        aside.replace(path)


def lock(path: Path) -> FileLock:
    """Held by whoever makes a database, or changes it beside MLflow."""
    return FileLock(path.with_name(f".{path.name}.lock"))


def _copied(kept: Path, aside: Path) -> bool:
    """Whether there is a sound one to copy."""
    try:
        if not (_is_ours(kept.parent) and _is_ours(kept)):
            return False
        shutil.copyfile(kept, aside)
        with closing(sqlite3.connect(aside)) as database:
            migrated = database.execute("SELECT version_num FROM alembic_version").fetchone()
            return migrated is not None and database.execute("PRAGMA quick_check").fetchone() == ("ok",)
    except (OSError, sqlite3.Error):
        return False


def _is_ours(path: Path) -> bool:
    status = path.lstat()
    return status.st_uid == os.geteuid() and not status.st_mode & (S_IWGRP | S_IWOTH)


def _migrated(aside: Path) -> None:
    fresh = aside.with_suffix(".migrating")
    fresh.unlink(missing_ok=True)
    MlflowClient(tracking_uri=address_of(fresh)).search_experiments(max_results=1)
    fresh.replace(aside)


def _keep(made: Path, kept: Path) -> None:
    """Without MLflow's default experiment, which names the folder it was made in; MLflow adds the one that lacks."""
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    whole = kept.with_name(f".{kept.name}.{uuid4().hex}")
    try:
        shutil.copyfile(made, whole)
        with closing(sqlite3.connect(whole)) as database, database:
            database.execute("DELETE FROM experiments")
        with whole.open("rb") as written:
            os.fsync(written.fileno())
        whole.chmod(0o600)
        whole.replace(kept)
    finally:
        whole.unlink(missing_ok=True)
