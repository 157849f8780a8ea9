"""Who runs a study on a storage: one driver at a time, by a file that its holder keeps fresh.

Works on any file system that renames atomically. Whether its holder lives is seen from its process where that runs
here, else from a file that somebody has touched lately; ages are read off the storage's own clock, not the hosts'. A
file that names nobody, since it was never whole or somebody edited it, keeps nobody out.
"""

import fcntl
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import Stopped, UserError
from orchestrator.run.holder import Holder, read_holder, write_holder

LEASES = "leases"
RENEW_SECONDS, EXPIRE_SECONDS = 10.0, 60.0
_KEY_LENGTH = 16  # of 64 hexadecimal digits: enough to tell trials apart


def lease_path(storage: Path, study: str, base_key: str) -> Path:
    """The file that stands for the right to run a study's base config on a storage."""
    return storage / LEASES / f"{study}.{base_key[:16]}.json"


def trained_now(storage: Path) -> Callable[[str], bool]:
    """Tells of a trial's key whether a driver that lives trains it on a storage.

    Raises:
        UserError: who runs there cannot be read.
    """
    trained = {trial for _, holder in living(storage / LEASES) for trial in holder.trials}
    return lambda key: key[:_KEY_LENGTH] in trained


class Lease:
    """The right to run what `path` stands for. `check` raises once somebody else has taken it over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._me = Holder.this_process()
        self._lost: str | None = None
        self._done = threading.Event()

    def check(self) -> None:
        """Raises if the lease was taken over, as from a driver that was suspended for long."""
        if self._lost is not None:
            raise Stopped(self._lost)

    @contextmanager
    def acquired(self) -> "Iterator[Lease]":
        """Holds it, renewing in a thread.

        Raises:
            UserError: another process holds it; says which.
        """
        with _in_a_line(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                other = read_holder(self._path)
                if other is not None and _is_alive(other, self._path):
                    silence = (
                        f" (last heard of {_age(self._path):.0f} s ago; one silent for {EXPIRE_SECONDS:.0f} s is taken "
                        "for dead)"
                    )
                    raise UserError(
                        f"this study runs already on this storage: {other.text}. Wait for it, or stop it; its trials "
                        f"go on from their checkpoints{silence if other.lives is None else ''}"
                    )
                self._write()
        renewing = threading.Thread(target=self._renew, daemon=True)
        renewing.start()
        try:
            yield self
        finally:
            self._done.set()
            renewing.join()
            with suppress(OSError), self._locked():  # left behind, it is known by its process to be nobody's
                holder = read_holder(self._path)
                if holder is not None and holder.token == self._me.token:
                    self._path.unlink(missing_ok=True)

    def cover(self, keys: Iterable[str]) -> None:
        """Says which trials will be trained: two studies may share some, and one process trains each.

        Raises:
            UserError: another study on this storage trains one of them; says which.
            Stopped: as `check`.
        """
        trials = {key[:_KEY_LENGTH] for key in keys}
        with _in_a_line(self._path), self._locked():
            self._lost = self._lost or self._taken_over()
            self.check()
            for path, other in living(self._path.parent):
                if path != self._path and (shared := trials.intersection(other.trials)):
                    raise UserError(
                        f"{len(shared)} of these trials belong to {path.stem.partition('.')[0]} too, which trains on "
                        f"this storage: {other.text}. Wait for it, or take another --storage"
                    )
            self._me = replace(self._me, trials=sorted(trials))
            self._write()

    def _taken_over(self) -> str | None:
        """By whom, if the lease is no longer this one's."""
        holder = read_holder(self._path)
        if holder is not None and holder.token == self._me.token:
            return None
        by = "nobody is named" if holder is None else holder.text
        return f"another run of this study has taken over ({by}); this one stops"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Against another process in the midst of the same; without where the file system knows no locks."""
        descriptor = _opened(self._path.parent / "lock")
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self) -> None:
        write_holder(self._me, self._path)

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            with suppress(OSError):  # a storage that fails for a moment; the next renewal counts
                self._lost = self._taken_over()
                if self._lost is not None:
                    return
                os.utime(self._path)


def living(folder: Path) -> list[tuple[Path, Holder]]:
    """The leases in a folder that somebody holds who lives.

    Raises:
        UserError: who runs there cannot be read.
    """
    found = []
    with _in_a_line(folder):
        # Globbing passes over a folder that it may not read.
        for path in sorted(folder.iterdir()) if folder.exists() else ():
            holder = read_holder(path) if path.suffix == ".json" else None
            if holder is not None and _is_alive(holder, path):
                found.append((path, holder))
    return found


def _is_alive(holder: Holder, path: Path) -> bool:
    lives = holder.lives
    return _age(path) < EXPIRE_SECONDS if lives is None else lives


def _age(path: Path) -> float:
    """Seconds since the holder's last sign of life, by the clock that stamps this storage's files; without end if the
    lease was given back. Where nothing can be written, by the clock of this machine."""
    probe = path.with_suffix(f".{uuid.uuid4().hex}.clock")
    try:
        try:
            probe.touch()
            now = probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)
    except OSError:
        now = time.time()
    try:
        return max(0.0, now - path.stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def _opened(lock: Path) -> int:
    """A file to lock; one that another user has made need not be writable for it."""
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(lock, os.O_RDONLY)


@contextmanager
def _in_a_line(path: Path) -> Iterator[None]:
    """What the file system refuses and will refuse again is bad input; what it fails at may pass."""
    try:
        yield
    except (PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise UserError(
            f"who runs on this storage cannot be told: {error.filename or path}: {error.strerror}. Take it away if "
            "nobody does, have its owner share it, or take another --storage"
        ) from error
