"""CIFAR-10 as people have it: the official folders or archives, binary or of Python, or what holds them.

Every form is brought to the official binary batches and must match their MD5s, so that a trial is the same whichever
it came from. Nothing is written, no file is read that is larger than it can be, and pickles are read as data.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from trainers.data import folders
from trainers.data.archives import tar_files
from trainers.data.fetching import one_line
from trainers.data.images.cifar10_batches import BATCHES, LARGEST_ARCHIVE, PIXELS, RECORD_BYTES, ROWS, matches
from trainers.data.images.pickled import array_of, read_pickled
from trainers.errors import DataError

_BINARY, _PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
_ARCHIVES = tuple(
    f"{name}{ending}"
    for name in ("cifar-10-binary", "cifar-10-python", _PYTHON)  # Keras calls it by the last
    for ending in (".tar.gz", ".tgz", ".tar")
)
_PICKLED = {name.removesuffix(".bin"): name for name in BATCHES}
_LARGEST_PICKLE = 64 << 20  # bytes: twice what one takes
_SHOWN = 3  # faults, in an error


@dataclass
class Copy:
    """What was found.

    Attributes:
        batches: verified, by their names.
        faults: what is there and cannot be used, each with its place.
        seen: names of the batches that are there, usable or not.
    """

    batches: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    @property
    def missing(self) -> list[str]:
        """Names of batches, in their order."""
        return [name for name in BATCHES if name not in self.batches]

    def refused(self, path: Path) -> DataError:
        """The line that says what there is at a path, and what was looked for."""
        faults, more = self.faults[:_SHOWN], len(self.faults) - _SHOWN
        said = [*faults, f"{more} more like that"] if more > 0 else faults
        unseen = [name for name in BATCHES if name not in self.seen]
        if self.seen and unseen:
            said.append(f"it lacks {', '.join(unseen)}")
        if path.is_dir():
            said.append(f"there is {folders.contents(path)}")
        elif not path.is_file():
            said.append("it is neither a folder nor a file")
        return DataError(
            f"{path} holds no whole CIFAR-10: {'; '.join(said)}. Looked for data_batch_1.bin … test_batch.bin or "
            f"Python's data_batch_1 … test_batch, there or in {_BINARY} or {_PYTHON}, and for cifar-10-binary.tar.gz "
            "and cifar-10-python.tar.gz. Pass a whole one with --data, or an empty folder, into which it is fetched"
        )


def look(path: Path) -> Copy:
    """What a folder, or one of the official folders or archives in it, or an archive holds of CIFAR-10.

    Raises:
        OSError: it cannot be looked into.
    """
    copy = Copy()
    if path.is_file():
        _take_archive(copy, path)
        return copy
    for folder in (path, path / _BINARY):
        _take_files(copy, {name: folder / name for name in copy.missing}, _binary, at_once=len(BATCHES))
    for folder in (path, path / _PYTHON):
        files = {name: folder / name.removesuffix(".bin") for name in copy.missing}
        _take_files(copy, files, _from_pickle_in, at_once=2)  # several times a batch is in memory for a moment
    for archive in (path / name for name in _ARCHIVES):
        if copy.missing and archive.exists():
            _take_archive(copy, archive)
    return copy


def _take_files(copy: Copy, files: dict[str, Path], read: Callable[[Path], bytes], at_once: int) -> None:
    there = {name: path for name, path in files.items() if path.exists()}

    def tried(name: str) -> bytes | str:
        return _tried(name, lambda: read(there[name]))

    with ThreadPoolExecutor(at_once) as readers:  # reading and hashing hold no lock of Python's
        for name, found in zip(there, readers.map(tried, there), strict=True):
            _keep(copy, name, found, str(there[name]))


def _take_archive(copy: Copy, archive: Path) -> None:
    before = len(copy.batches) + len(copy.faults)
    try:
        _refuse_unless_file(archive, LARGEST_ARCHIVE)
        for member, content in tar_files(archive, {*BATCHES, *_PICKLED}, LARGEST_ARCHIVE):
            name = _PICKLED.get(member, member)
            if name in copy.missing:
                _keep(copy, name, _tried(name, partial(_read_member, member, content)), f"{archive}, {member}")
        if len(copy.batches) + len(copy.faults) == before:
            copy.faults.append(f"{archive}: it is an archive without a batch of CIFAR-10")
    except (DataError, OSError) as error:
        copy.faults.append(f"{archive}: {one_line(error)}")


def _keep(copy: Copy, name: str, found: bytes | str, where: str) -> None:
    copy.seen.add(name)
    if isinstance(found, bytes):
        copy.batches[name] = found
    else:
        copy.faults.append(f"{where}: {found}")


def _tried(name: str, read: Callable[[], bytes]) -> bytes | str:
    """The batch, or why it is none."""
    try:
        content = read()
    except (DataError, OSError) as error:
        return one_line(error)
    return content if matches(name, content) else "it is damaged, its content is not the published one"


def _read_member(member: str, content: bytes) -> bytes:
    return _from_pickle(content) if member in _PICKLED else content


def _binary(path: Path) -> bytes:
    size, whole = _refuse_unless_file(path, _LARGEST_PICKLE), ROWS * RECORD_BYTES
    if size != whole:
        raise DataError(f"it is incomplete or damaged, it has {size:,} bytes rather than {whole:,}")
    return path.read_bytes()


def _from_pickle_in(path: Path) -> bytes:
    _refuse_unless_file(path, _LARGEST_PICKLE)
    return _from_pickle(path.read_bytes())


def _from_pickle(content: bytes) -> bytes:
    """The official binary batch of one of Python's, whose images are of the same form, with the labels beside them."""
    held = read_pickled(content)
    images, labels = array_of(held.get("data"), (ROWS, 3 * PIXELS)), held.get("labels")
    if not isinstance(labels, list) or len(labels) != ROWS or not all(type(each) is int for each in labels):
        raise DataError(f"it holds no list of {ROWS:,} labels")
    if not all(0 <= each < 256 for each in labels):
        raise DataError("a label of it is none")
    return np.concatenate([np.array(labels, np.uint8)[:, None], images], axis=1).tobytes()


def _refuse_unless_file(path: Path, largest: int) -> int:
    if not path.is_file():
        raise DataError("it is no file")
    size = path.stat().st_size
    if size > largest:
        raise DataError(f"it has {size:,} bytes, more than it can have")
    return size
