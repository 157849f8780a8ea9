"""Storage that fills up, cannot be written, or holds checkpoints that are not what they were."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestrator.run.checkpoints import CheckpointFolder
from orchestrator.run.lease import Holder
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


def _places(storage: Path) -> list[str]:
    """Where the database says that artifacts are: of its experiments but MLflow's own, and of every run."""
    with closing(sqlite3.connect(storage / "mlflow.db")) as database:
        rows = database.execute("SELECT artifact_location FROM experiments WHERE experiment_id > 0").fetchall()
        rows += database.execute("SELECT artifact_uri FROM runs").fetchall()
    return [place for (place,) in rows]


def _forget_the_mark(storage: Path) -> None:
    """As it was written before experiments said that their artifacts are beside the database."""
    with closing(sqlite3.connect(storage / "mlflow.db")) as database, database:
        assert database.execute("DELETE FROM experiment_tags WHERE key = 'study.artifacts'").rowcount == 1


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("marked", [True, False], ids=["new", "of an earlier version"])
@pytest.mark.parametrize("name", ["elsewhere", "two words", "100%41 or ?", "ö # ' \""])
def test_a_storage_that_was_moved_is_reported_and_goes_on_where_it_is(
    name: str, marked: bool, calm: Path, tmp_path: Path
) -> None:
    first, moved = tmp_path / "first", tmp_path / "deep" / name
    assert harness.run_here(first, "--debug", "--seeds", "1").status == 0
    if not marked:
        _forget_the_mark(first)
    moved.parent.mkdir()
    first.rename(moved)
    (tmp_path / "link").symlink_to(moved)
    done = harness.run_here(tmp_path / "link", "report")
    assert (done.status, done.err) == (0, ""), done
    done = harness.run_here(moved, "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert "3 of 6 trials to run" in done.out
    assert not first.exists()
    assert all(place.startswith(f"{(moved / 'artifacts').as_uri()}/") for place in _places(moved))
    assert [path.name for path in moved.parent.iterdir()] == [name]
    pd.testing.assert_frame_equal(harness.table(moved), harness.table(calm), check_exact=True)


def test_a_copy_and_its_original_write_into_themselves_alone(calm: Path, tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    assert harness.run_here(original, "--debug", "--seeds", "1").status == 0
    shutil.copytree(original, copy)
    before = _content(original)
    assert harness.run_here(copy, "--debug").status == 0
    assert _content(original) == before
    assert all(str(original) not in place for place in _places(copy))
    between = _content(copy)
    assert harness.run_here(original, "--debug").status == 0
    assert {name: content for name, content in _content(copy).items() if name in between} == between
    for storage in (original, copy):
        harness.same(storage, calm)


def test_artifacts_that_never_were_in_the_storage_are_left_where_they_are(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    store = f"sqlite:///{home / 'mlflow.db'}"
    assert harness.run_here(other, "--debug", "--seeds", "1", "--tracking-uri", store).status == 0
    before = _places(home)
    assert harness.run_here(home, "report", "--seeds", "1").status == 0
    assert _places(home) == before
    other.rename(tmp_path / "away")
    done = harness.run_here(home, "report", "--seeds", "1")
    assert (done.status, done.err.count("\n")) == (2, 1), done
    assert "sub_models.csv of a · seed 0 is not there, in " in done.err
    assert "delete" not in done.err
    assert _places(home) == before
    done = harness.run_here(tmp_path / "away", "report", "--seeds", "1", "--tracking-uri", store)
    assert (done.status, done.err) == (0, ""), done


def test_a_run_whose_artifacts_stayed_behind_is_read_there_and_all_others_are_where_the_storage_is(
    calm: Path, tmp_path: Path
) -> None:
    """As where a version that knew nothing of the move has trained a trial meanwhile."""
    first, moved = tmp_path / "first", tmp_path / "moved"
    assert harness.run_here(first, "--debug", "--seeds", "1").status == 0
    shutil.copytree(first, moved)
    of_trials = sorted(path.parents[1] for path in (first / "artifacts").rglob("sub_models.csv"))
    behind = of_trials[0].name
    shutil.rmtree(moved / "artifacts" / "chain" / behind)
    for run in of_trials[1:]:
        shutil.rmtree(run)
    done = harness.run_here(moved, "report", "--seeds", "1")
    assert (done.status, done.err) == (0, ""), done
    done = harness.run_here(moved, "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert "3 of 6 trials to run" in done.out
    pd.testing.assert_frame_equal(harness.table(moved), harness.table(calm), check_exact=True)
    old = [place for place in _places(moved) if place.startswith(first.as_uri())]
    assert old == [(first / "artifacts" / "chain" / behind / "artifacts").as_uri()]


def test_a_run_that_no_longer_says_where_its_artifacts_are_is_named(calm: Path, tmp_path: Path) -> None:
    storage = shutil.copytree(calm, tmp_path / "s")
    with closing(sqlite3.connect(storage / "mlflow.db")) as database, database:
        database.execute(
            "UPDATE runs SET artifact_uri = NULL WHERE run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'seed')"
        )
    done = harness.run_here(storage, "report")
    assert (done.status, done.err.count("\n")) == (2, 1), done
    assert "sub_models.csv of a · seed 0 is not there" in done.err


def test_a_moved_storage_on_which_somebody_runs_is_read_and_not_changed(calm: Path, tmp_path: Path) -> None:
    first, moved = tmp_path / "first", tmp_path / "moved"
    assert harness.run_here(first, "--debug", "--seeds", "1").status == 0
    first.rename(moved)
    before = _places(moved)
    living = {**vars(Holder.this_process()), "host": "another"}
    (moved / "leases" / "other.0123456789abcdef.json").write_text(json.dumps(living))
    done = harness.run_here(moved, "report", "--seeds", "1")
    assert (done.status, done.err) == (0, ""), done
    done = harness.run_here(moved, "--debug")
    assert (done.status, done.err.count("\n")) == (2, 1), done
    assert "was moved or copied" in done.err
    assert "other runs on it" in done.err
    assert _places(moved) == before
    (moved / "leases" / "other.0123456789abcdef.json").unlink()
    assert harness.run_here(moved, "--debug").status == 0
    harness.same(moved, calm)


def _checkpoints(storage: Path) -> list[str]:
    return sorted(path.name for path in (storage / "trials").rglob("step-*"))


def test_of_a_finished_trial_no_checkpoint_is_left_and_another_store_knows_it_as_finished(
    calm: Path, tmp_path: Path
) -> None:
    storage, store = tmp_path / "s", f"sqlite:///{tmp_path / 'other.db'}"
    assert harness.run_here(storage, "--debug").status == 0
    kept = [path for path in (storage / "trials").rglob("*") if path.is_file()]
    assert {path.name for path in kept} == {"owner", "finished.json"}
    done = harness.run_here(storage, "--debug", "--tracking-uri", store)
    assert (done.status, done.err) == (0, ""), done
    assert done.out.count("resumed at update 40") == 6  # nothing is trained again
    harness.same(storage, calm, store)
    assert _checkpoints(storage) == []


def test_checkpoints_that_a_driver_had_no_time_to_take_away_go_with_the_next_run(
    calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "s"

    def full(*_: object) -> bool:
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(CheckpointFolder, "settle", full)
        assert harness.run_here(storage, "--debug").status == 0
    assert len(_checkpoints(storage)) == 12
    weights = next((storage / "artifacts").rglob("weights.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(b"not these")
    assert "All 6 trials are finished already" in harness.run_here(storage, "--debug").out
    assert len(_checkpoints(storage)) == 2  # those of the trial whose weights are nowhere else
    weights.write_bytes(whole)
    assert harness.run_here(storage, "--debug").status == 0
    assert _checkpoints(storage) == []
    harness.same(storage, calm)


def _listed(storage: Path) -> list[dict[str, Any]]:
    done = harness.run_here(storage, "list", "--json")
    assert (done.status, done.err) == (0, ""), done
    studies: list[dict[str, Any]] = json.loads(done.out)["studies"]
    return studies


def test_list_shows_every_base_config_with_its_trials_and_sizes(tmp_path: Path) -> None:
    done = harness.run_here(tmp_path / "none", "list")
    assert (done.status, done.out.splitlines()) == (0, [f"No study is in {tmp_path / 'none'} yet."]), done
    assert not (tmp_path / "none").exists()
    storage = tmp_path / "s"
    process = harness.start_held(storage, "--debug", "--seeds", "1")
    harness.kill_all(process)
    process.communicate()
    assert harness.run_here(storage, "--debug", "--seeds", "1", "--set", "steps=20").status == 0
    first, second = _listed(storage)
    assert (first["study"], first["preset"], first["trials"]) == ("chain", "short", {"interrupted": 1})  # by a kill
    assert json.loads(second["settings"])["steps"] == 20
    assert second["trials"] == {"done": 3}
    written = [path for path in (storage / "artifacts").rglob("*") if path.is_file()]
    assert first["artifact_bytes"] + second["artifact_bytes"] == sum(path.stat().st_size for path in written)
    assert first["checkpoint_bytes"] > second["checkpoint_bytes"] / 3
    shown = harness.run_here(storage, "list").out
    assert "1 interrupted" in shown
    assert "3 done" in shown


def test_clean_removes_what_it_showed_once_it_is_asked_to_and_the_study_goes_on(calm: Path, tmp_path: Path) -> None:
    storage = tmp_path / "s"
    process = harness.start_held(storage, "--debug")
    harness.kill_all(process)
    process.communicate()
    stray = storage / "trials" / ("0" * 64)
    stray.mkdir()
    (stray / "left").write_bytes(bytes(3_000_000))
    link = storage / "trials" / ("1" * 64)
    link.symlink_to(calm)
    before = _content(storage)
    shown = harness.run_here(storage, "clean")
    assert (shown.status, shown.err) == (0, ""), shown
    assert "3.0 MB would be removed; add --yes to do it." in shown.out
    assert _content(storage) == before
    assert harness.run_here(storage, "clean", "--yes").status == 0
    assert not stray.exists()
    assert not link.is_symlink()
    assert (calm / "whole").exists()
    assert _checkpoints(storage)
    assert harness.run_here(storage, "clean", "--what", "unfinished", "--yes").status == 0
    assert not _checkpoints(storage)
    done = harness.run_here(storage, "--debug")
    assert (done.status, done.err) == (0, ""), done
    harness.same(storage, calm)
    whole = _content(storage / "artifacts")
    assert harness.run_here(storage, "clean", "--what", "unfinished", "--what", "unreferenced", "--yes").status == 0
    assert _content(storage / "artifacts") == whole
    assert harness.run_here(storage, "clean", "--what", "study", "--yes").status == 0
    assert not _content(storage / "artifacts") | _content(storage / "reports")
    assert list((storage / "trials").iterdir()) == []
    assert _listed(storage)[0]["trials"] == {}
    assert "nothing has finished yet" in harness.run_here(storage, "report").err
    assert harness.run_here(storage, "--debug").status == 0
    harness.same(storage, calm)


def test_clean_leaves_alone_what_a_driver_is_at(calm: Path, tmp_path: Path) -> None:
    storage = tmp_path / "s"
    assert harness.run_here(storage, "--debug", "--seeds", "1", "--set", "steps=20").status == 0
    process = harness.start_held(storage, "--debug")
    assert [each["trials"] for each in _listed(storage)] == [{"done": 3}, {"running": 1}]
    before = _content(storage / "trials")
    every = [word for what in ("unreferenced", "unfinished", "study") for word in ("--what", what)]
    done = harness.run_here(storage, "clean", *every, "--yes")
    assert (done.status, done.err) == (0, ""), done
    assert f"Left alone: what chain is at, {Holder.this_process().user} on " in done.out
    after = _content(storage / "trials")
    assert [name for name in after if "step-" in name] == [name for name in before if "step-" in name] != []
    harness.let_go(storage)
    done = harness.ended(process)
    assert (done.status, done.err) == (0, ""), done
    harness.same(storage, calm)
