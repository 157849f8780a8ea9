"""Studies on a terminal of their own, whose screen is read on for as long as it is there."""

import codecs
import contextlib
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import harness


class Terminal:
    """A study on a terminal, to type at, to look at and to take away.

    Whoever waits for something reads the screen meanwhile: a terminal that nobody empties takes no more, and
    how much a study shows until something happens depends on how long that takes.
    """

    def __init__(self, storage: Path, *arguments: str, env: dict[str, str]) -> None:
        self._screen, keyboard = pty.openpty()
        os.set_blocking(self._screen, False)

        def sit_down() -> None:
            harness.heed_terminal()
            os.login_tty(keyboard)

        self.process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, str(harness.SCRIPT), *arguments, "--storage", str(storage)],
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            env={**os.environ, "TERM": "xterm", **env},
            preexec_fn=sit_down,
        )
        harness.end_with_the_test(self.process)
        os.close(keyboard)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.shown = ""

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Waits for what can be seen from outside of the study."""

        def looked() -> bool:
            self._read()
            return happened()

        harness.wait_until(self.process, looked)

    def wait_for(self, text: str) -> str:
        """Everything shown since the last call, up to the text."""
        self.wait_until(lambda: text in self.shown)
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, line: str) -> None:
        os.write(self._screen, f"{line}\n".encode())

    def end(self) -> tuple[int, str]:
        """The exit status, and everything shown since the last call."""
        ends = time.monotonic() + harness.TIMEOUT
        while self.process.poll() is None:
            assert time.monotonic() < ends, self.shown
            self._read()
            time.sleep(0.005)
        self._read()
        self.go()
        return self.process.wait(), self.shown

    def go(self) -> None:
        """Closes the screen, as a window is closed, or a connection."""
        os.close(self._screen)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # nothing there now, or nobody on the other side any more
            while more := os.read(self._screen, 65536):
                self.shown += self._decoder.decode(more)
