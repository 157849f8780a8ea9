"""What the commands call where a trial stands: by its run in the tracking store, and by who trains on the storage.

A driver that was killed leaves its runs open, and a store alone cannot tell them from runs that run. Whoever shows a
trial asks here, so that no two commands call the same trial differently.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from orchestrator.run.lease import LEASES, trained_now

_STATES = {"FINISHED": "done", "RUNNING": "running", "FAILED": "failed", "KILLED": "interrupted"}
_T = TypeVar("_T")


def state(status: str, diverged: bool, is_trained: bool) -> str:
    """`done`, `running`, `failed`, `interrupted` or `diverged`; a status beside MLflow's usual four, as it is.

    Args:
        status: MLflow's.
        diverged: whether what a finished trial measured is no result.
        is_trained: whether a driver that lives trains it.
    """
    if status == "FINISHED" and diverged:
        return "diverged"
    known = "KILLED" if status == "RUNNING" and not is_trained else status
    return _STATES.get(known, known.lower())


def with_leases(storage: Path, read: Callable[[], _T]) -> tuple[_T, Callable[[str], bool]]:
    """What is read from the store; and what tells of a trial's key whether a driver trained it before or after.

    Both, since a driver may end or begin in between. On a storage on which nothing was ever trained, as of somebody who
    looks at a tracking server from elsewhere, nobody can tell: there whatever the store takes for running may be.

    Raises:
        UserError: who runs on the storage cannot be read.
    """
    trained_before = trained_now(storage)
    found = read()
    trained_after = trained_now(storage)
    if not (storage / LEASES).is_dir():
        return found, lambda _: True
    return found, lambda key: trained_before(key) or trained_after(key)
