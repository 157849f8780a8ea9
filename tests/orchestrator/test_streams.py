"""Standard streams by themselves; `tests/faults/test_streams.py` has whole studies behind them."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.commands.streams import _Lasting, _lasting

ROOT = Path(__file__).parents[2]


def test_a_reader_that_is_slower_than_a_stream_that_does_not_wait_gets_all_of_it() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    raw, got = _Lasting(writing, "w", closefd=False), bytearray()

    def read() -> None:
        while part := os.read(reading, 10_000):
            got.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    text = bytes(range(256)) * 4000  # many times what a pipe holds
    with io.BufferedWriter(raw) as buffered:
        buffered.write(text)
    os.close(writing)
    reader.join()
    os.close(reading)
    assert got == text
    assert raw.failure is None


def test_the_first_failure_is_kept_and_what_comes_after_it_is_taken() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    raw = _Lasting(writing, "w", closefd=False)
    assert raw.write(b"nobody reads this") == 17
    os.close(writing)
    assert raw.write(memoryview(b"nor this").cast("H")) == 8
    assert isinstance(raw.failure, BrokenPipeError)


def test_a_stream_that_is_not_pythons_own_is_left_as_it_is() -> None:
    notebook = io.StringIO()
    assert _lasting(notebook) is notebook


SHOW = """
import os, subprocess, sys
from orchestrator.commands.streams import outlive_streams
outlive_streams()
kept = open(sys.argv[1], "w")
print("shown", file=sys.stderr)
started = subprocess.call([sys.executable, "-c", "import os; os.fstat(1)"])
kept.write(repr([sys.stdin.read(), kept.fileno() > 2, started]))
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_an_empty_one_for_this_process_and_those_it_starts(closed: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = ["bash", "-c", f'exec "$@" {closed}', "bash", sys.executable, "-c", SHOW, str(told)]
    done = subprocess.run(command, cwd=ROOT, input="", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    assert told.read_text() == "['', True, 0]"
    assert done.stderr == ("" if "2>&-" in closed else "shown\n")
