"""The command that removes from a storage what is of no use any more: shown first, and done when it is asked for."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from orchestrator.commands.console import plain_console
from orchestrator.commands.listing import is_in, megabytes, size
from orchestrator.commands.options import Options, writable
from orchestrator.commands.tracking import find_tracker
from orchestrator.run.drivers import Driver, drivers
from orchestrator.run.lease import LEASES
from orchestrator.study.study import Study

if TYPE_CHECKING:
    from orchestrator.track.inventory import Holding
    from orchestrator.track.tracker import Tracker


@dataclass(frozen=True)
class _Removal:
    """Something that may go.

    Attributes:
        key: of the trial whose it is; empty if it is no trial's.
        base_key: of its study's base config; empty where no study is known.
        run_id: of the run that goes with it, being of no use without; empty without one.
    """

    path: Path
    why: str
    key: str = ""
    base_key: str = ""
    run_id: str = ""


def clean_storage(study: Study, options: Options, what: Sequence[str], done: bool) -> int:
    """Shows what may go, with sizes, and removes it if `done`; nothing that a driver on this storage is at."""
    console = plain_console()
    tracker = find_tracker(options)
    if tracker is None or not options.storage.is_dir():
        console.print(f"No study is in {options.storage} yet.", markup=False, soft_wrap=True)
        return 0
    from orchestrator.track.inventory import holdings

    known, at_work = holdings(tracker), drivers(options.storage)
    busy = {key for each in known if any(_runs(driver, each) for driver in at_work) for key in each.standings}
    chosen = {
        removal.path: removal
        for removal in _removals(known, study.name, options.storage, what)
        if not any(_is_at(driver, removal, busy) for driver in at_work)
    }
    table = Table(title=f"{'Removed from' if done else 'To be removed from'} {options.storage}", title_justify="left")
    for column in ("what", "why"):
        table.add_column(column, overflow="fold")
    table.add_column("size", justify="right")
    total = 0
    for path, removal in chosen.items():
        total += (length := size(path))
        table.add_row(str(path.relative_to(options.storage)), removal.why, megabytes(length))
    if chosen and done:
        _remove(list(chosen.values()), options.storage, tracker)
    if chosen:
        console.print(table)
    for driver in at_work:
        console.print(f"Left alone: what {driver.study} is at, {driver.holder.text}.", markup=False, soft_wrap=True)
    end = "removed" if done else "would be removed; add --yes to do it" if chosen else "to remove"
    console.print(f"{megabytes(total)} {end}.")
    return 0


def _remove(chosen: Sequence[_Removal], storage: Path, tracker: "Tracker") -> None:
    """Under a lease that covers the trials, so that no driver begins with one of them meanwhile."""
    from orchestrator.run.lease import Lease

    writable(storage, "--storage")
    with Lease(storage / LEASES / "clean.json").acquired() as lease:
        lease.cover(removal.key for removal in chosen if removal.key)
        for removal in chosen:
            if removal.run_id:  # first: without its files a run would be a result that cannot be read
                tracker.client.delete_run(removal.run_id)
            if removal.path.is_symlink():  # what it leads to is nobody's here
                removal.path.unlink()
            else:
                shutil.rmtree(removal.path)


def _removals(known: "Sequence[Holding]", study: str, storage: Path, what: Sequence[str]) -> Iterator[_Removal]:
    """What may go, whoever is at work."""
    if "unreferenced" in what:
        yield from _unreferenced(known, storage)
    if "unfinished" in what:
        finished = {key for each in known for key, status in each.standings.items() if status == "FINISHED"}
        for key in sorted({key for each in known for key in each.standings} - finished):
            if (folder := storage / "trials" / key).is_dir():
                yield _Removal(folder, "its trial has not finished", key)
    if "study" in what:
        yield from _of_study(known, study, storage)


def _unreferenced(known: "Sequence[Holding]", storage: Path) -> Iterator[_Removal]:
    """Of no run, or of a deleted one. Artifacts whose run this store has never heard of may be another store's."""
    live = {key for each in known for key in each.standings}
    for folder in sorted((storage / "trials").glob("*")):
        if folder.is_dir() and folder.name not in live:
            yield _Removal(folder, "no run in this store is of its trial", folder.name)
    for holding in known:
        for run in holding.runs:
            if run.deleted and run.folder is not None and is_in(run.folder, storage):
                yield _Removal(run.folder.resolve(), "its run was deleted in MLflow", run.key, holding.base_key)


def _of_study(known: "Sequence[Holding]", study: str, storage: Path) -> Iterator[_Removal]:
    """All of a study; how a trial ended stays where another study has the trial, too."""
    shared = {key for each in known if each.study != study for key in each.standings}
    for holding in known:
        if holding.study != study:
            continue
        for key in holding.standings:
            if key not in shared and (folder := storage / "trials" / key).is_dir():
                yield _Removal(folder, f"of {study}", key, holding.base_key)
        for run in holding.runs:
            if run.folder is not None and is_in(run.folder, storage):
                gone = "" if run.deleted else run.run_id
                yield _Removal(run.folder.resolve(), f"of {study}", run.key, holding.base_key, gone)
    if (reports := storage / "reports" / study).is_dir():
        yield _Removal(reports, f"of {study}")


def _runs(driver: Driver, holding: "Holding") -> bool:
    return holding.study == driver.study and holding.base_key.startswith(driver.base_key)


def _is_at(driver: Driver, removal: _Removal, busy: set[str]) -> bool:
    """Whether a driver may need it: its trials, those of its base config, and a report that it will write."""
    if not removal.key and not removal.base_key:
        return removal.path.name == driver.study
    is_base = bool(removal.base_key) and removal.base_key.startswith(driver.base_key)
    return is_base or removal.key in busy or driver.trains(removal.key)
