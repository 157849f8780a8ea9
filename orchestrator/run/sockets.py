"""Where a Ray that is started here keeps its sockets.

Its own choice is a folder `ray` where `TMPDIR` says, or in `/tmp`. That may be too long a name for a socket, missing,
read-only, full, on a file system without sockets, or somebody else's: Ray ends then, and not always in words.
"""

import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISDIR, S_IWGRP, S_IWOTH

from orchestrator.errors import UserError
from orchestrator.run.scratch import has_room

_LONGEST_IN_RAY = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
_LONGEST = 107  # bytes of a socket's whole name on Linux
_OTHERS = ("/tmp", "/var/tmp", "/dev/shm")  # usual, short, and for everybody


def find_place_for_sockets(others: Sequence[str] = _OTHERS) -> None:
    """Has Ray take another folder where its own choice would not do. What `RAY_TMPDIR` says stays.

    To be called before Ray is imported, by the main thread.

    Raises:
        UserError: none would do.
    """
    if "RAY_TMPDIR" in os.environ:
        return
    usual = Path(os.environ.get("TMPDIR", "/tmp"))
    if usual.is_absolute() and _takes_sockets(usual):
        return
    for folder in map(Path, others):
        for place in (folder, folder / f"ray-of-{os.getuid()}"):
            if (place == folder or _is_ours(place)) and _takes_sockets(place):
                os.environ["RAY_TMPDIR"] = str(place)
                return
    raise UserError(
        f"Ray can keep its sockets neither in {usual} nor in {', '.join(others)}: set RAY_TMPDIR to a folder of yours "
        f"whose name has at most {_LONGEST - len('/ray') - _LONGEST_IN_RAY} characters, or run with --debug"
    )


def _takes_sockets(folder: Path) -> bool:
    """Whether Ray could make its folders and sockets there, found by doing as it does."""
    rays = folder / "ray"
    if not has_room(folder):  # for its logs, which are beside them
        return False
    try:
        rays.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=rays) as session, socket.socket(socket.AF_UNIX) as tried:
            name = Path(session).name
            tried.bind(f"{session}/{'s' * (_LONGEST_IN_RAY - len(f'/{name}/'))}")
    except OSError:
        return False
    return True


def _is_ours(place: Path) -> bool:
    """Whether it is a folder that nobody else can write; made if it was not there."""
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        status = place.lstat()
    except OSError:
        return False
    return S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & (S_IWGRP | S_IWOTH)
