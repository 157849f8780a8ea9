"""Two studies of one name in different files share nothing by mistake; one study may grow, and its file be moved."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.noop import NoopTrainer
from orchestrator.commands.command_line import run
from orchestrator.study.study import Factor, Preset, Study

Run = Callable[..., tuple[int, str]]


def study(preset: Mapping[str, Any] | None = None, **factors: list[Any]) -> Study:
    settings = {"seconds": 0, "budget": {"unit": "updates", "amount": 1}, **(preset or {})}
    made = tuple(Factor.of(name, levels) for name, levels in factors.items())
    return Study("toy", "Toys", {"tiny": Preset(settings, 1, "")}, made)


@pytest.fixture
def run_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a study from a file, which is made unless it is there, on one storage; gives its status and errors."""

    def started(name: str, made: Study, *arguments: str) -> tuple[int, str]:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
        monkeypatch.setattr(sys, "argv", [str(file)])
        status = run(made, NoopTrainer(), [*(arguments or ["--debug"]), "--storage", str(tmp_path / "s")])
        return status, capsys.readouterr().err

    return started


def report_of(folder: Path) -> str:
    return (folder / "s" / "reports" / "toy" / "tiny" / "table.md").read_text()


OTHERS = {
    "other factors": study(rate=[1, 2]),
    "a factor more": study(width=[1, 2], rate=[1]),
    "other levels": study(width=[2, 3]),
    "levels of the same names that are others": replace(
        study(width=[1, 2]), factors=(Factor("width", {"1": {"width": 1}, "2": {"width": 3}}),)
    ),
    "another scale": study({"rate": 5}, width=[1, 2]),
}


@pytest.mark.parametrize("how", OTHERS)
def test_another_files_study_of_the_same_name_is_refused_with_the_file_and_changes_nothing(
    how: str, run_in: Run, tmp_path: Path
) -> None:
    assert run_in("first.py", study(width=[1, 2])) == (0, "")
    before = report_of(tmp_path)
    for arguments in ([], ["report"]):
        status, error = run_in("other/first.py", OTHERS[how], *arguments)
        assert (status, error.count("\n")) == (2, 1)
        assert f"toy is the name of another study in this store, that of {tmp_path / 'first.py'}: give" in error
    assert report_of(tmp_path) == before
    assert run_in("first.py", study(width=[1, 2])) == (0, "")


def test_one_study_may_grow_in_its_file_or_in_another_and_change_in_its_own(run_in: Run, tmp_path: Path) -> None:
    assert run_in("first.py", study(width=[1, 2])) == (0, "")
    assert run_in("clone/first.py", study(width=[1, 2, 3])) == (0, "")
    assert "3" in report_of(tmp_path)
    assert run_in("first.py", study(width=[1, 2])) == (0, "")
    assert run_in("first.py", study(rate=[1, 2])) == (0, "")


def test_a_file_that_was_moved_is_not_another(run_in: Run, tmp_path: Path) -> None:
    assert run_in("first.py", study(width=[1, 2])) == (0, "")
    shutil.move(tmp_path / "first.py", tmp_path / "second.py")
    assert run_in("second.py", study(rate=[1, 2])) == (0, "")
    status, error = run_in("first.py", study(width=[1, 2]))
    assert (status, f"that of {tmp_path / 'second.py'}" in error) == (2, True)


def test_a_job_on_a_cluster_runs_from_a_copy_whose_place_says_nothing(
    run_in: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_in("first.py", study(width=[1, 2])) == (0, "")
    with monkeypatch.context() as job:
        job.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
        assert run_in("copy/first.py", study(rate=[1, 2])) == (0, "")
    assert run_in("first.py", study(width=[1, 2])) == (0, "")
