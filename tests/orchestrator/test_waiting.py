"""What is said while Ray starts."""

import io
import time

from rich.console import Console
from rich.text import Text

from orchestrator.run.waiting import waiting


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
