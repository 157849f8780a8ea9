"""Which version of the package this is, and which commit of it."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import orchestrator
from orchestrator.track.uncommitted import run_git

_PACKAGE = "sortednet-studies"


def version_line() -> str:
    """`sortednet-studies 0.2.0 (commit 59a924b0c1d2)`."""
    return f"{_PACKAGE} {_version()}{_commit(Path(orchestrator.__file__).parent)}"


def _version() -> str:
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return "(not installed)"


def _commit(folder: Path) -> str:
    """Of the checkout that the package is part of; empty where it is none, though it may lie inside somebody else's."""
    if not run_git(folder, "ls-files", "--", "__init__.py"):
        return ""
    head = run_git(folder, "rev-parse", "HEAD")
    changed = run_git(folder, "status", "--porcelain", "--untracked-files=no")
    if not head:
        return ""
    return f" (commit {head.decode().strip()[:12]}{', with changes' if changed else ''})"
