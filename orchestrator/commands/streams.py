"""The standard streams of a command: what cannot be shown never ends what it tells of.

A pipe whose reader has left, a full disk, a terminal that is gone, a stream closed from the start and an encoding that
lacks a character would each raise wherever something is printed, in any thread and by any library. Here a stream keeps
its failure instead: a study trains on, and a command that is there to show something asks afterwards (`unshown`).
"""

import codecs
import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PLAIN = {"×": "x", "·": ".", "–": "-", "−": "-", "±": "+-", "…": "...", "→": "->", "≈": "~", "²": "^2", "†": "+"}
_AS_IT_CAN = "as it can"  # the name of how characters are shown that a stream's encoding lacks


class _Lasting(io.FileIO):
    """A descriptor that takes all that is written; `failure` is why the first was lost that was."""

    failure: OSError | None = None

    def write(self, content: "ReadableBuffer", /) -> int:
        try:
            while (written := super().write(content)) is None:  # it takes no more at the moment and would not wait
                select.select((), (self,), ())
        except OSError as error:
            self.failure = self.failure or error
            return memoryview(content).nbytes
        return written


def outlive_streams() -> None:
    """Has this process's standard streams never raise. To be called once, before anything is opened or printed."""
    codecs.register_error(_AS_IT_CAN, _shown_plainly)
    _fill_closed()
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115, PTH123  # for as long as the process lives
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)


def unshown() -> str:
    """Why what was printed is not all where it should be; empty if it is, or if its reader has left (`| head`)."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, _Lasting) else None
    return "" if failure is None or isinstance(failure, BrokenPipeError) else str(failure.strerror)


def reader_left() -> bool:
    """Whether nobody reads any more what is printed (`| head`); what goes on without end should end then."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Lasting) and isinstance(raw.failure, BrokenPipeError)


def _fill_closed() -> None:
    """A descriptor that was closed goes to the next file to be opened: a database would be printed into."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _lasting(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8", errors=_AS_IT_CAN)  # noqa: PTH123
    if not isinstance(stream, io.TextIOWrapper):  # somebody else's, as in a notebook
        return stream
    with suppress(OSError):
        stream.flush()
    raw = _Lasting(stream.fileno(), "w", closefd=False)
    at_once = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, _AS_IT_CAN, line_buffering=at_once)


def _shown_plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    plain = "".join(_PLAIN.get(character, character) for character in lacking)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end
