"""Checkpoints that are whole or not there, with the history of a trial's evaluations beside its state.

One folder per trial key. A checkpoint is written aside, flushed to disk and renamed into place; the one before it is
kept. A manifest of SHA-256 digests tells a torn one, which is passed over for its predecessor, and names the trial:
another's is passed over, too. What file systems and desktops leave beside them is nobody's business. The process that
claimed the folder last is the only one that publishes: an earlier one, whose driver is gone, stops at its next
checkpoint.

Once a trial is finished and recorded, checkpoints are most of a storage and of no use. What stays says how it ended and
where its files are: another study, or another tracking store, may ask for the same trial, and is not to train it again.
"""

import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.run.points import measured

_MANIFEST, _HISTORY, _OWNER, _KEPT = "manifest.json", "history.json", "owner", 2
FINISHED, DIVERGED = OUTCOMES = "finished", "diverged"
_PUBLISHED = re.compile(r"step-(\d{12,19})")
_WRITING, _DISCARDED = ".writing-", ".discarded-"
_STRAY = (".nfs", ".fuse_hidden", "._", ".DS_Store", "Thumbs.db", "desktop.ini")  # come and go by themselves
_END, _FILES = "finished.json", "files"  # of a trial that is finished, and its files if they are nowhere else
_UNUSABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


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

    @property
    def has_checkpoints(self) -> bool:
        """Whether there are any to go on from, usable or not."""
        return bool(self._published())

    def latest(self) -> Checkpoint | None:
        """How the trial ended, if it has; else the newest usable checkpoint."""
        if (ended := self._ended()) is not None:
            return ended
        for directory in reversed(self._published()):
            try:
                return self._read(directory)
            except _UNUSABLE as error:
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
        return Checkpoint(directory, int(manifest["step"]), history, *_ending(manifest))

    def _ended(self) -> Checkpoint | None:
        """What `settle` left, if the files are still there and as they were."""
        try:
            found = json.loads((self.folder / _END).read_text())
            files = (self.folder / found["place"]).resolve()
            if not files.is_relative_to(self._storage):
                raise ValueError("its files are outside of the storage")
            for name, digest in found["files"].items():
                if Path(name).name != name or _sha256(files / name) != digest:
                    raise ValueError(f"{name} is not as it was written")
            history = json.loads((files / _HISTORY).read_text())
            points = history["points"] if isinstance(history, dict) else history
            seconds, outcome = _ending(found)
            return Checkpoint(files, int(found["step"]), points, seconds, outcome)
        except FileNotFoundError:
            return None  # not finished; or its run and artifacts were deleted, and it is to be trained again
        except _UNUSABLE as error:
            self._damaged[_END] = str(error)
            return None

    @property
    def _storage(self) -> Path:
        return self.folder.parent.parent.resolve()

    def settle(self, checkpoint: Checkpoint, names: Sequence[str], recorded: Path | None) -> bool:
        """Takes the checkpoints of a finished trial away, once how it ended and where its files are is on disk.

        Args:
            checkpoint: its last, with its outcome.
            names: of the files that are its artifacts.
            recorded: the folder with those that were recorded; None if they are not on this machine. In this storage
                they stay the only ones, else a copy stays here.

        Returns:
            False if what was recorded is not what the checkpoint holds: then everything stays.

        Raises:
            OSError: the storage cannot be written; what is not gone yet goes another time.
        """
        files = {
            name: _sha256(checkpoint.directory / name) for name in names if (checkpoint.directory / name).is_file()
        }
        if recorded is not None and recorded.resolve().is_relative_to(self._storage):
            place = recorded.resolve()
            if not all((place / name).is_file() and _sha256(place / name) == digest for name, digest in files.items()):
                return False
            files[_HISTORY] = _sha256(place / _HISTORY)
        else:
            place = self._keep(checkpoint, list(files))
            files[_HISTORY] = _sha256(place / _HISTORY)
        told = {"step": checkpoint.step, "outcome": checkpoint.outcome, "seconds": checkpoint.seconds}
        told |= {"place": os.path.relpath(place, self.folder.resolve()), "files": files}
        aside = self.folder / f".{_END}-{os.getpid()}"
        aside.write_text(json.dumps(told))
        _flush(aside)
        aside.replace(self.folder / _END)
        _flush(self.folder)
        for old in (*self._published(), *self.folder.glob(f"{_WRITING}*")):
            self._discard(old)
        if place != (self.folder / _FILES).resolve():
            shutil.rmtree(self.folder / _FILES, ignore_errors=True)
        return True

    def _keep(self, checkpoint: Checkpoint, names: Sequence[str]) -> Path:
        """The folder here with these files of a checkpoint and its history."""
        kept = (self.folder / _FILES).resolve()
        if checkpoint.directory.resolve() == kept:
            return kept
        aside = self.folder / f"{_WRITING}{_FILES}-{os.getpid()}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for name in names:
            shutil.copyfile(checkpoint.directory / name, aside / name)
        (aside / _HISTORY).write_text(json.dumps(checkpoint.history))
        for path in aside.iterdir():
            _flush(path)
        shutil.rmtree(kept, ignore_errors=True)
        aside.rename(kept)
        return kept

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


def _ending(written: Mapping[str, Any]) -> tuple[float, str]:
    """Seconds and outcome of a manifest, or of what says how a trial ended; an earlier version wrote neither.

    Raises:
        ValueError: they cannot be.
    """
    seconds, outcome = float(written.get("seconds", 0.0)), written.get("outcome", "")
    if not math.isfinite(seconds) or outcome not in ("", *OUTCOMES):
        raise ValueError(f"its trial ended {outcome!r} after {seconds} seconds")
    return seconds, outcome


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
