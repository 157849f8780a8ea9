"""A database that MLflow has migrated once is copied; nothing but the time tells."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.track import new_database
from orchestrator.track.tracker import Tracker


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def migrations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The databases that are migrated from now on."""
    migrate, made = new_database._migrated, list[Path]()

    def counted(aside: Path) -> None:
        made.append(aside)
        migrate(aside)

    monkeypatch.setattr(new_database, "_migrated", counted)
    return made


def schema(path: Path) -> tuple[str, list[tuple[str, str, list[str]]]]:
    """The revision, and every table and index; MLflow's migrations put a table's constraints in any order."""
    with closing(sqlite3.connect(path)) as database:
        ((revision,),) = database.execute("SELECT version_num FROM alembic_version")
        parts = database.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master")
        return revision, sorted((kind, name, sorted(re.split(r"[\s,]+", sql))) for kind, name, sql in parts)


def test_a_copy_is_what_mlflow_makes_itself_and_is_not_migrated(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'own.db'}").search_experiments(max_results=1)
    migrated = migrations(monkeypatch)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        tracker = Tracker(f"sqlite:///{tmp_path / name / 'mlflow.db'}", tmp_path / "artifacts")
        (default,) = tracker.client.search_experiments()
        assert (default.name, default.artifact_location) == ("Default", str(tmp_path / name / "mlruns" / "0"))
        assert tracker.experiment("study", create=True) == "1"
        assert schema(tmp_path / name / "mlflow.db") == schema(tmp_path / "own.db")
        assert {path.name for path in (tmp_path / name).iterdir()} == {".mlflow.db.lock", "mlflow.db"}
    assert len(migrated) == 1
    assert len(list(cache.rglob("*.db"))) == len(list((cache / "sortednet-studies").iterdir())) == 1


def test_a_kept_database_that_is_not_as_it_was_is_made_anew(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_database.create(tmp_path / "first.db")
    (kept,) = cache.rglob("*.db")
    whole = kept.read_bytes()
    migrated = migrations(monkeypatch)
    last_page = whole[:-4096] + b"\xff" * 4096  # which only a check of all of it finds
    for number, damaged in enumerate((b"", b"no database", whole[: len(whole) // 2], last_page)):
        kept.write_bytes(damaged)
        new_database.create(tmp_path / f"{number}.db")
        assert schema(tmp_path / f"{number}.db") == schema(tmp_path / "first.db")
        assert len(migrated) == number + 1
        assert schema(kept) == schema(tmp_path / "first.db")


def test_without_a_cache_that_can_be_written_every_database_is_migrated(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("in the way")
    migrated = migrations(monkeypatch)
    for name in ("first", "second"):
        new_database.create(tmp_path / name)
    assert schema(tmp_path / "first") == schema(tmp_path / "second")
    assert len(migrated) == 2


def test_a_kept_database_that_others_can_write_is_not_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_database.create(tmp_path / "first.db")
    (kept,) = cache.rglob("*.db")
    migrated = migrations(monkeypatch)
    for opened, usual in ((kept, 0o600), (kept.parent, 0o700)):
        with closing(sqlite3.connect(kept)) as database, database:
            database.execute("CREATE TABLE planted (name TEXT)")
        opened.chmod(0o777)
        new_database.create(tmp_path / f"beside-{opened.name}")
        opened.chmod(usual)
        assert schema(tmp_path / f"beside-{opened.name}") == schema(tmp_path / "first.db")
    assert len(migrated) == 2
