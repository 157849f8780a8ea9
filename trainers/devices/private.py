"""The user's own folder for what is kept between runs and run as it lies there: compiled code.

Whoever can write such a folder, or put another in its place, has their code run by the user. So it is used only if it,
every folder above it and each file in it belong to the user or to root and nobody else may write there. Data need
none of this, as long as their checksum is known beforehand: they may lie anywhere.
"""

import grp
import os
import pwd
import stat
import sys
from pathlib import Path

from platformdirs import user_cache_path

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class NotPrivate(OSError):
    """A file or folder that somebody else may have written, or that cannot be had."""


def user_cache() -> Path:
    """What is kept for the user lies below this folder, which need not be there yet.

    Raises:
        NotPrivate: the user has no home, as one without a name in a container.
    """
    try:
        folder = user_cache_path("sortednet-studies")
    except RuntimeError:
        folder = Path()
    if not folder.is_absolute():  # as platformdirs gave it before its version 4.14
        raise NotPrivate("there is no home folder")
    return folder


def private_folder(name: str) -> Path:
    """The folder called `name` in the user's cache, made if it is not there, without links in its path.

    Raises:
        NotPrivate: there is no home, it cannot be written, or others can write it; says which and what mends it.
    """
    folder = user_cache() / name
    try:
        for each in (*reversed(folder.parents), folder):
            each.mkdir(mode=0o700, exist_ok=True)
        found = folder.resolve(strict=True)
    except OSError as error:
        raise NotPrivate(f"{folder} cannot be made: {error.strerror or error}") from error
    check_private(found)
    return found


def check_private(path: Path) -> None:
    """Refuses a file or folder, given without links in its path, that others can write or replace.

    In a folder with the sticky bit, as /tmp is, nobody replaces what is another's.

    Raises:
        NotPrivate: says which part of the path, and why.
        OSError: it cannot be looked at.
    """
    for each in (path, *path.parents):
        status = each.lstat()
        if status.st_uid not in (os.geteuid(), 0):
            raise NotPrivate(f"{each} belongs to {_name(status.st_uid)}")
        if stat.S_ISLNK(status.st_mode):
            raise NotPrivate(f"{each} is a link")
        sticky = each != path and stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if not sticky and _is_open(status):
            raise NotPrivate(f"others may write {each} (chmod go-w {each} mends it)")


def _is_open(status: os.stat_result) -> bool:
    writers = status.st_mode & _OTHERS
    return bool(writers) and not (writers == stat.S_IWGRP and _is_own_group(status.st_gid))


def _is_own_group(group: int) -> bool:
    """Whether a group is the user's alone, as distributions make one for each user whose umask is 002."""
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def say(text: str) -> None:
    """One line, beside what the program prints."""
    print(text, file=sys.stderr)
