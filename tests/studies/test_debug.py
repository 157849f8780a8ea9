"""`--debug`: the same study in the driver's own process, without Ray, to the same bits."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import harness
from tests.faults.terminal import Terminal

ROOT = Path(__file__).parents[2]
WITHOUT_RAY = """
import sys
from orchestrator.commands.command_line import run
from tests.faults.chain import STUDY, ChainTrainer
status = run(STUDY, ChainTrainer(), sys.argv[1:])
print([name for name in sys.modules if name.partition(".")[0] == "ray"])
sys.exit(status)
"""


def test_it_ends_as_under_ray_which_is_not_even_imported(calm: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_RAY, "--debug", "--storage", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 of 6 trials to run, 1 at a time" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
    harness.same(tmp_path, calm)


def test_a_study_killed_without_ray_goes_on_under_it(calm: Path, tmp_path: Path) -> None:
    """The other way round is in `tests/faults/test_kills.py`."""
    storage = tmp_path / "s"
    process = harness.start_held(storage, "--debug", where="a-0-25")
    harness.kill_all(process)
    process.communicate()
    done = harness.run(storage)
    assert (done.status, done.err) == (0, ""), done
    assert "a · seed 0: resumed at update 20\n" in done.out
    harness.same(storage, calm)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_signals_end_it_resumably(kind: signal.Signals, calm: Path, tmp_path: Path) -> None:
    storage = tmp_path / "s"
    process = harness.start_held(storage, "--debug")
    process.send_signal(kind)
    done = harness.ended(process)
    assert (done.status, done.err) == (130, ""), done
    assert "Interrupted: 0 of 6 trials are finished" in done.out
    status = harness.run_here(storage, "status", "--json")
    assert status.out.count('"interrupted"') == 1
    done = harness.run_here(storage, "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert "a · seed 0: resumed at update 10\n" in done.out
    harness.same(storage, calm)


def test_what_goes_wrong_is_recorded_as_under_ray_with_the_traceback_printed_whole(calm: Path, tmp_path: Path) -> None:
    wanted = {"a-0-25": "raise", "a-1-25": "raise always", "b-1-5": "memory", "c-1-15": "nan always"}
    done = harness.run(tmp_path / "s", "--debug", env=harness.faults(tmp_path / "faults", wanted))
    assert (done.status, done.err) == (1, ""), done
    assert "a · seed 0: ZeroDivisionError: on purpose; again later" in done.out
    assert "a · seed 0: done" in done.out
    assert re.search(r"a · seed 1: failed in \d s: ZeroDivisionError: on purpose", done.out)
    assert re.search(r"b · seed 1: failed in \d s: MemoryError", done.out)  # there is no larger share to try
    assert "(diverged)" in done.out
    traceback = re.search(r"Traceback \(most recent call last\):\n(.*?)ZeroDivisionError: on purpose\n", done.out, re.S)
    assert traceback is not None
    assert [line in traceback[1] for line in ("in train", "in fit", "in _fault")] == [True] * 3
    assert done.out.count("Traceback") == 1 + 3 + 1  # of every attempt
    page = (tmp_path / "s" / "reports" / "chain" / "short" / "index.html").read_text()
    assert "ZeroDivisionError: on purpose" in page
    assert "in _fault" in page
    done = harness.run_here(tmp_path / "s", "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert "2 of 6 trials to run" in done.out
    ours, expected = (harness.table(storage) for storage in (tmp_path / "s", calm))
    whole = (expected["arm"] != "c") | (expected["seed"] != 1)
    harness.pd.testing.assert_frame_equal(ours[whole], expected[whole], check_exact=True)


def test_a_breakpoint_in_a_trial_has_the_terminal_for_as_long_as_it_likes(calm: Path, tmp_path: Path) -> None:
    storage = tmp_path / "s"
    terminal = Terminal(storage, "--debug", env=harness.faults(tmp_path / "faults", {"b-1-25": "break"}))
    before = terminal.wait_for("(Pdb) ")
    assert "b · seed 1: started" in before
    assert "\x1b[?25l" not in before.partition("trials to run")[2]  # no table is drawn, which hides the cursor
    assert not list(storage.rglob("stalled.txt"))  # nor does anything wait to end the process
    terminal.type("p f'{arm}-{seed}-{step} is where'")
    assert "'b-1-25 is where'" in terminal.wait_for("(Pdb) ")
    terminal.type("up")
    terminal.wait_for("(Pdb) ")
    terminal.type("p config['steps'], resume_from")
    assert "(40, None)" in terminal.wait_for("(Pdb) ")
    terminal.type("continue")
    status, shown = terminal.end()
    assert status == 0, shown
    harness.same(storage, calm)


def test_leaving_the_debugger_ends_the_study_resumably(calm: Path, tmp_path: Path) -> None:
    storage = tmp_path / "s"
    terminal = Terminal(storage, "--debug", env=harness.faults(tmp_path / "faults", {"b-1-25": "break"}))
    terminal.wait_for("(Pdb) ")
    terminal.type("quit")
    status, shown = terminal.end()
    assert status == 130, shown
    assert "Interrupted: 4 of 6 trials are finished" in shown
    done = harness.run_here(storage, "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert "b · seed 1: resumed at update 20" in done.out
    harness.same(storage, calm)
