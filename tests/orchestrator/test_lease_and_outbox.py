"""Who may run, and writes that wait."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from orchestrator.errors import Stopped, UserError
from orchestrator.run import lease as leases
from orchestrator.run.holder import Holder, read_holder
from orchestrator.run.lease import Lease, trained_now
from orchestrator.run.outbox import Outbox
from orchestrator.run.patience import Patience

ROOT = Path(__file__).parents[2]


def wait_until(happened: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.01)


def check_for_long(lease: Lease) -> None:
    """Checks until it raises; a minute without is too long."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        lease.check()
        time.sleep(0.01)


def test_a_lease_is_held_by_one_and_free_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "study.json"
    with Lease(path).acquired():
        with pytest.raises(UserError, match=f"process {os.getpid()}"), Lease(path).acquired():
            pass
        assert path.exists()
    assert not path.exists()
    with Lease(path).acquired():
        pass


@pytest.mark.parametrize("change", [{"born": 1.0}, {"pid": 2**22 + 1}])
def test_a_holder_whose_process_is_gone_is_replaced(change: dict[str, float], tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps({**vars(Holder.this_process()), **change}))
    with Lease(path).acquired():
        assert json.loads(path.read_text())["pid"] == os.getpid()


def started_elsewhen(process: psutil.Process) -> float:
    """As psutil says it once the clock of the machine has been set by an hour."""
    return time.time() + 3600.0


def test_a_holder_is_known_by_more_than_the_time_of_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.json"
    with Lease(path).acquired():
        monkeypatch.setattr(psutil.Process, "create_time", started_elsewhen)
        os.utime(path, (0, 0))  # it could not renew it since
        with pytest.raises(UserError, match=f"process {os.getpid()}"), Lease(path).acquired():
            pass


@pytest.mark.parametrize("field", [0, 2], ids=["boot", "ticks"])
def test_a_process_of_another_boot_or_start_is_another(field: int, tmp_path: Path) -> None:
    me, path = Holder.this_process(), tmp_path / "study.json"
    assert me.lives
    born = str(me.born).split(" ")
    born[field] = "1"
    path.write_text(json.dumps({**vars(me), "born": " ".join(born)}))
    with Lease(path).acquired():
        pass


def test_a_process_that_another_container_counts_is_told_by_its_silence(tmp_path: Path) -> None:
    me, path = Holder.this_process(), tmp_path / "study.json"
    boot, _, ticks = str(me.born).split(" ")
    path.write_text(json.dumps({**vars(me), "born": f"{boot} pid:[1] {ticks}", "pid": 2**22 + 1}))
    with pytest.raises(UserError, match="silent for 60 s is taken for dead"), Lease(path).acquired():
        pass
    os.utime(path, (0, 0))
    with Lease(path).acquired():
        pass


HOLD = """
import sys
from pathlib import Path
from orchestrator.run.holder import Holder, write_holder
write_holder(Holder.this_process(), Path(sys.argv[1]))
input()
"""


def test_a_process_that_ended_unasked_is_dead_and_a_suspended_one_counts_by_its_silence(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, cwd=ROOT)

    def lives() -> set[bool | None]:
        """As of this version's file and as of one before."""
        holder = read_holder(path)
        assert holder is not None
        return {holder.lives, replace(holder, born=psutil.Process(process.pid).create_time()).lives}

    wait_until(path.exists)
    assert lives() == {True}
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    assert lives() == {None}
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie from now on
    assert lives() == {False}
    process.communicate()


def test_files_of_version_0_2_0_are_read_and_where_there_is_no_proc_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = psutil.Process().create_time()
    theirs = {"token": "a", "host": socket.gethostname(), "user": "u", "since": "then", "trials": [16 * "a"]}
    (tmp_path / "theirs.json").write_text(json.dumps({**theirs, "pid": os.getpid(), "born": now}))
    with pytest.raises(UserError, match=f"process {os.getpid()}"), Lease(tmp_path / "theirs.json").acquired():
        pass
    monkeypatch.setattr("orchestrator.run.holder._PROCESSES", tmp_path / "none")
    with Lease(tmp_path / "ours.json").acquired():
        assert json.loads((tmp_path / "ours.json").read_text())["born"] == now
        with pytest.raises(UserError, match=f"process {os.getpid()}"), Lease(tmp_path / "ours.json").acquired():
            pass


def held_elsewhere(path: Path) -> None:
    """As another's lease comes: whole. A half one names nobody, and this one's holder reads it all the time."""
    aside = path.with_name("theirs")
    aside.write_text(json.dumps({**vars(Holder.this_process()), "host": "elsewhere"}))
    aside.replace(path)


def test_a_holder_elsewhere_is_replaced_once_it_is_silent_for_long(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    held_elsewhere(path)
    with pytest.raises(UserError, match="elsewhere"), Lease(path).acquired():
        pass
    old = time.time() - leases.EXPIRE_SECONDS - 1
    os.utime(path, (old, old))
    with Lease(path).acquired():
        assert json.loads(path.read_text())["host"] != "elsewhere"


def test_a_holder_that_was_replaced_learns_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    path = tmp_path / "study.json"
    with Lease(path).acquired() as mine:
        mine.check()
        held_elsewhere(path)
        with pytest.raises(Stopped, match=r"taken over .* on elsewhere"):
            check_for_long(mine)
        with pytest.raises(Stopped, match=r"taken over .* on elsewhere"):
            mine.cover([64 * "a"])
        assert json.loads(path.read_text())["host"] == "elsewhere"
    assert path.exists()  # it is the other's


def test_a_storage_that_cannot_say_who_holds_it_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    look, looked = Lease._taken_over, []

    def counted(lease: Lease) -> str | None:
        looked.append(1)
        return look(lease)

    def wait_for_renewals() -> None:
        wanted = len(looked) + 2  # of which the first is over
        wait_until(lambda: len(looked) >= wanted)

    monkeypatch.setattr(Lease, "_taken_over", counted)
    path, aside, loop = (tmp_path / name for name in ("study.json", "aside", "loop"))
    with Lease(path).acquired() as mine:
        shutil.copy(path, aside)
        loop.symlink_to(path)
        loop.replace(path)  # it links to itself now: reading it fails
        wait_for_renewals()
        mine.check()
        with pytest.raises(OSError, match="Too many levels"), Lease(path).acquired():
            pass
        aside.replace(path)
        wait_for_renewals()
        mine.check()
        held_elsewhere(path)
        with pytest.raises(Stopped, match=r"taken over .* on elsewhere"):
            check_for_long(mine)


def test_of_studies_that_share_trials_one_trains_them(tmp_path: Path) -> None:
    first, second, third = (Lease(tmp_path / f"{name}.0123.json") for name in ("first", "second", "third"))
    with first.acquired():
        first.cover([64 * "a", 64 * "b"])
        with second.acquired():
            with pytest.raises(UserError, match=rf"^2 of these .* belong to first too.*process {os.getpid()}"):
                second.cover([64 * "a", 64 * "b", 64 * "c"])
            second.cover([64 * "c"])
            first.cover([64 * "a"])  # its own are no hindrance to it
            with third.acquired(), pytest.raises(UserError, match="belong to second"):
                third.cover([64 * "c"])
    dead = {**vars(Holder.this_process()), "born": 1.0, "trials": [16 * "a"]}
    (tmp_path / "first.0123.json").write_text(json.dumps(dead))
    with second.acquired():
        second.cover([64 * "a"])


def test_a_file_that_is_no_lease_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    whole = json.dumps(vars(Holder.this_process()))
    for content in (
        *("", "[1]", '{"pid": 3}', "7", "null", '"text"', "[" * 100_000, 9999 * "9", whole[:-9], 20_000_000 * " "),
        *(changed(pid=pid) for pid in ("x", True, 1.5, -1, 0, 2**70, None, [1])),
        *(changed(born=born) for born in ("x", "1 2", None, [], {})),
        *(changed(**{name: 3}) for name in ("token", "host", "user", "since", "trials")),
        *(changed(trials=trials) for trials in (["a", 1], "abc", {"a": 1})),
        b"\xff\xfe",
        b"\0" * 300,
    ):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert read_holder(path) is None, content[:80]
        with Lease(path).acquired() as lease:
            lease.cover([64 * "a"])
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with Lease(tmp_path / "other.json").acquired() as lease:
            lease.cover([64 * "a"])
    path.unlink()
    os.mkfifo(path)
    with Lease(path).acquired():
        pass


def changed(**fields: object) -> str:
    return json.dumps({**vars(Holder.this_process()), **fields})


def test_what_a_later_version_adds_is_passed_over_and_what_anybody_wrote_is_shown_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(changed(host="else\nwhere\x1b[2J" + 999 * "a", later=1))
    with pytest.raises(UserError, match=r"on else\?where\?\[2Ja{1,99}, process") as refused, Lease(path).acquired():
        pass
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("place", ["study.json", ".", "lock"])
def test_a_lease_that_is_no_file_or_another_users_is_named_with_what_to_do(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "storage" / "leases"
    if place == ".":
        folder.parent.mkdir()
        folder.touch()
    else:
        (folder / place).mkdir(parents=True)
    said = rf"{folder / place}: (Is a directory|Not a directory|File exists)\. Take it away"
    with pytest.raises(UserError, match=said), Lease(folder / "study.json").acquired():
        pass
    if place != "lock":
        with pytest.raises(UserError, match=said):
            trained_now(folder.parent)


def test_of_many_that_start_at_once_one_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "study.json", Lease._write

    def late(lease: Lease) -> None:
        time.sleep(0.05)  # between having looked and having written
        write(lease)

    monkeypatch.setattr(Lease, "_write", late)
    holding, refused, gate = [], [], threading.Barrier(8)

    def contend() -> None:
        gate.wait()
        try:
            with Lease(path).acquired():
                holding.append(1)
                wait_until(lambda: len(refused) == 7)
        except UserError:
            refused.append(1)

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(holding), len(refused)) == (1, 7)


def test_writes_keep_their_order_and_a_failing_store_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.run.patience._FIRST_PAUSE", 0.01)
    said: list[str] = []
    written: list[int] = []
    failures = iter([ConnectionError("postgresql://me:secret@host/db is away")] * 3)

    def write(number: int) -> None:
        if number == 3 and (error := next(failures, None)) is not None:
            raise error
        written.append(number)

    outbox = Outbox(Patience(60, said.append), lanes=3)
    for number in range(6):
        outbox.post("one key", partial(write, number))
    assert outbox.drain()
    assert written == list(range(6))
    assert len(said) == 2
    assert "postgresql://me:***@host/db is away" in said[0]
    assert said[1] == "the tracking store answers again"


@pytest.mark.parametrize(("seconds", "lines"), [(60.0, 0), (0.0, 2)], ids=["a stumble", "after a long wait"])
def test_a_first_failure_is_said_if_it_took_long(seconds: float, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.run.patience._FIRST_PAUSE", 0.01)
    monkeypatch.setattr("orchestrator.run.patience._LONG_SECONDS", seconds)
    said: list[str] = []
    failures = iter([OSError("locked")])

    def write() -> None:
        if (error := next(failures, None)) is not None:
            raise error

    Patience(60, said.append).keep_trying(write)
    assert len(said) == lines


def test_a_store_that_fails_for_too_long_or_refuses_stops_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.run.patience._FIRST_PAUSE", 0.01)

    def fail() -> None:
        raise OSError("no space left")

    def refuse() -> None:
        raise MlflowException("bad key", INVALID_PARAMETER_VALUE)

    for write, reason, patience in ((fail, "failed for 0 s: no space left", 0.1), (refuse, "refuses.*bad key", 60)):
        outbox = Outbox(Patience(patience, lambda text: None), lanes=1)
        outbox.post("a", write)
        with pytest.raises(Stopped, match=reason):
            outbox.drain()
        with pytest.raises(Stopped):
            outbox.check()


def test_draining_gives_up_after_the_seconds_it_has() -> None:
    outbox, enough = Outbox(Patience(60, lambda text: None), lanes=1), threading.Event()
    outbox.post("a", lambda: enough.wait() and None)
    assert not outbox.drain(0.1)
    enough.set()
