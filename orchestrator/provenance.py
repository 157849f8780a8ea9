"""Where a result comes from: commit, uncommitted changes, package versions."""

import hashlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ORIGIN = "study-origin.json"  # beside the packages in a copy that has no `.git`
_PACKAGES = ("torch", "torchvision", "ray", "mlflow", "numpy", "sortednet-studies")
_DIFF_LIMIT = 1_000_000  # characters


def provenance(directory: Path) -> dict[str, str]:
    """Tags: `git.commit`, `git.dirty`, `git.diff` (a digest) of the checkout that holds `directory`, `version.…`.

    In a copy made for a cluster, commit and changes are those of the checkout that it was made of.
    """
    tags = {"version.python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            tags[f"version.{package}"] = version(package)
        except PackageNotFoundError:
            tags[f"version.{package}"] = "not installed"
    return tags | (_carried(directory)[0] or commit(directory))


def commit(directory: Path) -> dict[str, str]:
    """The `git.…` tags alone."""
    head = _git(directory, "rev-parse", "HEAD")
    if head is None:
        return {"git.commit": "none", "git.dirty": "unknown"}
    dirty = bool(_git(directory, "status", "--porcelain"))
    found = {"git.commit": head, "git.dirty": str(dirty).lower()}
    if text := _diff(directory):
        found["git.diff"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return found


def diff(directory: Path) -> str:
    """The uncommitted changes to what git follows, as a patch; empty without any."""
    return _carried(directory)[1] or _diff(directory)


def _diff(directory: Path) -> str:
    return (_git(directory, "diff", "HEAD", "--no-color", "--no-ext-diff") or "")[:_DIFF_LIMIT]


def _carried(directory: Path) -> tuple[dict[str, str], str]:
    for folder in (directory, *directory.parents):
        try:
            found = json.loads((folder / ORIGIN).read_text())
            return {str(name): str(value) for name, value in found["tags"].items()}, str(found["diff"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}, ""


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
