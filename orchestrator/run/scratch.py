"""Where temporary files go: this process's, its libraries', and those of the workers that it starts.

Python takes the first usual folder that can be written, which may have no room; and where the machine's own disk is
read-only, as in a container that may write to its volumes alone, it finds none. Studies have a storage, which is there
to be written.
"""

import os
import shutil
import tempfile
from pathlib import Path

from orchestrator.errors import UserError

_ENOUGH = 64_000_000  # bytes: what Ray logs, and what is recorded of a trial beside its own files


def find_place_for_scratch(other: Path) -> None:
    """Has temporary files be put where there is room: where Python puts them, or else in a folder of one's own.

    To be called by the main thread, before threads begin.

    Args:
        other: the folder, made if it is needed.

    Raises:
        UserError: neither can be written.
    """
    try:
        usual = tempfile.gettempdir()
    except FileNotFoundError:
        usual = ""
    if usual and has_room(Path(usual)):
        return
    try:
        other.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=other):
            pass
    except OSError as error:
        raise UserError(
            f"temporary files can be put neither in {usual or 'any usual folder'}, nor in {other}: "
            f"{error.strerror or error}. Set TMPDIR to a folder with room"
        ) from error
    os.environ["TMPDIR"] = tempfile.tempdir = str(other)


def has_room(folder: Path) -> bool:
    """Whether the disk of a folder has room for what a study writes there for a while."""
    try:
        return shutil.disk_usage(folder).free >= _ENOUGH
    except OSError:
        return False
