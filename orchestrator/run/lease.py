"""Who runs a study on a storage: one driver at a time, by a file that its holder keeps fresh.

Works on any file system that renames atomically. A holder that is gone is recognised by its process where it ran
here, else by a file that nobody has touched for long; ages are read off the storage's own clock, not the hosts'.
"""

import fcntl
import getpass
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from orchestrator.errors import Stopped, UserError

RENEW_SECONDS, EXPIRE_SECONDS = 10.0, 60.0
_KEY_LENGTH = 16  # of 64 hexadecimal digits: enough to tell trials apart


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease.

    Attributes:
        born: when it started, by which a process id used again is told apart.
        trials: the beginnings of the keys of those it trains.
    """

    token: str
    host: str
    user: str
    pid: int
    born: float
    since: str
    trials: Sequence[str] = ()

    @property
    def text(self) -> str:
        """`somebody on host, process 3, since then`."""
        return f"{self.user} on {self.host}, process {self.pid}, since {self.since}"

    @classmethod
    def this_process(cls) -> "Holder":
        """With a token that no other holder has."""
        born = psutil.Process().create_time()
        since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        return cls(uuid.uuid4().hex, _host(), _user(), os.getpid(), born, since)

    @property
    def is_dead(self) -> bool:
        """Known to have ended; false where that cannot be seen from here."""
        if self.host != _host():
            return False
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.born) > 1)
        except psutil.NoSuchProcess:
            return True


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
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            other = self._read(self._path)
            if other is not None and self._is_alive(other, self._path):
                raise UserError(
                    f"this study runs already on this storage: {other.text}. Wait for it, or stop it; its trials go on "
                    f"from their checkpoints (last heard of {self._age(self._path):.0f} s ago; one silent for "
                    f"{EXPIRE_SECONDS:.0f} s is taken for dead)"
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
                holder = self._read(self._path)
                if holder is not None and holder.token == self._me.token:
                    self._path.unlink(missing_ok=True)

    def cover(self, keys: Iterable[str]) -> None:
        """Says which trials will be trained: two studies may share some, and one process trains each.

        Raises:
            UserError: another study on this storage trains one of them; says which.
            Stopped: as `check`.
        """
        trials = {key[:_KEY_LENGTH] for key in keys}
        with self._locked():
            self._lost = self._lost or self._taken_over()
            self.check()
            for path in self._path.parent.glob("*.json"):
                other = self._read(path)
                if path == self._path or other is None or not self._is_alive(other, path):
                    continue
                if shared := trials.intersection(other.trials):
                    raise UserError(
                        f"{len(shared)} of these trials belong to {path.stem.partition('.')[0]} too, which trains on "
                        f"this storage: {other.text}. Wait for it, or take another --storage"
                    )
            self._me = replace(self._me, trials=sorted(trials))
            self._write()

    def _taken_over(self) -> str | None:
        """By whom, if the lease is no longer this one's."""
        holder = self._read(self._path)
        if holder is not None and holder.token == self._me.token:
            return None
        by = "nobody is named" if holder is None else holder.text
        return f"another run of this study has taken over ({by}); this one stops"

    def _is_alive(self, other: Holder, path: Path) -> bool:
        return not other.is_dead and self._age(path) < EXPIRE_SECONDS

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Against another process in the midst of the same; without where the file system knows no locks."""
        with (self._path.parent / "lock").open("w") as lock:
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self, path: Path) -> Holder | None:
        """Whom a file names; None without one. A storage that fails to say is not one that says nobody."""
        try:
            return Holder(**json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None  # none, or one that was never whole

    def _write(self) -> None:
        aside = self._path.with_suffix(f".{self._me.token}")
        aside.write_text(json.dumps(asdict(self._me)))
        aside.replace(self._path)

    def _age(self, path: Path) -> float:
        """Seconds since the holder's last sign of life, by the clock that stamps this storage's files."""
        probe = self._path.with_suffix(f".{self._me.token}.clock")
        probe.touch()
        try:
            return max(0.0, probe.stat().st_mtime - path.stat().st_mtime)
        finally:
            probe.unlink()

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            with suppress(OSError):  # a storage that fails for a moment; the next renewal counts
                self._lost = self._taken_over()
                if self._lost is not None:
                    return
                os.utime(self._path)


def _host() -> str:
    return socket.gethostname()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
