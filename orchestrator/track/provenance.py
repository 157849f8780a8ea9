"""Where a result comes from: the command line, commit, uncommitted changes, versions of packages and drivers."""

import hashlib
import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator.secrecy.confidential import NOTHING, Included
from orchestrator.secrecy.redaction import without_passwords
from orchestrator.track.uncommitted import patch, run_git

ORIGIN = "study-origin.json"  # beside the packages in a copy that has no `.git`
_PACKAGES = ("ray", "mlflow", "numpy", "sortednet-studies")  # the engine's own
_COMMAND_LIMIT = 5000  # characters that MLflow keeps in a tag


def provenance(directory: Path, versions: Mapping[str, str], command: Sequence[str]) -> dict[str, str]:
    """Tags: `git.commit`, `git.dirty`, `git.diff` (a digest) of the checkout that holds `directory`, `version.…`, and
    those by which MLflow shows a run's source.

    In a copy made for a cluster, commit and changes are those of the checkout that it was made of.

    Args:
        versions: of what the trainer uses, by name.
        command: that was run, word by word; kept as `command`, without the secrets in it.
    """
    shown = shlex.join(without_passwords(word) for word in command)
    tags = {f"version.{name}": text for name, text in versions.items()} | {"command": shown[:_COMMAND_LIMIT]}
    tags |= {"mlflow.source.name": " ".join(command[:1]), "mlflow.source.type": "LOCAL"}
    tags |= {"version.python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            tags[f"version.{package}"] = version(package)
        except PackageNotFoundError:
            tags[f"version.{package}"] = "not installed"
    tags |= _carried(directory)[0] or commit(directory)
    known = {"mlflow.source.git.commit": tags["git.commit"]} if tags.get("git.commit", "none") != "none" else {}
    return tags | known


def commit(directory: Path, included: Included = NOTHING, ignored: Sequence[str] = ()) -> dict[str, str]:
    """The `git.…` tags alone; the digest is that of the patch as `diff` gives it, from which nothing can be guessed."""
    head = _git(directory, "rev-parse", "HEAD")
    if head is None:
        return {"git.commit": "none", "git.dirty": "unknown"}
    dirty = bool(_git(directory, "status", "--porcelain"))
    found = {"git.commit": head, "git.dirty": str(dirty).lower()}
    if text := patch(directory, included, ignored):
        found["git.diff"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return found


def diff(directory: Path, included: Included = NOTHING, ignored: Sequence[str] = ()) -> str:
    """The uncommitted changes to what git follows, as a patch without secrets; empty without any."""
    return _carried(directory)[1] or patch(directory, included, ignored)


def _carried(directory: Path) -> tuple[dict[str, str], str]:
    for folder in (directory, *directory.parents):
        try:
            found = json.loads((folder / ORIGIN).read_text())
            return {str(name): str(value) for name, value in found["tags"].items()}, str(found["diff"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}, ""


def _git(directory: Path, *arguments: str) -> str | None:
    found = run_git(directory, *arguments)
    return None if found is None else found.decode(errors="replace").strip()
