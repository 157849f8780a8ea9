from pathlib import Path

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
