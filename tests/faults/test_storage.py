"""Storage that fills up, cannot be written, or holds checkpoints that are not what they were."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import harness


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_storage_is_said_and_once_there_is_room_it_goes_on(calm: Path, small_disk: Path) -> None:
    storage = small_disk / "s"
    process = harness.start_held(storage, "--patience", "5")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(4096))
        except OSError:
            pass
    harness.let_go(storage)
    done = harness.ended(process)
    assert done.status == 1, done
    assert "Traceback" not in done.err
    assert "No space left" in done.out + done.err or "disk is full" in done.out + done.err
    filler.unlink()
    done = harness.run_here(storage, "--debug")
    assert (done.status, done.err) == (0, ""), done
    harness.same(storage, calm)


def test_a_storage_that_cannot_be_written_is_one_line_and_nothing_starts(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = harness.run_here(small_disk / "s")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "cannot be written: Read-only file system" in done.err


def _truncated_history(checkpoint: Path) -> None:
    history = checkpoint / "history.json"
    history.write_bytes(history.read_bytes()[:-5])


def _garbage(checkpoint: Path) -> None:
    for path in checkpoint.iterdir():
        path.write_bytes(os.urandom(100))


def _torn(checkpoint: Path) -> None:
    (checkpoint / "weights.safetensors").unlink()


def _names_a_file_elsewhere(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").write_text(json.dumps({"step": 30, "files": {"../../../mlflow.db": "0"}}))


@pytest.mark.parametrize("damage", [_truncated_history, _garbage, _torn, _names_a_file_elsewhere])
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(
    damage: Callable[[Path], None], calm: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "s"
    process = harness.start_held(storage, "--debug", where="a-0-35")
    harness.kill_all(process)
    process.communicate()
    trials = list((storage / "trials").iterdir())
    newest = [checkpoints[-1] for trial in trials if (checkpoints := sorted(trial.glob("step-*")))]
    assert newest
    for checkpoint in newest:
        damage(checkpoint)
    done = harness.run(storage) if damage is _torn else harness.run_here(storage, "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert "a · seed 0: a checkpoint cannot be used, step-000000000030" in done.out
    assert "a · seed 0: resumed at update 20" in done.out
    harness.same(storage, calm)


def test_a_database_locked_by_another_process_is_waited_for(calm: Path, tmp_path: Path) -> None:
    storage = tmp_path / "s"
    process = harness.start_held(storage, "--debug")
    with sqlite3.connect(storage / "mlflow.db", timeout=30, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        harness.let_go(storage)
        harness.wait_for(process, "the tracking store does not take what is written")
        other.execute("ROLLBACK")
    other.close()
    done = harness.ended(process)
    assert (done.status, done.err) == (0, ""), done
    assert "the tracking store answers again" in done.out
    harness.same(storage, calm)


def test_a_report_that_cannot_be_written_is_one_line(calm: Path, tmp_path: Path) -> None:
    storage = shutil.copytree(calm, tmp_path / "s")
    shutil.rmtree(storage / "reports")
    (storage / "reports").write_text("in the way")
    done = harness.run_here(storage, "report")
    assert (done.status, done.err.count("\n")) == (1, 1), done
    assert done.err.startswith("stopped: ")
    assert str(storage / "reports") in done.err
