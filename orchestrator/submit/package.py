"""The working tree as it travels to a cluster: what git would commit, its size told, nothing that looks secret.

Nodes import the packages from it, installed there or not: a tree that lacks them, since the study lies elsewhere, gets
those that are used here. Provenance travels along, since a copy has no `.git`.
"""

import json
import os
import shutil
import subprocess
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.secrecy.confidential import NOTHING, Included, LeftOut, has_part, left_out, shown
from orchestrator.secrecy.redaction import has_password
from orchestrator.track.provenance import ORIGIN
from orchestrator.track.uncommitted import renamed_secrets

LIMIT = 100 << 20  # bytes that Ray takes
_MUCH = 10 << 20  # bytes, of which the user is told what they are
_NEVER = ("__pycache__", "node_modules", "*.egg-info")
_OURS = ("orchestrator", "trainers", "studies")
_MOST_SAID = 20  # of what is left out, by name


@dataclass(frozen=True)
class Package:
    """Files below a root, relative to it, to be copied out.

    Attributes:
        size: bytes of all of them.
        left_out: what looks secret.
        storages: of studies, other than the one in use.
        links: to files and folders; what they lead to stays here.
    """

    root: Path
    files: tuple[Path, ...]
    size: int
    left_out: tuple[LeftOut, ...]
    storages: tuple[Path, ...] = ()
    links: tuple[Path, ...] = ()

    @contextmanager
    def copied(self, origin: dict[str, str], diff: str) -> Iterator[Path]:
        """A folder with the files and their provenance.

        Raises:
            UserError: they are more than Ray takes; names the largest.
        """
        if self.size > LIMIT:
            raise UserError(
                f"the working tree is {_megabytes(self.size)}, a cluster takes {_megabytes(LIMIT)}: name what it does "
                f"not need in .gitignore or .rayignore. The largest: {self._largest}"
            )
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "tree"
            for file in self.files:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.root / file, folder / file)
            for name in self.lacking:
                ignored = shutil.ignore_patterns(*_NEVER)
                shutil.copytree(_SOURCES / name, folder / name, ignore=ignored, dirs_exist_ok=True)
            (folder / ORIGIN).write_text(json.dumps({"tags": origin, "diff": diff}))
            yield folder

    @property
    def lacking(self) -> tuple[str, ...]:
        """The packages of this project that it does not hold, which come from where they are imported here."""
        there = {file.parent.as_posix() for file in self.files if file.name == "__init__.py"}
        return tuple(name for name in _OURS if name not in there and (_SOURCES / name).is_dir())

    @property
    def text(self) -> str:
        """`153 files, 0.9 MB`, the largest of many bytes, and what was left out and why."""
        told = f"{len(self.files)} files, {_megabytes(self.size)}"
        if self.size > _MUCH:
            told += f", the largest {self._largest} (.rayignore names what is not needed)"
        if self.lacking:
            told += f", and the packages {', '.join(self.lacking)} as they are here"
        if self.storages:
            told += f"; left out, since studies are kept there: {_listing(map(shown, self.storages))}"
        if self.links:
            told += f"; left out, since they are links: {_listing(map(shown, self.links))}"
        if not self.left_out:
            return told
        said = [
            f"{text}, {files} files" if files > 1 else text  # what is in one folder is one line
            for text, files in Counter(each.text for each in self.left_out).items()
        ]
        return f"{told}; left out, since it may be secret: {_listing(said)} (--include NAME sends it)"

    @property
    def _largest(self) -> str:
        by_size = sorted(((self.root / file).stat().st_size, file) for file in self.files)
        return ", ".join(f"{shown(file)} ({_megabytes(size)})" for size, file in by_size[:-4:-1])

    def requirements(self) -> list[str]:
        """What the project says that it depends on, or this package without one, but for Ray, which the nodes have."""
        try:
            if self.lacking and not (self.root / "pyproject.toml").exists():
                return [each for each in requires("sortednet-studies") or () if not _is_ray_or_extra(each)]
            project = tomllib.loads((self.root / "pyproject.toml").read_text())["project"]
            dependencies = [str(requirement) for requirement in project["dependencies"]]
        except (OSError, KeyError, ValueError, PackageNotFoundError) as error:
            raise UserError(f"--pip: {self.root / 'pyproject.toml'} names no dependencies: {error}") from error
        if any(map(has_password, dependencies)):
            raise UserError("--pip: a dependency in pyproject.toml holds a password, which the cluster would show")
        return [each for each in dependencies if not _is_ray_or_extra(each)]


_SOURCES = Path(__file__).resolve().parents[2]


def _is_ray_or_extra(requirement: str) -> bool:
    plain = requirement.replace(" ", "")
    return plain.startswith(("ray[", "ray>")) or "extra==" in plain


def root_of(script: Path) -> Path:
    """The folder that travels with a study file: up to `pyproject.toml` or `.git`, else the file's own."""
    return next((p for p in script.parents if (p / "pyproject.toml").exists() or (p / ".git").exists()), script.parent)


def package(script: Path, without: Path, included: Included = NOTHING) -> Package:
    """The tree that holds a study file.

    Args:
        script: the study file.
        without: the storage, which never travels.
        included: what travels though it looks secret.

    Raises:
        UserError: the study file itself looks secret; a name to include that no file has; a file that cannot be read
            or sent; a study that lies in a folder which is not its own.
    """
    root = root_of(script)
    if root in (Path.home(), Path(root.anchor), Path(tempfile.gettempdir()).resolve()):
        raise UserError(
            f"{script.name} lies in {root} itself, all of which would be sent: put it into a folder of its own"
        )
    ignored, top = ignored_by_ray(root), root.resolve()
    renamed = renamed_secrets(root)
    seen, files, secret, links, size = [], [], [], [], 0
    storages: dict[Path, bool] = {}
    for file in _listed(root):
        path = root / file
        if path.is_relative_to(without) or has_part(file, (*_NEVER, *ignored)):
            continue
        if path.is_symlink() or (path.is_file() and path.resolve() != top / file):  # who knows where to
            links.append(file)
            continue
        if not path.is_file() or any(_is_storage(root / above, storages) for above in list(file.parents)[:-1]):
            continue
        _refuse_a_name_that_ray_cannot_carry(file)
        seen.append(file)
        found = None if included.holds(file) else left_out(root, file)
        if top / file in renamed and not included.holds(file):
            found = found or LeftOut(file, "renamed from a name that tells of a secret")
        if found is not None and path == script:
            raise UserError(
                f"{shown(file)}, the study, may be secret and stays here ({found.reason}): take that out of it, or "
                f"send it all the same with --include {shown(file)}"
            )
        if found is not None:
            secret.append(found)
            continue
        files.append(file)
        size += path.stat().st_size
    included.check(seen)
    kept = tuple(folder.relative_to(root) for folder, is_one in storages.items() if is_one)
    return Package(root, tuple(files), size, tuple(secret), kept, tuple(links))


def _is_storage(folder: Path, known: dict[Path, bool]) -> bool:
    """Whether studies are kept in a folder, which may be gigabytes; remembers it."""
    if folder not in known:
        tracked = (folder / "mlflow.db").is_file() or (folder / "leases").is_dir()
        known[folder] = tracked and (folder / "trials").is_dir()
    return known[folder]


def _refuse_a_name_that_ray_cannot_carry(file: Path) -> None:
    try:
        file.as_posix().encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{shown(file)}: a name that is not UTF-8, which Ray cannot send: rename it, or name it in .gitignore"
        ) from error


def _listed(root: Path) -> list[Path]:
    """What git would commit here; without git, all that is not hidden."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=60)
        return sorted(Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name)
    except (OSError, subprocess.SubprocessError):
        found = []
        for folder, folders, names in os.walk(root):
            visible = [Path(folder) / name for name in (*folders, *names) if not name.startswith(".")]
            found += [path.relative_to(root) for path in visible if path.is_symlink() or not path.is_dir()]
            folders[:] = [
                path.name for path in visible if path.is_dir() and path.name not in _NEVER and not _is_virtual(path)
            ]
        return sorted(found)


def _is_virtual(folder: Path) -> bool:
    """Whether it is an environment of Python's, which a cluster's nodes have their own of."""
    return folder.name == "venv" or (folder / "pyvenv.cfg").is_file()


def ignored_by_ray(root: Path) -> list[str]:
    """Names and patterns of `.rayignore`; Ray itself heeds the whole of its syntax in what is copied."""
    try:
        lines = (root / ".rayignore").read_text().splitlines()
    except OSError:
        return []
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith(("#", "!"))]


def _listing(texts: Iterable[str]) -> str:
    said = list(texts)
    return ", ".join(said[:_MOST_SAID]) + (f" and {len(said) - _MOST_SAID} more" if len(said) > _MOST_SAID else "")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
