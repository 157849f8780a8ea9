"""What a driver changes of its environment, and what it does without on a host that offers little."""

import os
import subprocess
import tempfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.run import scratch
from orchestrator.run.scratch import find_place_for_scratch
from orchestrator.run.sockets import find_place_for_sockets
from tests.faults import harness

AUDIT = """
import os, sys, threading

def heed(event, arguments):
    if event in ("os.putenv", "os.unsetenv") and sys.argv[0].endswith("chain.py"):
        with open(os.environ["AUDITED"], "a") as file:
            file.write(f"{threading.current_thread().name} {event} {arguments[0].decode()}\\n")

sys.addaudithook(heed)
"""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short name, as one for sockets has."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def unfit(folder: Path) -> dict[str, Path]:
    """Folders that Ray's sockets cannot be in, by the reason."""
    taken, long = folder / "taken", folder / (60 * "a")
    taken.mkdir()
    (taken / "ray").touch()
    long.mkdir()
    return {"its ray is no folder": taken, "too long": long, "missing": folder / "missing", "relative": Path("tmp")}


@pytest.mark.parametrize("why", ["its ray is no folder", "too long", "missing", "relative"])
def test_sockets_go_where_they_can_be(why: str, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(unfit(short)[why]))
    monkeypatch.chdir(short)
    for name in ("good", "tmp"):
        (short / name).mkdir()
    find_place_for_sockets([str(short / "missing"), str(short / "good")])
    assert os.environ["RAY_TMPDIR"] == str(short / "good")


def test_beside_a_folder_of_somebody_else_there_is_one_of_ones_own(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, own = unfit(short)["its ray is no folder"], f"ray-of-{os.getuid()}"
    monkeypatch.setenv("TMPDIR", str(taken))
    find_place_for_sockets([str(taken)])
    assert os.environ["RAY_TMPDIR"] == str(taken / own)
    assert (taken / own).stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("RAY_TMPDIR")
    (taken / own).chmod(0o777)  # anybody may put something there
    with pytest.raises(UserError, match=rf"neither in {taken} nor in {taken}: set RAY_TMPDIR .* at most 39 characters"):
        find_place_for_sockets([str(taken)])
    monkeypatch.setenv("RAY_TMPDIR", "/nowhere")
    find_place_for_sockets([])
    assert os.environ["RAY_TMPDIR"] == "/nowhere"


def test_where_sockets_can_be_nothing_is_changed(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(short))
    find_place_for_sockets([])
    assert "RAY_TMPDIR" not in os.environ


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The folders, to be filled in, that look as if their disk had no room."""
    usage, folders, usual = namedtuple("usage", "total used free"), set[str](), scratch.shutil.disk_usage
    monkeypatch.setattr(
        scratch.shutil, "disk_usage", lambda path: usage(9, 8, 1) if str(path) in folders else usual(path)
    )
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folders


def test_sockets_and_what_ray_logs_beside_them_go_where_there_is_room(
    short: Path, full: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (short / "good").mkdir()
    monkeypatch.setenv("TMPDIR", str(short))
    full.add(str(short))
    find_place_for_sockets([str(short / "good")])
    assert os.environ["RAY_TMPDIR"] == str(short / "good")


@pytest.mark.parametrize("why", ["it is full", "there is none", "nothing"])
def test_temporary_files_go_where_they_can_be(
    why: str, short: Path, full: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(short))
    other = short / "other"
    if why == "it is full":
        full.add(str(short))
    elif why == "there is none":
        monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc"])
    find_place_for_scratch(other)
    expected = short if why == "nothing" else other
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(expected)
    assert other.exists() == (expected == other)


def test_where_no_temporary_file_can_be_it_is_said(
    short: Path, full: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(short))
    full.add(str(short))
    (short / "other").touch()
    with pytest.raises(UserError, match=f"neither in {short}, nor in {short}/other: .* Set TMPDIR to a folder with"):
        find_place_for_scratch(short / "other")


def own_mounts(*mounts: str) -> tuple[str, ...]:
    """Words before a command, which then has these mounts to itself; skips where nobody may do so."""
    alone = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--mount")
    tried = subprocess.run([*alone, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("mounts of one's own are not to be had here")
    return *alone, "bash", "-c", " && ".join([*(f"mount -t tmpfs -o {each}" for each in mounts), 'exec "$@"']), "bash"


@pytest.mark.parametrize("mode", [[], ["--debug"]], ids=["under Ray", "under --debug"])
def test_a_study_runs_where_home_is_read_only_and_the_temporary_folder_has_no_room(
    mode: list[str], calm: Path, tmp_path: Path
) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    prefix = own_mounts(f"ro tmpfs {home}", f"size=8k tmpfs {temporary}")
    env = {"HOME": str(home), "TMPDIR": str(temporary)}
    done = harness.ended(harness.start(tmp_path / "s", *mode, env=env, prefix=("env", "-u", "XDG_CACHE_HOME", *prefix)))
    assert (done.status, done.err) == (0, ""), done
    harness.same(tmp_path / "s", calm)
    assert list((tmp_path / "s" / "scratch").iterdir()) == []


def test_a_study_runs_on_a_host_that_offers_little(calm: Path, tmp_path: Path) -> None:
    (tmp_path / (90 * "a")).mkdir()
    env = {"TMPDIR": str(tmp_path / (90 * "a")), "HOME": "/nowhere/to/be/found", "XDG_CACHE_HOME": "/dev/null/cache"}
    env |= {"LC_ALL": "C", "PYTHONUTF8": "0"}
    prefix = ("bash", "-c", 'ulimit -S -n 64; exec "$@" <&-', "bash")
    done = harness.ended(harness.start(tmp_path / "s", env=env, prefix=prefix))
    assert (done.status, done.err) == (0, ""), done
    harness.same(tmp_path / "s", calm)


@pytest.mark.parametrize("mode", [[], ["--debug"]], ids=["under Ray", "under --debug"])
def test_too_little_address_space_is_said_before_anything_starts(mode: list[str], tmp_path: Path) -> None:
    prefix = ("bash", "-c", 'ulimit -v 4800000; exec "$@"', "bash")
    done = harness.ended(harness.start(tmp_path / "s", *mode, prefix=prefix))
    assert (done.status, done.err.count("\n")) == (2, 1), done
    assert "this shell allows 4.9 GB of address space (ulimit -v), and a study maps" in done.err
    assert done.err.endswith("GB: ulimit -v unlimited\n")
    assert not (tmp_path / "s").exists()


def test_no_thread_beside_the_main_one_changes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(AUDIT)
    audited = tmp_path / "audited"
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # or MLflow's telemetry would be off of its own accord
    monkeypatch.delenv("_MLFLOW_TELEMETRY_SESSION_ID", raising=False)  # of the process that tests
    done = harness.run(tmp_path / "s", env={"PYTHONPATH": str(tmp_path), "AUDITED": str(audited)})
    assert (done.status, done.err) == (0, "")
    changes = audited.read_text().splitlines()
    assert len(changes) > 5
    assert [change for change in changes if not change.startswith("MainThread ")] == []
