"""MLflow on PostgreSQL, through its server and straight; where PostgreSQL is installed."""

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from benchmarks.noop import STUDY, NoopTrainer
from orchestrator.errors import UserError
from orchestrator.run.outbox import Outbox
from orchestrator.run.patience import Patience
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Layout
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import Tracker
from tests.faults import harness
from tests.faults.proxy import mlflow_server
from tests.orchestrator.test_recording_and_report import recorded_at_any_length

_FOUND = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").is_file()]
_ELSEWHERE = shutil.which("initdb")
_BIN = max(_FOUND) if _FOUND else Path(_ELSEWHERE).parent if _ELSEWHERE else None
pytestmark = [
    pytest.mark.skipif(_BIN is None, reason="PostgreSQL is not installed"),
    pytest.mark.xdist_group("postgres"),  # one server
]
_AT_ONCE = 300


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of an empty database that asks for a password, on a socket in a folder of its own."""
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user is not None:
        try:
            pwd.getpwnam(user)
        except KeyError:
            user = "nobody"
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path may have 107 characters
    if user is not None:
        shutil.chown(folder, user)
    password = secrets.token_hex(8)
    (folder / "password").write_text(password)
    data, call = folder / "data", partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)
    call([f"{_BIN}/initdb", "-D", data, "-U", "mlflow", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"])
    start = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    log = folder / "log"
    call([f"{_BIN}/pg_ctl", "-D", data, "-w", "-l", log, "-o", start, "start"])
    try:
        yield f"postgresql+psycopg://mlflow:{password}@/postgres?host={folder}"
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            call([f"{_BIN}/pg_ctl", "-D", data, "-m", "immediate", "stop"])
        shutil.rmtree(folder, ignore_errors=True)


def _holding(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_study_on_postgresql_is_as_on_sqlite_and_the_password_shows_nowhere(
    database: str, calm: Path, tmp_path: Path
) -> None:
    done = harness.run_here(tmp_path / "s", "--debug", "--tracking-uri", database)
    assert (done.status, done.err) == (0, ""), done
    harness.same(tmp_path / "s", calm, database)
    assert "All 6 trials are finished already" in harness.run_here(tmp_path / "s", "--tracking-uri", database).out
    password = database.partition("mlflow:")[2].partition("@")[0]
    assert password not in done.out
    assert "postgresql+psycopg://mlflow:***@/postgres?host=" in done.out
    assert not _holding(tmp_path / "s", password)
    wrong = harness.run_here(tmp_path / "w", "--tracking-uri", database.replace(password, f"{password}x"))
    assert wrong.status == 2
    assert wrong.err.count("\n") == 1
    assert password not in wrong.err
    submitted = harness.run_here(
        tmp_path / "s", "submit", "--address", "http://127.0.0.1:1", "--tracking-uri", database
    )
    assert submitted.status == 2
    assert "MLFLOW_TRACKING_URI" in submitted.err
    assert password not in submitted.err


def test_a_server_on_postgresql_takes_hundreds_of_trials_at_once(database: str, tmp_path: Path) -> None:
    plan = make_plan(
        STUDY, NoopTrainer(), "none", {}, (0,), Layout(only=tuple(("arm", f"{n:03d}") for n in range(_AT_ONCE)))
    )
    point = {"step": 1, "time": 1, "metrics": {"ledger/updates": 1.0, "test_acc/w100": 50.0, "test_acc_average": 50.0}}
    history = [{**point, "step": step} for step in (1, 2, 3)]
    with mlflow_server(database, tmp_path / "kept") as port:
        recorder = Recorder(Tracker(f"http://127.0.0.1:{port}", None), plan, {})
        outbox = Outbox(Patience(60, print), recorder.lanes)
        for trial in plan.trials:
            outbox.post(trial.key, partial(recorder.start, trial, "CPU"))
        for row in history[:2]:
            for trial in plan.trials:
                outbox.post(trial.key, partial(recorder.record, trial, [row]))
        for trial in plan.trials:
            outbox.post(trial.key, partial(recorder.finish, trial, "finished", 1.0, history, tmp_path))
        assert outbox.drain()
        trials = recorder.tracker.trials(recorder.experiment, plan.base_key)
        assert len({trial.key for trial in trials}) == len(trials) == _AT_ONCE
        assert {trial.status for trial in trials} == {"FINISHED"}
        assert all(text for text in recorder.tracker.read_texts(trials, "history.json"))
        straight = Tracker(database, None)
        assert straight.trials(recorder.experiment, plan.base_key) == trials
        through_http = recorder.tracker.standings(recorder.experiment, plan.base_key)
        assert straight.standings(recorder.experiment, plan.base_key) == through_http


@pytest.mark.parametrize("way", ["straight", "through its server"])
def test_what_is_too_long_for_postgresql_is_shortened_before_it_is_refused(
    way: str, database: str, tmp_path: Path
) -> None:
    name = f"long-{way.split()[0]}"
    if way == "straight":
        recorded_at_any_length(Tracker(database, tmp_path / "kept"), tmp_path, name)
        return
    with mlflow_server(database, tmp_path / "kept") as port:
        recorded_at_any_length(Tracker(f"http://127.0.0.1:{port}", None), tmp_path, name)


def test_a_storage_too_deep_for_postgresql_is_one_line_before_anything_starts(database: str, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    with pytest.raises(UserError, match="of which this tracking store takes 156: give a --storage with a shorter path"):
        Tracker(database, deep).experiment("of a storage too deep", create=True)
    assert Tracker(database, None).experiment("of a storage too deep", create=False) is None
