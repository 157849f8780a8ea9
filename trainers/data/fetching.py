"""What every source of data needs: files that are whole or not there, their checksums, and lines to whoever waits."""

import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path

from rich.console import Console

_LONGEST_LINE = 300  # characters of what another program or server says


def write_atomically(path: Path, content: bytes, scratch: Path) -> None:
    """Whole, or not there; readable by everybody.

    Args:
        scratch: a folder on the same disk, where the file is until it is whole.
    """
    with tempfile.NamedTemporaryFile(dir=scratch, delete=False) as out:
        try:
            out.write(content)
            out.flush()
            os.fchmod(out.fileno(), 0o644)  # by its descriptor: in a shared folder its name may be another's by now
            os.fsync(out.fileno())
            Path(out.name).replace(path)
        except BaseException:
            Path(out.name).unlink(missing_ok=True)
            raise


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits; remembered until the file changes."""
    state = path.stat()
    return _file_checksum(path, state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=64)
def _file_checksum(path: Path, size: int, changed: int, inode: int) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def one_line(error: object) -> str:
    """The first line of what an error says, which may be a stranger's words: without what a terminal would obey."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in lines[0]) if lines else ""
    return said if len(said) <= _LONGEST_LINE else f"{said[:_LONGEST_LINE]} …"


def say(text: str) -> None:
    """To whoever waits."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)
