"""The command that shows what is in a storage, of whatever study."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options
from orchestrator.commands.states import state, with_leases
from orchestrator.commands.tracking import find_tracker

_SETTINGS_SHOWN = 60  # characters


def show_storage(options: Options) -> int:
    """Prints every study's presets and settings, its trials by where they stand, and what they take on disk."""
    tracker = find_tracker(options)
    rows: list[dict[str, Any]] = []
    if tracker is not None:
        from orchestrator.track.inventory import holdings

        found, is_trained = with_leases(options.storage, lambda: holdings(tracker))
        for holding in found:
            trials = holding.trials
            states = Counter(state(run.status, run.diverged, is_trained(key)) for key, run in trials.items())
            inside = {run.folder for run in holding.runs if is_in(run.folder, options.storage)}
            rows.append(
                {
                    "study": holding.study,
                    "preset": holding.preset,
                    "settings": holding.settings,
                    "base_key": holding.base_key,
                    "trials": dict(states),
                    "artifact_bytes": sum(size(folder) for folder in inside if folder is not None),
                    "checkpoint_bytes": sum(size(options.storage / "trials" / key) for key in trials),
                }
            )
    total = size(options.storage)
    if options.as_json:
        print(json.dumps({"storage": str(options.storage), "bytes": total, "studies": rows}))
        return 0
    console = plain_console()
    if not rows:
        console.print(f"No study is in {options.storage} yet.", markup=False, soft_wrap=True)
        return 0
    table = Table(title=f"{options.storage}: {megabytes(total)}", title_justify="left")
    for column in ("study", "preset", "settings", "trials", "artifacts", "checkpoints"):
        table.add_column(column)
    for row in rows:
        settings = row["settings"]
        shown = settings if len(settings) <= _SETTINGS_SHOWN else f"{settings[: _SETTINGS_SHOWN - 1]}…"
        standing = ", ".join(f"{count} {state}" for state, count in sorted(row["trials"].items()))
        sizes = megabytes(row["artifact_bytes"]), megabytes(row["checkpoint_bytes"])
        table.add_row(row["study"], row["preset"], f"{row['base_key'][:8]} {shown}", standing or "none", *sizes)
    console.print(table)
    return 0


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 for what is not there, or has just gone."""
    return sum(_length(file) for file in _files(path))


def is_in(folder: Path | None, storage: Path) -> bool:
    """Whether a run's artifacts lie in a storage."""
    return folder is not None and folder.resolve().is_relative_to(storage)


def megabytes(count: int) -> str:
    """`1.2 MB`."""
    return f"{count / 1e6:,.1f} MB"


def _files(path: Path) -> Iterable[Path]:
    return path.rglob("*") if path.is_dir() and not path.is_symlink() else (path,)


def _length(file: Path) -> int:
    try:
        return file.lstat().st_size if file.is_symlink() or file.is_file() else 0
    except OSError:
        return 0
