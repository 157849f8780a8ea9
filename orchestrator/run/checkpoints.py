"""Checkpoints that are whole or not there, with the history of a trial's evaluations beside its state.

One folder per trial key. A checkpoint is written aside, flushed to disk and renamed into place; the one before it is
kept. A manifest of SHA-256 digests tells a torn one, which is passed over for its predecessor. The process that claimed
the folder last is the only one that publishes: an earlier one, whose driver is gone, stops at its next checkpoint.

Once a trial is finished and recorded, checkpoints are most of a storage and of no use. What stays says how it ended and
where its files are: another study, or another tracking store, may ask for the same trial, and is not to train it again.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MANIFEST, _HISTORY, _OWNER, _KEPT = "manifest.json", "history.json", "owner", 2
_END, _FILES = "finished.json", "files"  # of a trial that is finished, and its files if they are nowhere else


_UNUSABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


class Superseded(Exception):
    """Another process trains this trial now."""


@dataclass(frozen=True)
class End:
    """How a trial ended: `finished` or `diverged`, and after how many seconds."""

    outcome: str
    seconds: float


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: where it lies, the step it was taken at, and the evaluations so far.

    Attributes:
        end: of a trial that is finished, of which only its artifacts are left.
    """

    directory: Path
    step: int
    history: list[dict[str, Any]]
    end: End | None = None


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
                manifest = json.loads((directory / _MANIFEST).read_text())
                files = manifest["files"]
                if not files.keys() <= {path.name for path in directory.iterdir()}:
                    raise ValueError("its manifest names files that are not there")
                for name, digest in files.items():
                    if _sha256(directory / name) != digest:
                        raise ValueError(f"{name} is not as it was written")
                history = json.loads((directory / _HISTORY).read_text())
                return Checkpoint(directory, int(manifest["step"]), history)
            except _UNUSABLE as error:
                self._damaged[directory.name] = str(error)
        return None

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
            return Checkpoint(files, int(found["step"]), points, End(str(found["outcome"]), float(found["seconds"])))
        except FileNotFoundError:
            return None  # not finished; or its run and artifacts were deleted, and it is to be trained again
        except _UNUSABLE as error:
            self._damaged[_END] = str(error)
            return None

    @property
    def _storage(self) -> Path:
        return self.folder.parent.parent.resolve()

    def settle(self, checkpoint: Checkpoint, end: End, names: Sequence[str], recorded: Path | None) -> bool:
        """Takes the checkpoints of a finished trial away, once how it ended and where its files are is on disk.

        Args:
            checkpoint: its last.
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
        told = {"step": checkpoint.step, "outcome": end.outcome, "seconds": end.seconds}
        told |= {"place": os.path.relpath(place, self.folder.resolve()), "files": files}
        aside = self.folder / f".{_END}-{os.getpid()}"
        aside.write_text(json.dumps(told))
        _flush(aside)
        aside.replace(self.folder / _END)
        _flush(self.folder)
        for old in (*self._published(), *self.folder.glob(".writing-*")):
            shutil.rmtree(old)
        if place != (self.folder / _FILES).resolve():
            shutil.rmtree(self.folder / _FILES, ignore_errors=True)
        return True

    def _keep(self, checkpoint: Checkpoint, names: Sequence[str]) -> Path:
        """The folder here with these files of a checkpoint and its history."""
        kept = (self.folder / _FILES).resolve()
        if checkpoint.directory.resolve() == kept:
            return kept
        aside = self.folder / f".writing-{_FILES}-{os.getpid()}"
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
