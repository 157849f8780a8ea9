"""Who runs studies on a storage, seen from outside: what else looks at a storage, or tidies it, leaves theirs alone."""

import json
import os
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.run.lease import EXPIRE_SECONDS, Holder

LEASES = "leases"


@dataclass(frozen=True)
class Driver:
    """A process that runs a study on a storage.

    Attributes:
        study: its name.
        base_key: the beginning of the key of its base config.
        holder: of its lease.
    """

    study: str
    base_key: str
    holder: Holder

    def trains(self, key: str) -> bool:
        """Whether a trial is among those that it said it trains."""
        return key.startswith(tuple(self.holder.trials))


def drivers(storage: Path) -> list[Driver]:
    """Those that hold a lease now, but for this process."""
    found = []
    for path in sorted((storage / LEASES).glob("*.json")):
        try:
            holder, seen = Holder(**json.loads(path.read_text())), path.stat().st_mtime
        except (FileNotFoundError, ValueError, TypeError):  # given back just now, or never whole
            continue
        is_this = (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
        if not is_this and not holder.is_dead and _now(path.parent) - seen < EXPIRE_SECONDS:
            study, _, base_key = path.stem.partition(".")
            found.append(Driver(study, base_key, holder))
    return found


def _now(folder: Path) -> float:
    """By the clock that stamps the storage's files; by this machine's where it cannot be asked."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:
        return time.time()
