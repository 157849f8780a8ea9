"""SIGKILL at random moments, signals, and trials that go wrong; each ends as a run that nothing happened to."""

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.faults import harness


def kill_worker(process: "harness.subprocess.Popen[str]") -> None:
    worker = harness.a_worker(process)
    if worker is not None:
        try:
            worker.kill()
        except psutil.NoSuchProcess:
            return


def kill_driver(process: "harness.subprocess.Popen[str]") -> None:
    os.kill(process.pid, signal.SIGKILL)


VICTIMS: dict[str, Callable[["harness.subprocess.Popen[str]"], None]] = {
    "worker": kill_worker,
    "driver": kill_driver,
    "both": harness.kill_all,
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_at_any_moment_it_ends_as_one_left_alone(
    victim: str, moments: int, calm: Path, duration: float, tmp_path: Path
) -> None:
    chance = random.Random(victim)
    longest = 0.0
    for moment in range(moments):
        storage = tmp_path / str(moment)
        process = harness.start(storage)
        time.sleep(chance.uniform(0.5, duration))
        killed = time.monotonic()
        VICTIMS[victim](process)
        done = harness.ended(process)
        if victim != "worker":
            done = harness.run(storage)
        longest = max(longest, time.monotonic() - killed)
        assert (done.status, done.err) == (0, ""), done
        harness.same(storage, calm)
    print(f"{victim}: killed at {moments} moments, survived all, at most {longest:.1f} s from the kill to the table")


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("times", [1, 2])
def test_signals_end_it_resumably(kind: signal.Signals, times: int, calm: Path, tmp_path: Path) -> None:
    process = harness.start(tmp_path)
    harness.wait_for(process, "started")
    process.send_signal(kind)
    if times == 2:
        time.sleep(0.6)  # as Ray ends
        process.send_signal(kind)
    done = harness.ended(process)
    assert done.status == 130, done
    assert "Traceback" not in done.err
    done = harness.run(tmp_path)
    assert (done.status, done.err) == (0, ""), done
    harness.same(tmp_path, calm)


FAULTS = {
    "an exception, once": ({"b-0-25": "raise"}, "ZeroDivisionError: on purpose; again later"),
    "out of memory, once": ({"b-1-25": "memory"}, "out of memory, again later with 2 CPUs"),
    "a hang, once": ({"c-0-25": "hang"}, "c · seed 0: it hung; going on from its checkpoint"),
    "a death of the process, twice": ({"a-0-5": "die", "a-0-35": "die"}, "its worker was lost; going on"),
    "everything at once": (
        {"a-0-11": "raise", "a-1-12": "memory", "b-0-13": "hang", "c-1-14": "die", "c-1-30": "raise"},
        "again later with 2 CPUs",
    ),
}


def faults(folder: Path, wanted: dict[str, str]) -> dict[str, str]:
    """The environment that makes trials do what is wanted."""
    folder.mkdir()
    for where, what in wanted.items():
        (folder / where).write_text(what)
    return {"FAULTS": str(folder)}


@pytest.mark.parametrize("case", FAULTS)
def test_a_trial_that_goes_wrong_goes_on_from_its_checkpoint(case: str, calm: Path, tmp_path: Path) -> None:
    wanted, said = FAULTS[case]
    done = harness.run(tmp_path / "s", "--stall", "3", env=faults(tmp_path / "faults", wanted))
    assert (done.status, done.err) == (0, ""), done
    assert said in done.out
    assert not list((tmp_path / "faults").iterdir())
    harness.same(tmp_path / "s", calm)


def test_a_trial_that_always_fails_is_given_up_by_name_and_healed_later(calm: Path, tmp_path: Path) -> None:
    wanted = {"a-1-25": "raise always", "b-1-3": "memory always", "c-1-15": "hang always"}
    done = harness.run(tmp_path / "s", "--stall", "2", env=faults(tmp_path / "faults", wanted))
    assert done.status == 1, done
    assert re.search(r"a · seed 1: failed in \d s: ZeroDivisionError: on purpose", done.out)
    assert re.search(r"b · seed 1: failed in \d s: MemoryError", done.out)
    assert done.out.count("b · seed 1: started") == 2  # before its first report, and with twice the share
    assert "it hung (no step for longer than --stall)" in done.out
    page = (tmp_path / "s" / "reports" / "chain" / "short" / "index.html").read_text()
    assert "ZeroDivisionError: on purpose" in page
    assert "in _fault" in page  # where it hung, and where it raised
    done = harness.run(tmp_path / "s")
    assert (done.status, done.err) == (0, ""), done
    assert "3 of 6 trials to run" in done.out
    harness.same(tmp_path / "s", calm)


def test_a_loss_that_is_not_a_number_is_a_result(calm: Path, tmp_path: Path) -> None:
    done = harness.run(tmp_path / "s", env=faults(tmp_path / "faults", {"b-0-25": "nan always"}))
    assert done.status == 0, done
    assert "(diverged)" in done.out
    frame = harness.table(tmp_path / "s")
    assert set(frame[(frame["arm"] == "b") & (frame["seed"] == 0)]["outcome"]) == {"diverged"}
    others, left = (f[~((f["arm"] == "b") & (f["seed"] == 0))] for f in (frame, harness.table(calm)))
    harness.pd.testing.assert_frame_equal(others, left, check_exact=True)
