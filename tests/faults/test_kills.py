"""SIGKILL at moments that the study tells, signals, and trials that go wrong; each ends as a run left alone."""

import json
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import harness


def strike(victim: str, process: "harness.subprocess.Popen[str]", worker: int) -> None:
    if victim == "worker":
        assert worker in {below.pid for below in harness.workers(process)}
        os.kill(worker, signal.SIGKILL)
    elif victim == "driver":
        process.kill()
    else:
        harness.kill_all(process)


@pytest.mark.parametrize("victim", ["worker", "driver", "everything"])
def test_killed_between_checkpoints_it_goes_on_from_the_last_and_ends_as_one_left_alone(
    victim: str, moments: int, calm: Path, tmp_path: Path
) -> None:
    """One trial is held at a step, so that it has a checkpoint and no end; the other goes on for some evaluations.

    A study whose driver is gone goes on under Ray the first time, then in one process, which takes half as long.
    """
    chance = random.Random(victim)
    for moment in range(moments):
        storage, wanted = tmp_path / str(moment), tmp_path / f"faults-{moment}"
        arm, step = chance.choice("abc"), chance.randrange(11, 40)
        where = f"{arm}-0-{step}"
        process = harness.start(storage, env=harness.faults(wanted, {where: "hold"}))
        for _ in range(chance.randrange(1, 10)):
            harness.wait_for(process, "%, w100")
        (worker,) = harness.wait_for_held(process, wanted, where)
        strike(victim, process, worker)
        killed = time.monotonic()
        done = harness.ended(process)
        if victim == "worker":
            assert f"{arm} · seed 0: its worker was lost; going on from its checkpoint" in done.out
        else:
            assert done.status == -signal.SIGKILL
            done = harness.run_here(storage, "--debug") if moment else harness.run(storage)
        assert (done.status, done.err) == (0, ""), done
        assert f"{arm} · seed 0: resumed at update {(step - 1) // 10 * 10}" in done.out
        harness.same(storage, calm)
        print(f"{victim}: {arm} killed at update {step}, {time.monotonic() - killed:.1f} s from the kill to the table")


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_ray_itself_killed_ends_it_resumably_with_one_line_within_a_minute(
    name: str, calm: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "s"
    process = harness.start_held(storage)
    (victim,) = (child for child in harness.psutil.Process(process.pid).children() if child.name() == name)
    victim.kill()
    killed = time.monotonic()
    done = harness.ended(process)
    assert time.monotonic() - killed < 60
    assert done.status == 1, done
    assert re.fullmatch(r"stopped: Ray has died: its [\w ]+ does not answer\. [^\n]+\n", done.err), done.err
    states = [trial["state"] for trial in json.loads(harness.run_here(storage, "status", "--json").out)["trials"]]
    assert {"interrupted"} < {*states, "missing"} <= {"done", "interrupted", "missing"}
    done = harness.run_here(storage, "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert "a · seed 0: resumed at update 10\n" in done.out
    harness.same(storage, calm)


def test_what_ray_ends_for_memory_runs_again_with_twice_the_share(calm: Path, tmp_path: Path) -> None:
    """The memory monitor is Ray's own; the trial takes memory until that ends it, as it does every 50 ms."""
    memory = harness.psutil.virtual_memory()  # a third of what is free, so that others on this machine may take some
    threshold = {"RAY_memory_usage_threshold": str(1 - memory.available * 2 / 3 / memory.total)}
    wanted = harness.faults(tmp_path / "faults", {"b-0-25": "much memory"})
    often = {"RAY_memory_monitor_refresh_ms": "50"}
    done = harness.run(tmp_path / "s", "--max-concurrent", "1", env={**wanted, **threshold, **often})
    assert (done.status, done.err) == (0, ""), done
    assert "b · seed 0: out of memory, again later with 2 CPUs" in done.out
    assert done.out.count("resumed at update 20") == 1  # by Execution, not by Tune with the same share
    harness.same(tmp_path / "s", calm)


STAGES: dict[str, Callable[["harness.subprocess.Popen[str]", Path], object]] = {
    "its database is made": lambda process, storage: harness.wait_until(
        process, (storage / ".mlflow.db.migrating").exists
    ),
    "a trial has started": lambda process, storage: harness.wait_for(process, "started"),
    "all trials are done": lambda process, storage: [harness.wait_for(process, "done in") for _ in range(6)],
}


@pytest.mark.parametrize("stage", STAGES)
def test_killed_before_the_first_checkpoint_or_after_the_last_it_ends_as_one_left_alone(
    stage: str, calm: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "s"
    process = harness.start(storage, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})  # where no database is kept
    STAGES[stage](process, storage)
    harness.kill_all(process)
    assert harness.ended(process).status == -signal.SIGKILL
    done = harness.run_here(storage, "--debug")
    assert (done.status, done.err) == (0, ""), done
    harness.same(storage, calm)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("times", [1, 2])
def test_signals_end_it_resumably(kind: signal.Signals, times: int, calm: Path, tmp_path: Path) -> None:
    storage = tmp_path / "s"
    process = harness.start_held(storage)
    process.send_signal(kind)
    if times == 2:
        harness.wait_for(process, "Interrupted")  # Ray ends
        process.send_signal(kind)
    done = harness.ended(process)
    assert done.status == 130, done
    assert "Traceback" not in done.err
    states = [trial["state"] for trial in json.loads(harness.run_here(storage, "status", "--json").out)["trials"]]
    assert {"interrupted"} < {*states, "missing"} <= {"done", "interrupted", "missing"}
    done = harness.run_here(storage, "--debug")
    assert (done.status, done.err) == (0, ""), done
    harness.same(storage, calm)


FAULTS = {
    "each kind in a trial of its own": (
        {"b-0-25": "raise", "b-1-25": "memory", "c-0-25": "hang", "a-0-5": "die", "a-0-35": "die"},
        (
            "b · seed 0: ZeroDivisionError: on purpose; again later",
            "b · seed 1: out of memory, again later with 2 CPUs",
            "c · seed 0: it hung; going on from its checkpoint",
            "a · seed 0: its worker was lost; going on",
        ),
    ),
    "several kinds in one trial": (
        {"a-0-11": "raise", "a-1-12": "memory", "b-0-13": "hang", "c-1-14": "die", "c-1-30": "raise"},
        ("a · seed 1: out of memory, again later with 2 CPUs", "c · seed 1: its worker was lost"),
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_trial_that_goes_wrong_goes_on_from_its_checkpoint(case: str, calm: Path, tmp_path: Path) -> None:
    wanted, said = FAULTS[case]
    done = harness.run(tmp_path / "s", "--stall", "5", env=harness.faults(tmp_path / "faults", wanted))
    assert (done.status, done.err) == (0, ""), done
    assert [text for text in said if text not in done.out] == [], done.out
    assert not list((tmp_path / "faults").iterdir())
    harness.same(tmp_path / "s", calm)


def test_a_trial_that_always_fails_is_given_up_by_name_and_healed_later(calm: Path, tmp_path: Path) -> None:
    wanted = {"a-1-25": "raise always", "b-1-3": "memory always", "c-1-15": "hang always"}
    done = harness.run(tmp_path / "s", "--stall", "5", env=harness.faults(tmp_path / "faults", wanted))
    assert done.status == 1, done
    assert re.search(r"a · seed 1: failed in [^:]+: ZeroDivisionError: on purpose", done.out)
    assert re.search(r"b · seed 1: failed in [^:]+: MemoryError", done.out)
    assert done.out.count("b · seed 1: started") == 2  # before its first report, and with twice the share
    assert "it hung (no step for longer than --stall)" in done.out
    page = (tmp_path / "s" / "reports" / "chain" / "short" / "index.html").read_text()
    assert "ZeroDivisionError: on purpose" in page
    assert "in _fault" in page  # where it hung, and where it raised
    done = harness.run_here(tmp_path / "s", "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert "3 of 6 trials to run" in done.out
    harness.same(tmp_path / "s", calm)


def test_what_a_trial_tells_and_nobody_can_write_fails_that_trial_alone(calm: Path, tmp_path: Path) -> None:
    """Or nothing, if all that it does wrong comes after its last snapshot."""
    wanted = {
        "a-0-20": "measure-none always",
        "a-1-20": "measure-sign always",
        "b-0-25": "shout always",
        "b-1-40": "linger always",
        "c-0-40": "cling",
        "c-1-15": "leave",
    }
    done = harness.run(tmp_path / "s", "--stall", "5", env=harness.faults(tmp_path / "faults", wanted))
    assert (done.status, done.err) == (1, ""), done
    assert re.search(r"a · seed 0: failed in [^:]+: ValueError: test_acc/w100 at step 20 is None", done.out)
    assert re.search(r"a · seed 1: failed in [^:]+: ValueError: a metric at step 20 has the name 'test_acc%'", done.out)
    assert re.search(r"b · seed 0: failed in [^:]+: ZeroDivisionError: on pur.+ \\ud800\\x00\\x1b\[31m much", done.out)
    assert max(map(len, done.out.splitlines())) < 2000
    assert {line for line in done.out.splitlines() if line.endswith("(its traceback is in MLflow)")} == {
        f"failed: {trial} (its traceback is in MLflow)" for trial in ("a · seed 0", "a · seed 1", "b · seed 0")
    }
    assert "c · seed 0: it hung" not in done.out
    assert "c · seed 1: SystemExit: on purpose; again later" in done.out
    done = harness.run_here(tmp_path / "s", "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert done.out.count("resumed at update 10\n") == 2
    harness.same(tmp_path / "s", calm)


def test_a_loss_that_is_not_a_number_is_a_result(calm: Path, tmp_path: Path) -> None:
    done = harness.run(tmp_path / "s", env=harness.faults(tmp_path / "faults", {"b-0-25": "nan always"}))
    assert done.status == 0, done
    assert "(diverged)" in done.out
    frame = harness.table(tmp_path / "s")
    assert set(frame[(frame["arm"] == "b") & (frame["seed"] == 0)]["outcome"]) == {"diverged"}
    others, left = (f[~((f["arm"] == "b") & (f["seed"] == 0))] for f in (frame, harness.table(calm)))
    harness.pd.testing.assert_frame_equal(others, left, check_exact=True)
