"""Reports of one storage: none overwrites another's, and the usual one keeps its simple place."""

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.commands.command_line import run
from orchestrator.study.study import Factor, Study
from tests.orchestrator.planted import STUDY, Planted


def report(storage: Path, *arguments: str, study: Study = STUDY) -> None:
    assert run(study, Planted, ["--debug", "--seeds", "1", "--storage", str(storage), *arguments]) == 0


def folders(storage: Path) -> set[str]:
    return {path.name for path in (storage / "reports" / "planted").iterdir()}


def test_every_report_has_a_place_of_its_own_and_says_in_its_name_what_it_is_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(tmp_path)
    whole = {path.name: path.read_bytes() for path in (tmp_path / "reports" / "planted" / "small").iterdir()}
    report(tmp_path, "--only", "method=NS,method=LCS,norm=batch")
    assert "reports/planted/small,method=NS,method=LCS,norm=batch/index.html" in capsys.readouterr().out
    report(tmp_path, "--set", "note=7")
    report(tmp_path, "--set", "note=8", "--only", "norm=batch")
    report(tmp_path, "--baseline", "method=LCS")
    report(tmp_path, "--design", "one-factor-at-a-time", "--baseline", "norm=batch")
    assert folders(tmp_path) == {
        "small",
        "small,method=NS,method=LCS,norm=batch",
        "small,note=7",
        "small,norm=batch,note=8",
        "small,against,method=LCS",
        "small,one-factor-at-a-time,against,method=NS,norm=batch",
    }
    for name in ("table.md", "results.csv", "index.html"):
        assert (tmp_path / "reports" / "planted" / "small" / name).read_bytes() == whole[name]


def test_what_changes_nothing_has_the_usual_place(tmp_path: Path) -> None:
    report(tmp_path, "--only", "norm=batch,norm=instance", "--set", "seconds=0.0", "--baseline", "method=NS")
    assert folders(tmp_path) == {"small"}


def test_a_name_that_no_file_may_have_is_told_by_a_digest(tmp_path: Path) -> None:
    report(tmp_path, "--only", "norm=batch", "--set", "note=a/b c")
    report(tmp_path, "--only", "norm=batch", "--set", "note=a/b-c")
    report(tmp_path, "--only", "norm=batch", "--set", f"note={'x' * 300}")
    names = folders(tmp_path)
    assert len(names) == 3
    assert all(name.startswith("small,norm=batch,note=") and len(name) <= 100 for name in names)
    assert not [name for name in names if "/" in name or " " in name]


def test_the_base_configs_run_keeps_the_report_of_every_choice_of_arms(tmp_path: Path) -> None:
    report(tmp_path)
    report(tmp_path, "--only", "norm=batch")
    report(tmp_path, "--set", "note=7")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("planted")
    assert experiment is not None
    parents = client.search_runs([experiment.experiment_id], "tags.`study.role` = 'base'")
    kept = {frozenset(file.path for file in client.list_artifacts(run.info.run_id) if file.is_dir) for run in parents}
    assert {each - {"diffs"} for each in kept} == {frozenset({"report", "report,norm=batch"}), frozenset({"report"})}


def test_another_study_of_the_same_name_takes_nobodys_place(tmp_path: Path) -> None:
    report(tmp_path)
    before = (tmp_path / "reports" / "planted" / "small" / "table.md").read_text()
    other = replace(
        STUDY, factors=(STUDY.factors[0], STUDY.factors[1], Factor.of("width", [1, 2])), title="Another study"
    )
    report(tmp_path, study=other)
    assert folders(tmp_path) == {"small", "small,by-method+norm+width"}
    assert (tmp_path / "reports" / "planted" / "small" / "table.md").read_text() == before
    report(tmp_path, study=replace(STUDY, title="The same study under another title"))
    assert "another title" in (tmp_path / "reports" / "planted" / "small" / "index.html").read_text()
