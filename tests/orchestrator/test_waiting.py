"""What is said while Ray starts."""

import io
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from orchestrator.commands.command_line import run
from orchestrator.run.waiting import waiting
from tests.orchestrator.planted import STUDY, Planted


def test_in_a_pipe_it_is_one_plain_line() -> None:
    out = io.StringIO()
    with waiting(Console(file=out, width=80), "Starting Ray (2 CPUs)"):
        assert out.getvalue() == "Starting Ray (2 CPUs) …\n"
    assert out.getvalue() == "Starting Ray (2 CPUs) …\n"


def test_on_a_terminal_the_seconds_pass() -> None:
    out = io.StringIO()
    with waiting(Console(file=out, force_terminal=True, width=80), "Starting Ray (2 CPUs)"):
        time.sleep(1.2)
    assert "Starting Ray (2 CPUs) … 0:00:01" in Text.from_ansi(out.getvalue()).plain


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_that_the_study_is_read_and_a_pipe_is_not(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal() if terminal else io.StringIO())
    assert run(STUDY, Planted, ["plan", "--json", "--storage", str(tmp_path / "s")]) == 0
    assert isinstance(sys.stdout, io.StringIO)
    assert ("Reading the study" in sys.stdout.getvalue()) == terminal
