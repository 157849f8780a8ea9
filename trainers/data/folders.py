"""Which folders may be written: a user's own are read only.

What is not whole in a folder full of somebody's files is theirs to mend; 170 MB more beside it are not what they asked
for. A folder that was not there or was empty is one to put data into, and is marked, so that it stays one.
"""

from pathlib import Path

from trainers.data.fetching import one_line
from trainers.errors import DataError

_MARK = ".fetched-here"
_ARCHIVES = (".gz", ".tgz", ".tar", ".whl", ".zip")
_SHOWN = 5  # of what lies in a folder, in an error


def given(folder: Path) -> Path:
    """The absolute path of what was given as `--data`: a folder, one that is to be made, or a file.

    Raises:
        DataError: no path; or there is nothing, and its name is that of an archive, which no folder is meant by.
    """
    try:
        path = folder.expanduser().absolute()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.suffix in _ARCHIVES:
            raise DataError(
                f"{path} is not there: pass the path of an archive that is, or a folder, with --data"
            ) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"{str(folder)!r} cannot be read: {one_line(error)}. Pass another folder with --data"
        ) from error
    return path


def may_be_filled(folder: Path) -> bool:
    """Whether data may be put there: nothing lies there, or what was put there before.

    Raises:
        OSError: it cannot be looked into.
    """
    if not folder.exists():
        return True
    return folder.is_dir() and ((folder / _MARK).exists() or not _visible(folder))


def prepare(folder: Path) -> None:
    """Makes a folder that may be filled, and says in it that it may go on to be.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()


def contents(folder: Path) -> str:
    """What lies in a folder, for an error."""
    names = _visible(folder)
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "nothing") + more


def _visible(folder: Path) -> list[str]:
    """A disk's own `lost+found` is no content of it."""
    return sorted(each.name for each in folder.iterdir() if not each.name.startswith(".") and each.name != "lost+found")
