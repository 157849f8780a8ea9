"""Databases in folders whose names mean something in an address, or to a shell."""

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy

from orchestrator.track.sqlite_address import address_of, file_of
from tests.faults import harness

NAMES = ("plain", "a b", "a?b", "a%20b", "a%b", "a#b", "a&uri=true", "a'b\"c", "file:a?mode=memory", "a;b$c`d", "ä×")


@pytest.mark.parametrize("name", NAMES)
def test_the_address_of_a_file_opens_that_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / name / "mlflow.db"
    file.parent.mkdir()
    assert file_of(address_of(file)) == file
    engine = sqlalchemy.create_engine(address_of(file))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE told (name TEXT)"))
    engine.dispose()
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("told",)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:///runs/m.db", "runs/m.db"),
        ("sqlite:////runs/m.db?timeout=5", "/runs/m.db"),
        ("sqlite+pysqlite:////runs/m.db", "/runs/m.db"),
        ("sqlite:///file:/runs/m.db?mode=ro&uri=true", "/runs/m.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("sqlite:///file:shared?mode=memory&uri=true", None),
        ("postgresql://host/sqlite:///m.db", None),
        ("http://host:5000", None),
    ],
)
def test_the_file_of_an_address_is_the_one_that_is_opened(address: str, file: str | None) -> None:
    assert file_of(address) == (None if file is None else Path(file).absolute())


@pytest.mark.parametrize("name", ["it's ?mode=memory&%41 #1", 'it\'s $(here) "&" #1'])
def test_a_study_keeps_to_a_storage_of_any_name_and_says_commands_that_a_shell_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / name
    monkeypatch.chdir(tmp_path)
    done = harness.run_here(storage, "--debug", "--seeds", "1", "--only", "arm=a")
    assert (done.status, done.err) == (0, ""), done
    assert [path.name for path in tmp_path.iterdir()] == [storage.name]
    assert (storage / "mlflow.db").stat().st_size > 0
    assert '"done"' in harness.run_here(storage, "status", "--json", "--seeds", "1", "--only", "arm=a").out
    (line,) = [line for line in done.out.splitlines() if line.startswith("MLflow: ")]
    *command, address = shlex.split(line.removeprefix("MLflow: "))
    assert command[1:] == ["ui", "--backend-store-uri"]
    assert file_of(address) == storage / "mlflow.db"
    assert list(harness.curves(address))
