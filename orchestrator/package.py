"""The working tree as it travels to a cluster: what git would commit, its size told, nothing secret.

Nodes import the packages from it, installed there or not. Provenance travels along, since a copy has no `.git`.
"""

import json
import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.provenance import ORIGIN

LIMIT = 100 << 20  # bytes that Ray takes
_SECRET = (".env*", ".netrc", ".pypirc", "*.pem", "*.key", "id_rsa*", "id_ed25519*", "*credentials*", "auth_token")
_NEVER = ("__pycache__", "node_modules", "*.egg-info")


@dataclass(frozen=True)
class Package:
    """Files below a root, relative to it, to be copied out.

    Attributes:
        size: bytes of all of them.
        secret: what looks like a secret and is left out.
    """

    root: Path
    files: tuple[Path, ...]
    size: int
    secret: tuple[Path, ...]

    @contextmanager
    def copied(self, origin: dict[str, str], diff: str) -> Iterator[Path]:
        """A folder with the files and their provenance.

        Raises:
            UserError: they are more than Ray takes; names the largest.
        """
        if self.size > LIMIT:
            by_size = sorted(self.files, key=lambda file: -(self.root / file).stat().st_size)
            largest = ", ".join(f"{file} ({_megabytes((self.root / file).stat().st_size)})" for file in by_size[:3])
            raise UserError(
                f"the working tree is {_megabytes(self.size)}, a cluster takes {_megabytes(LIMIT)}: name what it does "
                f"not need in .gitignore or .rayignore. The largest: {largest}"
            )
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "tree"
            for file in self.files:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.root / file, folder / file)
            (folder / ORIGIN).write_text(json.dumps({"tags": origin, "diff": diff}))
            yield folder

    @property
    def text(self) -> str:
        """`153 files, 0.9 MB`, and what was left out."""
        left_out = f"; left out, since it may be secret: {', '.join(map(str, self.secret))}" if self.secret else ""
        return f"{len(self.files)} files, {_megabytes(self.size)}{left_out}"

    def requirements(self) -> list[str]:
        """What the project says that it depends on, but for Ray, which the nodes have."""
        try:
            project = tomllib.loads((self.root / "pyproject.toml").read_text())["project"]
            wanted = [str(requirement) for requirement in project["dependencies"]]
        except (OSError, KeyError, ValueError) as error:
            raise UserError(f"--pip: {self.root / 'pyproject.toml'} names no dependencies: {error}") from error
        return [requirement for requirement in wanted if not requirement.replace(" ", "").startswith(("ray[", "ray>"))]


def package(script: Path, without: Path) -> Package:
    """The tree that holds a study file: up to the folder with `pyproject.toml` or `.git`, else the file's own.

    Args:
        script: the study file.
        without: the storage, which never travels.
    """
    root = next((p for p in script.parents if (p / "pyproject.toml").exists() or (p / ".git").exists()), script.parent)
    ignored = _ignored(root)
    files, secret, size = [], [], 0
    for file in _listed(root):
        path = root / file
        if path.is_relative_to(without) or not path.is_file() or path.is_symlink():
            continue
        if any(fnmatch(part, pattern) for part in file.parts for pattern in (*_NEVER, *ignored)):
            continue
        if any(fnmatch(file.name, pattern) for pattern in _SECRET):
            secret.append(file)
            continue
        files.append(file)
        size += path.stat().st_size
    return Package(root, tuple(files), size, tuple(secret))


def _listed(root: Path) -> list[Path]:
    """What git would commit here; without git, all that is not hidden."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=60)
        return sorted(Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name)
    except (OSError, subprocess.SubprocessError):
        found = []
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".") and name not in ("venv", *_NEVER)]
            found += [(Path(folder) / name).relative_to(root) for name in names if not name.startswith(".")]
        return sorted(found)


def _ignored(root: Path) -> list[str]:
    """Names and patterns of `.rayignore`; Ray itself heeds the whole of its syntax in what is copied."""
    try:
        lines = (root / ".rayignore").read_text().splitlines()
    except OSError:
        return []
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith(("#", "!"))]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
