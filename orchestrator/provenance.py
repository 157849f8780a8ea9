"""Where a result comes from: commit, uncommitted changes, package versions."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("torch", "torchvision", "ray", "mlflow", "numpy", "sortednet-studies")


def provenance(directory: Path) -> dict[str, str]:
    """Tags: `git.commit`, `git.dirty` (of the checkout that holds `directory`), `version.…`, `version.python`."""
    tags = {"version.python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            tags[f"version.{package}"] = version(package)
        except PackageNotFoundError:
            tags[f"version.{package}"] = "not installed"
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return tags | {"git.commit": "none", "git.dirty": "unknown"}
    return tags | {"git.commit": commit, "git.dirty": str(bool(_git(directory, "status", "--porcelain"))).lower()}


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=directory, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
