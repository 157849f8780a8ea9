"""Checkpoints that are whole or not there, with the history of a trial's evaluations beside its state.

One folder per trial key. A checkpoint is written aside, flushed to disk and renamed into place; the one before it is
kept. A manifest of SHA-256 digests tells a torn one, which is passed over for its predecessor. The process that claimed
the folder last is the only one that publishes: an earlier one, whose driver is gone, stops at its next checkpoint.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MANIFEST, _HISTORY, _OWNER, _KEPT = "manifest.json", "history.json", "owner", 2


class Superseded(Exception):
    """Another process trains this trial now."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: where it lies, the step it was taken at, and the evaluations so far."""

    directory: Path
    step: int
    history: list[dict[str, Any]]


class CheckpointFolder:
    """The checkpoints of one trial. `passed_over` names those found unusable, with the reason."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._damaged: dict[str, str] = {}
        self._token = ""

    @property
    def passed_over(self) -> list[str]:
        return [f"{name}: {why}" for name, why in self._damaged.items()]

    def claim(self) -> None:
        """Makes this the only process that publishes here."""
        self._token = uuid.uuid4().hex
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".{_OWNER}-{self._token}"
        aside.write_text(self._token)
        aside.replace(self.folder / _OWNER)

    def latest(self) -> Checkpoint | None:
        """The newest usable checkpoint."""
        for directory in reversed(self._published()):
            try:
                manifest = json.loads((directory / _MANIFEST).read_text())
                files = manifest["files"]
                if not files.keys() <= {path.name for path in directory.iterdir()}:
                    raise ValueError("its manifest names files that are not there")
                for name, digest in files.items():
                    if _sha256(directory / name) != digest:
                        raise ValueError(f"{name} is not as it was written")
                history = json.loads((directory / _HISTORY).read_text())
                return Checkpoint(directory, int(manifest["step"]), history)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
                self._damaged[directory.name] = str(error)
        return None

    def save(self, step: int, history: list[dict[str, Any]], write: Callable[[Path], None]) -> None:
        """Publishes a checkpoint: `write` fills the directory it is handed.

        Raises:
            Superseded: another process has claimed the folder.
            OSError: the storage cannot be written; what was published before stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / f".writing-{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir()
            write(scratch)
            (scratch / _HISTORY).write_text(json.dumps(history))
            files = {path.name: _sha256(path) for path in sorted(scratch.iterdir())}
            (scratch / _MANIFEST).write_text(json.dumps({"step": step, "files": files}))
            for path in scratch.iterdir():
                _flush(path)
            if self._token and (self.folder / _OWNER).read_text() != self._token:
                raise Superseded(f"another process trains {self.folder.name} now")
            target = self.folder / f"step-{step:012d}"
            if target.exists():  # the same step again, after a torn checkpoint was passed over
                shutil.rmtree(target)
            scratch.rename(target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)  # a full storage is not filled further
            raise
        _flush(self.folder)
        self._damaged.pop(target.name, None)
        published = self._published()
        sound = [directory for directory in published if directory.name not in self._damaged]
        for old in published:
            if old not in sound[-_KEPT:]:
                shutil.rmtree(old)
        for leftover in self.folder.glob(".writing-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _published(self) -> list[Path]:
        return sorted(self.folder.glob("step-*")) if self.folder.is_dir() else []


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
