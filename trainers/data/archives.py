"""Files out of tar archives that may be anything: cut off, a page of HTML, or small and unpacking to a disk full.

An archive is read once, in its order, and never further than a bound on what it unpacks to, which holds for headers,
too: those say sizes, and are believed by `tarfile` before anything is seen of them. No path of it is used.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from trainers.data.fetching import one_line
from trainers.errors import DataError

_MOST_MEMBERS = 10_000


class _Bounded(io.BufferedIOBase):
    """What a stream holds, up to a number of bytes."""

    def __init__(self, stream: io.BufferedIOBase, largest: int) -> None:
        self.stream, self.largest, self.left = stream, largest, largest

    def read(self, size: int | None = -1) -> bytes:
        chunk = self.stream.read(size)
        self.left -= len(chunk)
        if self.left < 0:
            raise DataError(f"it unpacks to more than {self.largest:,} bytes")
        return chunk


def tar_files(archive: Path, wanted: Collection[str], largest: int) -> Iterator[tuple[str, bytes]]:
    """Those plain files of an archive, packed with gzip or not, whose last name is wanted, by that name.

    Args:
        largest: bytes that the whole archive may unpack to.

    Raises:
        DataError: it is no archive, cut off or damaged, or unpacks to more.
        OSError: the file cannot be read.
    """
    with archive.open("rb") as file:
        start = file.read(32)
        file.seek(0)
        if start.lstrip().startswith(b"<"):
            raise DataError("it is no archive but a page of HTML")
        packed = start.startswith(b"\x1f\x8b")
        try:
            with gzip.GzipFile(fileobj=file) if packed else file as stream:
                yield from _files(_Bounded(stream, largest), wanted)
        except tarfile.ReadError as error:
            begins = "" if packed else f"; it begins with {start[:12]!r}"
            raise DataError(f"it is no tar archive, or is cut off or damaged ({one_line(error)}{begins})") from error
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, RecursionError) as error:
            raise DataError(f"it is cut off or damaged ({one_line(error)})") from error


def _files(stream: _Bounded, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=stream, mode="r|") as tar:  # a stream: nothing is sought, and so nothing unpacked twice
        for number, info in enumerate(tar):
            if number == _MOST_MEMBERS:
                raise DataError(f"it holds more than {_MOST_MEMBERS:,} files")
            # What is skipped counts, too: it is read to where it should end, which of a file with holes nobody knows.
            most = stream.left + tarfile.RECORDSIZE  # of which as much may have been read already
            if info.issparse() or not 0 <= info.size <= most:
                raise DataError(f"it unpacks to more than {stream.largest:,} bytes, or says so")
            name = PurePosixPath(info.name).name
            if name in wanted and info.isfile():
                content = tar.extractfile(info)
                assert content is not None
                yield name, content.read()
