"""What every source of data needs: bytes that arrive whole or not at all, and say so on the way."""

import hashlib
import os
import tarfile
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import Progress

from trainers.errors import DataError

CONNECT_SECONDS = 5  # reached within seconds or not at all; once bytes flow, only a stall ends it
_LARGEST = 1 << 30  # bytes of a download, or of what an archive unpacks to


def download(response: IO[bytes], total: int, path: Path, progress: Progress) -> None:
    """Writes what arrives into `path`.

    Args:
        total: bytes that should arrive; 0 if it is not known.

    Raises:
        DataError: it breaks off, or is larger than anything that is fetched here.
    """
    task = progress.add_task("downloading", total=total or None)
    with path.open("wb") as out:
        while chunk := response.read(1 << 18):
            out.write(chunk)
            progress.advance(task, len(chunk))
            if out.tell() > _LARGEST:
                raise DataError(f"the download is larger than {_LARGEST:,} bytes")
    if total and path.stat().st_size != total:
        raise DataError(f"the download broke off at {path.stat().st_size:,} of {total:,} bytes")


def refuse_a_bomb(archive: tarfile.TarFile) -> None:
    """Adds up what the members say that they unpack to, before anything of them is unpacked.

    Raises:
        DataError: too much.
    """
    total = 0
    for info in archive:
        total += info.size
        if total > _LARGEST:
            raise DataError(f"the archive unpacks to more than {_LARGEST:,} bytes")


def write_atomically(path: Path, content: bytes) -> None:
    """Whole, or not there; readable by everybody."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
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
    """The first line of what an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else ""


def say(text: str) -> None:
    """To whoever waits."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)
