"""Following a study: every change is told once, and it ends with the study, its reader or Ctrl-C."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from orchestrator.commands import watching
from orchestrator.commands.command_line import run
from orchestrator.commands.status import TrialStatus
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Layout
from tests.faults import harness
from tests.orchestrator.planted import STUDY, Planted


def test_a_finished_study_is_told_once_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["--only", "norm=batch,method=NS,method=LCS", "--seeds", "2", "--storage", str(tmp_path)]
    assert run(STUDY, Planted, ["--debug", *here]) == 0
    capsys.readouterr()
    assert run(STUDY, Planted, ["status", "--watch", *here]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"{method} · batch · seed {seed}" for seed in range(2) for method in ("NS", "LCS")
    ]
    assert all(": done, avg. accuracy " in line for line in lines)
    assert run(STUDY, Planted, ["status", "--watch", "--json", *here]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["state"] for each in told} == {"done"}


def test_a_running_study_is_followed_from_before_its_start_to_its_end(tmp_path: Path) -> None:
    storage = tmp_path / "s"
    watch = harness.start(storage, "status", "--watch", "--seeds", "1")
    harness.wait_for(watch, "c · seed 0: missing")
    study = harness.start_held(storage, "--debug", "--seeds", "1")
    told = harness.wait_for(watch, "a · seed 0: running")
    harness.let_go(storage)
    assert harness.ended(study).status == 0
    done = harness.ended(watch)
    assert (done.status, done.err) == (0, "")
    lines = (told + done.out).splitlines()
    assert len(lines) == len(set(lines))  # each once
    assert [line for line in lines if line.startswith("c · seed 0: done, avg. accuracy ")]


def test_a_failed_trial_is_its_status_and_ctrl_c_is_130(tmp_path: Path) -> None:
    wanted = harness.faults(tmp_path / "faults", {"a-0-5": "raise always"})
    fast = ["--seeds", "1", "--set", "pause=0"]
    assert harness.run(tmp_path / "s", "--debug", *fast, env=wanted).status == 1
    assert harness.run_here(tmp_path / "s", "status", "--watch", *fast).status == 1
    watch = harness.start(tmp_path / "none", "status", "--watch", *fast)
    harness.wait_for(watch, "c · seed 0: missing")
    os.killpg(watch.pid, signal.SIGINT)
    done = harness.ended(watch)
    assert (done.status, done.err) == (130, "")


def test_a_reader_that_has_left_is_not_written_to_for_ever(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(harness.SCRIPT),
        "status",
        "--watch",
        "--seeds",
        "1",
        "--storage",
        str(tmp_path / "s"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        watch.stdout.close()  # before the first word
        assert watch.wait(timeout=harness.TIMEOUT) == 0


def test_on_a_terminal_what_runs_is_shown_where_there_is_no_room_for_all() -> None:
    plan = make_plan(STUDY, Planted(), "small", {}, range(10), Layout())
    states = {3: "running", 40: "failed", 50: "interrupted"}
    statuses = [TrialStatus(trial, states.get(place, "done"), 1.0) for place, trial in enumerate(plan.trials)]
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, height=20)
    with watching._showing(plan, screen, as_json=False) as show:
        show(statuses, {})
    assert isinstance(screen.file, io.StringIO)
    shown = " ".join(Text.from_ansi(screen.file.getvalue()).plain.split())
    for state in states.values():
        assert state in shown
    assert "57 done, 1 running, 1 failed, 1 interrupted; 12 of 60 are shown. Ctrl-C leaves, and ends nothing." in shown
