import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.run.checkpoints import CheckpointFolder


def save(folder: CheckpointFolder, step: int) -> None:
    folder.save(step, [{"step": step}], lambda directory: (directory / "weights").write_bytes(b"w" * step) and None)


def test_the_newest_is_found_with_its_history_and_two_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "trial")
    assert folder.latest() is None
    for step in (1, 2, 30):
        save(folder, step)
    latest = folder.latest()
    assert latest is not None
    assert (latest.step, latest.history) == (30, [{"step": 30}])
    assert (latest.directory / "weights").read_bytes() == b"w" * 30
    assert sorted(path.name for path in (tmp_path / "trial").iterdir()) == ["step-000000000002", "step-000000000030"]


@pytest.mark.parametrize("damage", ["truncate", "garbage", "missing", "manifest", "history"])
def test_a_damaged_checkpoint_is_passed_over_and_said(damage: str, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "trial")
    save(folder, 5)
    save(folder, 6)
    newest = tmp_path / "trial" / "step-000000000006"
    if damage == "missing":
        (newest / "weights").unlink()
    elif damage == "manifest":
        (newest / "manifest.json").write_text("[1")
    elif damage == "history":
        (newest / "history.json").write_text("[]")
    else:
        (newest / "weights").write_bytes(b"w" * 3 if damage == "truncate" else b"x" * 6)
    latest = folder.latest()
    assert latest is not None
    assert latest.step == 5
    assert len(folder.passed_over) == 1
    save(folder, 6)  # and the step is written anew
    again = CheckpointFolder(tmp_path / "trial").latest()
    assert again is not None
    assert again.step == 6


def test_a_trial_begun_anew_keeps_its_checkpoints_and_not_the_damaged_ones(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "trial")
    for step in (30, 40):
        save(folder, step)
    for directory in (tmp_path / "trial").iterdir():
        (directory / "weights").unlink()
    assert folder.latest() is None
    save(folder, 10)
    latest = folder.latest()
    assert latest is not None
    assert latest.step == 10
    save(folder, 20)
    assert [path.name for path in sorted((tmp_path / "trial").iterdir())] == ["step-000000000010", "step-000000000020"]


def test_a_write_that_breaks_off_leaves_the_last_one(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "trial")
    save(folder, 1)

    def dies(directory: Path) -> None:
        (directory / "weights").write_bytes(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        folder.save(2, [], dies)
    latest = folder.latest()
    assert latest is not None
    assert latest.step == 1
    save(folder, 3)
    assert not list((tmp_path / "trial").glob(".writing-*"))


def changed(checkpoint: Path, **manifest: Any) -> None:
    """Has a checkpoint vouch for the history that lies there now, with another manifest."""
    path = checkpoint / "manifest.json"
    known = json.loads(path.read_text()) | manifest
    known["files"]["history.json"] = hashlib.sha256((checkpoint / "history.json").read_bytes()).hexdigest()
    path.write_text(json.dumps({name: value for name, value in known.items() if value is not None}))


@pytest.mark.parametrize("bad", [{"loss": None}, {"loss": "1"}, {"loss": True}, {"loss%": 1.0}, [1.0]])
def test_a_checkpoint_whose_history_cannot_be_recorded_is_passed_over(bad: Any, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "trial")
    save(folder, 5)
    save(folder, 6)
    newest = tmp_path / "trial" / "step-000000000006"
    (newest / "history.json").write_text(json.dumps([{"step": 6, "time": 1, "metrics": bad}]))  # as once was kept
    changed(newest)
    latest = folder.latest()
    assert latest is not None
    assert latest.step == 5
    assert len(folder.passed_over) == 1


def test_a_checkpoint_of_another_trial_is_passed_over_and_one_of_before_they_said_whose_is_not(tmp_path: Path) -> None:
    mine, other = CheckpointFolder(tmp_path / "mine"), CheckpointFolder(tmp_path / "other")
    save(mine, 5)
    save(other, 6)
    for name in ("step-000000000006", "step-000000000007"):
        shutil.copytree(tmp_path / "other" / "step-000000000006", tmp_path / "mine" / name)
    changed(tmp_path / "mine" / "step-000000000007", trial=None, step=7)
    latest = mine.latest()
    assert latest is not None
    assert latest.step == 7
    shutil.rmtree(latest.directory)
    latest = mine.latest()
    assert latest is not None
    assert latest.step == 5
    assert "it is of another trial, other" in mine.passed_over[-1]


def test_a_checkpoint_of_before_seconds_and_outcomes_were_kept_is_read(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "trial")
    save(folder, 5)
    changed(tmp_path / "trial" / "step-000000000005", trial=None, seconds=None, outcome=None)
    latest = folder.latest()
    assert latest is not None
    assert (latest.step, latest.seconds, latest.outcome) == (5, 0.0, "")


STRAY = {
    "a file": ".DS_Store",
    "a file where a checkpoint will be": "step-000000000007",
    "a file that looks like a checkpoint": "step-000000000099",
    "a file with a name of its own": "step-backup",
    "what NFS keeps of an open file": ".nfs000001",
    "a file in a checkpoint": "step-000000000006/.nfs000002",
    "a folder": "lost+found/",
    "a folder where a checkpoint will be": "step-000000000007/",
    "a folder that looks like a checkpoint": "step-000000000099/",
    "a folder where the owner stands": "owner/",
    "a folder in a checkpoint": "step-000000000006/inside/",
}


@pytest.mark.parametrize("stray", STRAY)
def test_what_somebody_left_in_the_folder_keeps_nothing_from_being_saved_or_found(stray: str, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "trial")
    for step in (5, 6):
        save(folder, step)
    left = tmp_path / "trial" / STRAY[stray]
    if STRAY[stray].endswith("/"):
        (left / "deeper").mkdir(parents=True)
    else:
        left.write_text("stray")
    latest = CheckpointFolder(tmp_path / "trial").latest()
    assert latest is not None
    assert latest.step == 6
    again = CheckpointFolder(tmp_path / "trial")
    again.claim()
    assert again.latest() is not None
    for step in (7, 8):
        save(again, step)
    latest = again.latest()
    assert latest is not None
    assert (latest.step, (latest.directory / "weights").read_bytes()) == (8, b"w" * 8)
    kept = {path.name for path in (tmp_path / "trial").iterdir() if path.is_dir() and (path / "manifest.json").exists()}
    assert kept == {"step-000000000007", "step-000000000008"}


def test_a_plain_file_that_is_named_like_a_checkpoint_is_somebody_elses(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "trial")
    save(folder, 5)
    left = [tmp_path / "trial" / name for name in ("step-000000000004", "step-000000000099")]
    for path in left:
        path.write_text("stray")
    again = CheckpointFolder(tmp_path / "trial")
    again.claim()
    assert again.latest() is not None
    assert again.passed_over == []
    for step in (6, 7):
        save(again, step)
    assert [path.read_text() for path in left] == ["stray", "stray"]
    assert sorted(path.name for path in (tmp_path / "trial").iterdir() if path.is_dir()) == [
        "step-000000000006",
        "step-000000000007",
    ]


def test_what_a_file_system_leaves_in_a_checkpoint_as_it_is_written_is_not_vouched_for(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "trial")

    def write(directory: Path) -> None:
        (directory / "part").mkdir()
        for name in ("part/weights", ".metadata", ".nfs000003", "part/.DS_Store"):
            (directory / name).write_text("written")

    folder.save(1, [], write)
    directory = tmp_path / "trial" / "step-000000000001"
    for name in (".nfs000003", "part/.DS_Store"):
        (directory / name).unlink()
    assert folder.latest() is not None
    (directory / "part" / "weights").write_text("changed")
    assert folder.latest() is None
