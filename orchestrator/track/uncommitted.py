"""Changes to what git follows, as a patch in which nothing secret is: what a file may not carry, no patch does.

A file is left out of it whole where its name now or before looks secret, or where a secret is in it now, in the commit,
or in what the patch shows of it: a patch may show the middle of a key whose first line stands elsewhere.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.secrecy.confidential import NOTHING, Included, has_part, kind_in_content, left_out_by_name, shown

_LIMIT = 1_000_000  # characters of a patch
_SECONDS = 20
# Whatever the user's git is set to: no program of theirs is run, and no content of a submodule shown.
_PLAIN = ("--no-color", "--no-ext-diff", "--no-textconv", "--submodule=short", "--no-relative", "-M10%")


@dataclass(frozen=True)
class Change:
    """A file that differs from the commit; `before` is its old name where it was renamed, else the same."""

    before: Path
    now: Path


def patch(directory: Path, included: Included = NOTHING, ignored: Sequence[str] = ()) -> str:
    """The uncommitted changes to what git follows, in the checkout that holds `directory`; empty without any.

    Its first lines name what was left out; `git apply` passes over them.

    Args:
        included: what is shown though it looks secret.
        ignored: names and patterns of files and folders that are left out.
    """
    root = _top(directory)
    if root is None:
        return ""
    kept: list[str] = []
    withheld: list[str] = []
    length = 0
    for change in _changes(root):
        shows, why = _part(root, change, included)
        if has_part(change.now, ignored) or has_part(change.before, ignored):
            why = "named in .rayignore"
        if why is not None:
            withheld.append(f"# left out: {shown(change.now)} ({why})\n")
        elif length <= _LIMIT:
            kept.append(shows)
            length += len(shows)
    return ("".join(withheld) + "".join(kept)).strip()[:_LIMIT]


def renamed_secrets(directory: Path) -> set[Path]:
    """Files, by their whole paths, that git follows from a name that looks secret to another: the same content."""
    root = _top(directory)
    if root is None:
        return set()
    return {root / change.now for change in _changes(root) if left_out_by_name(change.before) is not None}


def _top(directory: Path) -> Path | None:
    found = run_git(directory, "rev-parse", "--show-toplevel")
    return None if found is None else Path(os.fsdecode(found.removesuffix(b"\n")))


def _part(root: Path, change: Change, included: Included) -> tuple[str, str | None]:
    """What the patch shows of a change, and why it must not."""
    if all(included.holds(name) for name in (change.before, change.now)):
        return _shows(root, change).decode(errors="replace"), None
    for name in (change.now, change.before):
        if (found := left_out_by_name(name)) is not None:
            return "", found.reason
    shows = _shows(root, change)
    for content in (_content(root / change.now), run_git(root, "cat-file", "blob", _committed(change)), shows):
        if content is not None and (kind := kind_in_content(content)) is not None:
            return "", f"{kind} is in it"
    return shows.decode(errors="replace"), None


def _shows(root: Path, change: Change) -> bytes:
    names = [f":(top,literal){name}" for name in dict.fromkeys((change.before, change.now))]
    return run_git(root, "diff", *_PLAIN, "HEAD", "--", *names) or b""


def _committed(change: Change) -> str:
    return f"HEAD:{change.before}"


def _content(path: Path) -> bytes | None:
    """What a file holds; None for one that was deleted, a link, a submodule."""
    try:
        return None if path.is_symlink() or not path.is_file() else path.read_bytes()
    except OSError:
        return None  # git cannot read it either, and shows nothing of it


def _changes(root: Path) -> list[Change]:
    listed = run_git(root, "diff", *_PLAIN, "--name-status", "-z", "HEAD") or b""
    fields = iter([Path(os.fsdecode(field)) if field else None for field in listed.split(b"\0")])
    changes = []
    while (status := next(fields, None)) is not None:
        before = next(fields)
        now = next(fields) if str(status).startswith(("R", "C")) else before
        assert before is not None
        assert now is not None
        changes.append(Change(before, now))
    return changes


def run_git(directory: Path, *arguments: str) -> bytes | None:
    """What git prints about the checkout that holds a folder; None where it fails, or is none."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            capture_output=True,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
