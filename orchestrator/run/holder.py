"""The process that holds a lease, as a file names it, and whether it still lives.

A process id is used again, so a process is known by the boot of its machine and by the ticks that the kernel had
counted since when it started. Times of day won't do: they move whenever the clock is set, and a driver that lives
would be taken for dead.
"""

import getpass
import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import Field, TypeAdapter, ValidationError

_LARGEST = 1 << 24  # bytes of a file that names a holder; a hundred thousand trials are two million
_PROCESSES = Path("/proc")
_ENDED = ("Z", "X", psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)  # whoever started it has not asked for its status yet
_STOPPED = ("T", "t", psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)  # it may never go on
_SHOWN = 80  # characters of a text that anybody may have written


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease.

    Attributes:
        born: machine's boot, namespace of process ids and ticks at its start, with spaces between; seconds since 1970
            where the kernel doesn't tell these, and from versions up to 0.2.0.
        trials: the beginnings of the keys of those it trains.
    """

    token: str
    host: str
    user: str
    pid: Annotated[int, Field(gt=0, lt=1 << 31)]
    born: float | Annotated[str, Field(pattern=r"^\S+ \S+ \d+$")]
    since: str
    trials: Sequence[str] = ()

    @property
    def text(self) -> str:
        """`somebody on host, process 3, since then`."""
        return f"{_line(self.user)} on {_line(self.host)}, process {self.pid}, since {_line(self.since)}"

    @classmethod
    def this_process(cls) -> "Holder":
        """With a token that no other holder has."""
        kernel, pid = _kernel(), os.getpid()
        born = psutil.Process().create_time() if kernel is None else f"{kernel} {_state_and_ticks(pid)[1]}"
        since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        return cls(uuid.uuid4().hex, _host(), _user(), pid, born, since)

    @property
    def lives(self) -> bool | None:
        """Whether it does; None where that cannot be seen from here, or does not tell, as of one that is suspended."""
        if self.host != _host():
            return None
        if isinstance(self.born, str):
            return self._lives_by_ticks(self.born)
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.born) <= 1 and _tells(process.status())
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return None

    def _lives_by_ticks(self, born: str) -> bool | None:
        boot, space, ticks = born.split(" ")
        if (kernel := _kernel()) is None:
            return None
        boot_here, space_here = kernel.split(" ")
        if boot != boot_here:
            return False
        if space != space_here:  # another container's, which counts its own processes
            return None
        try:
            state, ticks_here = _state_and_ticks(self.pid)
        except OSError:
            return _is_there_unseen(self.pid)
        return ticks == ticks_here and _tells(state)


def read_holder(path: Path) -> Holder | None:
    """Whom a file names; None if there is none, or none that was ever whole.

    Raises:
        OSError: it cannot be read. A storage that fails to say is not one that says nobody.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            content = file.read(_LARGEST + 1) or b""
    except FileNotFoundError:
        return None
    try:
        return _HOLDERS.validate_json(content, strict=True) if len(content) <= _LARGEST else None
    except ValidationError:
        return None


def write_holder(holder: Holder, path: Path) -> None:
    """Puts the file in its place whole."""
    aside = path.with_suffix(f".{holder.token}")
    aside.write_bytes(_HOLDERS.dump_json(holder))
    aside.replace(path)


_HOLDERS = TypeAdapter(Holder)


def _without_waiting(path: str, flags: int) -> int:
    """A pipe in the place of a file would be waited for until somebody writes."""
    return os.open(path, flags | os.O_NONBLOCK)


def _kernel() -> str | None:
    """By what process ids are told apart here, as `born` begins; None where the kernel does not tell."""
    try:
        boot = (_PROCESSES / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROCESSES / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _state_and_ticks(pid: int) -> tuple[str, str]:
    """The letter of a process's state, and at how many ticks after the boot it started: proc_pid_stat(5), 3 and 22."""
    behind_name = (_PROCESSES / str(pid) / "stat").read_bytes().rpartition(b")")[2].decode().split()
    return behind_name[0], behind_name[19]


def _tells(state: str) -> bool | None:
    """Whether a process in that state lives, a letter or psutil's word."""
    return False if state in _ENDED else None if state in _STOPPED else True


def _is_there_unseen(pid: int) -> bool | None:
    """None of a process of another user on a machine that shows everybody their own alone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return None


def _host() -> str:
    return socket.gethostname()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)[:_SHOWN]
