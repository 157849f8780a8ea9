"""CIFAR-10 with two images a batch, in every form that people have it in."""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers.data.images import cifar10_copies, cifar10_sources
from trainers.data.images.cifar10_batches import BATCHES, RECORD_BYTES

ROWS = 2


def make_small(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Six batches of 2 records instead of 10,000, which stand for the official ones."""
    random = np.random.default_rng(0)
    batches = dict[str, bytes]()
    for name in BATCHES:
        records = random.integers(256, size=(ROWS, RECORD_BYTES), dtype=np.uint8)
        records[:, 0] %= 10
        batches[name] = records.tobytes()
        monkeypatch.setitem(BATCHES, name, hashlib.md5(batches[name]).hexdigest())
    for module in (cifar10_copies, cifar10_sources):
        monkeypatch.setattr(module, "ROWS", ROWS)
    return batches


def as_python_2(name: str, content: bytes) -> bytes:
    """A batch as the published pickles are: protocol 2 of Python 2, whose texts are bytes."""
    records: NDArray[np.uint8] = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)

    def text(said: bytes) -> bytes:
        return b"U" + bytes([len(said)]) + said if len(said) < 256 else b"T" + len(said).to_bytes(4, "little") + said

    def number(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"M" + value.to_bytes(2, "little")

    raw = records[:, 1:].tobytes()
    return b"".join([
        b"\x80\x02}q\x01(",
        text(b"batch_label"), b"q\x02", text(name.encode()), b"q\x03",
        text(b"labels"), b"q\x04]q\x05(", *(number(int(label)) for label in records[:, 0]), b"e",
        text(b"data"), b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85", text(b"b"),
        b"\x87Rq\x09(K\x01", number(len(records)), number(3072), b"\x86cnumpy\ndtype\nq\x0a", text(b"u1"),
        b"K\x00K\x01\x87Rq\x0b(K\x03", text(b"|"), b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
        text(raw), b"tb",
        text(b"filenames"), b"q\x0c]q\x0d(", *(text(b"frog_%06d.png" % row) for row in range(len(records))), b"e",
        b"u.",
    ])  # fmt: skip


def as_python_3(content: bytes, protocol: int, order: Any = "C") -> bytes:
    """A batch as somebody may have written it again."""
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    images = np.array(records[:, 1:], order=order)
    return pickle.dumps({"labels": records[:, 0].tolist(), "data": images, "filenames": ["frog.png"] * 2}, protocol)


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def pickled(batches: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of Python's version, by their names."""
    return {
        "batches.meta": pickle.dumps({"label_names": ["airplane"]}, 2),
        "readme.html": b"<html>",
        **{name.removesuffix(".bin"): as_python_2(name, content) for name, content in batches.items()},
    }


def tar(folder: str, files: Mapping[str, bytes], mode: Any = "w:gz") -> bytes:
    """An archive of files in a folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as made:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return packed.getvalue()
