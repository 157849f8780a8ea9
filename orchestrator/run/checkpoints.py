"""Checkpoints that are whole or not there, with the history of a trial's evaluations beside its state.

One folder per trial key. A checkpoint is written aside, flushed to disk and renamed into place; the one before it is
kept. A manifest of SHA-256 digests tells a torn one, which is passed over for its predecessor, and names the trial:
another's is passed over, too. What file systems and desktops leave beside them is nobody's business. The process that
claimed the folder last is the only one that publishes: an earlier one, whose driver is gone, stops at its next
checkpoint.
"""

import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.run.points import measured

_MANIFEST, _HISTORY, _OWNER, _KEPT = "manifest.json", "history.json", "owner", 2
FINISHED, DIVERGED = OUTCOMES = "finished", "diverged"
_PUBLISHED = re.compile(r"step-(\d{12,19})")
_WRITING, _DISCARDED = ".writing-", ".discarded-"
_STRAY = (".nfs", ".fuse_hidden", "._", ".DS_Store", "Thumbs.db", "desktop.ini")  # come and go by themselves


class Superseded(Exception):
    """Another process trains this trial now."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: where it lies, the step it was taken at, and the evaluations so far.

    Attributes:
        seconds: that the trial took up to here, in all its attempts as far as each left a checkpoint.
        outcome: `finished` or `diverged` at the trial's end, empty before.
    """

    directory: Path
    step: int
    history: list[dict[str, Any]]
    seconds: float
    outcome: str


class CheckpointFolder:
    """The checkpoints of one trial, whose key is the folder's name. `passed_over` names those found unusable, with the
    reason."""

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
        aside, owner = self.folder / f".{_OWNER}-{self._token}", self.folder / _OWNER
        aside.write_text(self._token)
        if owner.is_dir():
            self._discard(owner)
        aside.replace(owner)

    def latest(self) -> Checkpoint | None:
        """The newest usable checkpoint."""
        for directory in reversed(self._published()):
            try:
                return self._read(directory)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
                self._damaged[directory.name] = str(error)
        return None

    def _read(self, directory: Path) -> Checkpoint:
        """Raises whatever tells that the checkpoint cannot be used."""
        manifest = json.loads((directory / _MANIFEST).read_text())
        trial, files = manifest.get("trial", self.folder.name), manifest["files"]  # an earlier version names none
        if trial != self.folder.name:
            raise ValueError(f"it is of another trial, {trial}")
        missing = [name for name in files if not (directory / name).is_file()]
        if missing:
            raise ValueError("its manifest names files that are not there")
        for name, digest in files.items():
            if _sha256(directory / name) != digest:
                raise ValueError(f"{name} is not as it was written")
        history = json.loads((directory / _HISTORY).read_text())
        for point in history:  # an earlier version kept what cannot be recorded
            measured(point.get("metrics", {}), point["step"])
        seconds, outcome = float(manifest.get("seconds", 0.0)), manifest.get("outcome", "")
        if not math.isfinite(seconds) or outcome not in ("", *OUTCOMES):
            raise ValueError(f"its trial ended {outcome!r} after {seconds} seconds")
        return Checkpoint(directory, int(manifest["step"]), history, seconds, outcome)

    def save(
        self,
        step: int,
        history: list[dict[str, Any]],
        write: Callable[[Path], None],
        seconds: float = 0.0,
        outcome: str = "",
    ) -> None:
        """Publishes a checkpoint: `write` fills the directory it is handed; the rest is as of `Checkpoint`.

        Raises:
            Superseded: another process has claimed the folder.
            OSError: the storage cannot be written; what was published before stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / f"{_WRITING}{os.getpid()}-{uuid.uuid4().hex}"
        try:
            scratch.mkdir()
            write(scratch)
            (scratch / _HISTORY).write_text(json.dumps(history))
            digests = {path.relative_to(scratch).as_posix(): _sha256(path) for path in _files(scratch)}
            known = {"trial": self.folder.name, "step": step, "seconds": seconds, "outcome": outcome}
            (scratch / _MANIFEST).write_text(json.dumps({**known, "files": digests}))
            for name in (*digests, _MANIFEST):
                _flush(scratch / name)
            for folder in (scratch, *(path for path in scratch.rglob("*") if path.is_dir())):
                _flush(folder)
            if self._token and (self.folder / _OWNER).read_text() != self._token:
                raise Superseded(f"another process trains {self.folder.name} now")
            target = self.folder / f"step-{step:012d}"
            if target.exists() or target.is_symlink():  # the same step again, after a torn one was passed over
                self._discard(target)
            scratch.rename(target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)  # a full storage is not filled further
            raise
        _flush(self.folder)
        self._damaged.pop(target.name, None)
        self._tidy()

    def _tidy(self) -> None:
        """Takes away what is not needed any more, and what was left of writing before."""
        published = self._published()
        sound = [directory for directory in published if directory.name not in self._damaged]
        for old in published:
            if old not in sound[-_KEPT:]:
                self._discard(old)
        for pattern in (_WRITING, _DISCARDED):
            for leftover in self.folder.glob(f"{pattern}*"):
                _remove(leftover)

    def _discard(self, path: Path) -> None:
        """At once by its name; its files as far as the file system lets them go, which may be later."""
        aside = self.folder / f"{_DISCARDED}{uuid.uuid4().hex}"
        path.rename(aside)
        _remove(aside)

    def _published(self) -> list[Path]:
        """Oldest first."""
        if not self.folder.is_dir():
            return []
        found = {path: _PUBLISHED.fullmatch(path.name) for path in self.folder.iterdir()}
        steps = {path: int(match[1]) for path, match in found.items() if match and path.is_dir()}
        return sorted(steps, key=lambda path: steps[path])


def _files(folder: Path) -> Iterator[Path]:
    """Every file below, but for those that come and go by themselves."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(_STRAY))


def _remove(path: Path) -> None:
    """As far as that is possible: what a file system still holds is tried again after the next checkpoint."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
