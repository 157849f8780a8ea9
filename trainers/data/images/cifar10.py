"""CIFAR-10 as its six official binary batches, from wherever they can be had, checked before use.

In order: what is given, in whatever form (`cifar10_copies`), or the user's cache; then what can be fetched
(`cifar10_sources`). A folder may be shared with whom one likes: what is used is the copy in memory that was checked.
Nothing is unpickled and no downloaded code is run.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from trainers.data import folders
from trainers.data.fetching import say, write_atomically
from trainers.data.images import cifar10_copies, cifar10_sources
from trainers.data.images.arrays import ImageArrays
from trainers.data.images.cifar10_batches import BATCHES, RECORD_BYTES
from trainers.devices.private import NotPrivate, user_cache
from trainers.errors import DataError

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # the recipe's (LCS's configs), not recomputed
_SCRATCH = ".fetching-"


def checksum() -> str:
    """SHA-256 over the official MD5s: known before the data is there, and true once `load` has verified it."""
    return hashlib.sha256("".join(BATCHES.values()).encode()).hexdigest()


def cache_folder() -> Path:
    """Where the batches are kept unless a folder is given.

    Raises:
        NotPrivate: the user has no home.
    """
    return user_cache() / "cifar10"


def load(path: Path | None) -> ImageArrays:
    """50,000 training and 10,000 test images `(3, 32, 32)`, fetched as by `fetch` if they are not there yet."""
    records = {
        name: np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES) for name, content in fetch(path).items()
    }
    train = [records[name] for name in BATCHES if name != "test_batch.bin"]
    (train_images, train_labels), (test_images, test_labels) = _split(train), _split([records["test_batch.bin"]])
    return ImageArrays(train_images, train_labels, test_images, test_labels, MEAN, STD, checksum())


def fetch(path: Path | None) -> dict[str, bytes]:
    """The six batches by name, verified; brought into a folder that is empty or missing, or the cache.

    Args:
        path: of a folder or archive that holds CIFAR-10 in any of its forms, or of a folder to put it into; None: the
            cache.

    Raises:
        DataError: what is there is not whole, with what was looked for. Or no source could be used; names each, what
            was wrong with it, and what to pass instead. Or there is no folder to keep it in.
    """
    try:
        home = folders.given(path) if path else cache_folder()
    except NotPrivate as error:
        raise DataError("CIFAR-10 cannot be kept, there is no home folder: pass one with --data") from error
    try:
        fills = path is None or folders.may_be_filled(home)  # asked first: who fills it may do so meanwhile
        copy = cifar10_copies.look(home)
    except OSError as error:
        raise DataError(f"{home} cannot be read: {error}. Pass another folder with --data") from error
    if copy.missing and not fills:
        raise copy.refused(home)
    if copy.missing:
        try:
            return _fetched(home)
        except (OSError, NotImplementedError) as error:  # the latter of a file system without locks
            raise DataError(
                f"CIFAR-10 cannot be kept in {home}: {error}. Pass a writable folder with --data"
            ) from error
    for fault in copy.faults:
        say(f"{fault}; passed over, since there is another copy")
    return copy.batches


def _fetched(home: Path) -> dict[str, bytes]:
    """What is in a folder that may be filled, and what it lacked."""
    folders.prepare(home)
    with FileLock(home / ".fetch.lock"):
        copy = cifar10_copies.look(home)
        if not copy.missing:
            return copy.batches
        for fault in copy.faults:
            say(f"{fault}; fetching it again")
        for left in home.glob(f"{_SCRATCH}*"):  # by a process that was killed; who holds the lock is alone
            shutil.rmtree(left, ignore_errors=True)
        brought = dict(copy.batches)
        with tempfile.TemporaryDirectory(dir=home, prefix=_SCRATCH, ignore_cleanup_errors=True) as folder:
            scratch = Path(folder)

            def keep(name: str, content: bytes) -> None:
                write_atomically(home / name, content, scratch)
                brought[name] = content

            try:
                cifar10_sources.bring(copy.missing, scratch, keep)
            except DataError as error:
                raise DataError(
                    f"CIFAR-10 could not be had. Looked in {home}; tried {error}. Pass --data with a folder or archive "
                    "that holds it: cifar-10-batches-bin, cifar-10-batches-py, or one of the archives of these"
                ) from error
        return brought


def _split(records: "Sequence[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]") -> tuple[torch.Tensor, torch.Tensor]:
    images = np.concatenate([batch[:, 1:] for batch in records]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch[:, 0] for batch in records]).astype(np.int64)
    return torch.from_numpy(images), torch.from_numpy(labels)
