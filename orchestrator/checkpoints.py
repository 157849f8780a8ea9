"""Checkpoints that are whole or not there, with the history of a trial's evaluations beside its state.

One folder per trial key. A checkpoint is written aside, flushed to disk and renamed into place; the one before it is
kept. A manifest of SHA-256 digests tells a torn one, which is passed over for its predecessor.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MANIFEST, _HISTORY, _KEPT = "manifest.json", "history.json", 2


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
        self.passed_over: list[str] = []

    def latest(self) -> Checkpoint | None:
        """The newest usable checkpoint."""
        for directory in reversed(self._published()):
            try:
                manifest = json.loads((directory / _MANIFEST).read_text())
                for name, digest in manifest["files"].items():
                    if _sha256(directory / name) != digest:
                        raise ValueError(f"{name} is not as it was written")
                history = json.loads((directory / _HISTORY).read_text())
                return Checkpoint(directory, int(manifest["step"]), history)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                self.passed_over.append(f"{directory.name}: {error}")
        return None

    def save(self, step: int, history: list[dict[str, Any]], write: Callable[[Path], None]) -> None:
        """Publishes a checkpoint: `write` fills the directory it is handed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / f".writing-{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        write(scratch)
        (scratch / _HISTORY).write_text(json.dumps(history))
        files = {path.name: _sha256(path) for path in sorted(scratch.iterdir())}
        (scratch / _MANIFEST).write_text(json.dumps({"step": step, "files": files}))
        for path in scratch.iterdir():
            _flush(path)
        target = self.folder / f"step-{step:012d}"
        if target.exists():  # the same step again, after a torn checkpoint was passed over
            shutil.rmtree(target)
        scratch.rename(target)
        _flush(self.folder)
        for old in self._published()[:-_KEPT]:
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
