"""Reports of one storage: none overwrites another's, and the usual one keeps its simple place."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from orchestrator.commands.command_line import run
from orchestrator.commands.report_folder import mark, report_folder, report_name
from orchestrator.study.plan import Plan, make_plan
from orchestrator.study.study import Factor, Layout, Study
from tests.orchestrator.planted import STUDY, Planted

BASELINE = dict(STUDY.baseline)
USUAL = Layout(baseline=BASELINE)
NAMES: dict[str, tuple[dict[str, Any], Layout]] = {
    "small": ({}, USUAL),
    "small,method=NS,method=LCS,norm=batch": (
        {},
        Layout(baseline=BASELINE, only=(("method", "NS"), ("method", "LCS"), ("norm", "batch"))),
    ),
    "small,note=7": ({"note": 7}, USUAL),
    "small,norm=batch,note=8": ({"note": 8}, Layout(baseline=BASELINE, only=(("norm", "batch"),))),
    "small,against,method=LCS": ({}, Layout(baseline={"method": "LCS"})),
    "small,one-factor-at-a-time,against,method=NS,norm=batch": (
        {},
        Layout("one-factor-at-a-time", {**BASELINE, "norm": "batch"}),
    ),
}


def planned(settings: dict[str, Any], layout: Layout, study: Study = STUDY) -> Plan:
    return make_plan(study, Planted(), "small", settings, (0,), layout)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_report_is_of_is_its_folders_name(name: str, tmp_path: Path) -> None:
    assert report_folder(planned(*NAMES[name]), tmp_path) == tmp_path / "reports" / "planted" / name


def test_what_changes_nothing_has_the_usual_place(tmp_path: Path) -> None:
    levels = (("norm", "batch"), ("norm", "instance"), ("method", "LCS"), ("method", "NS"), ("method", "SortedNet"))
    plan = planned({"seconds": 0.0}, Layout(baseline=BASELINE, only=levels))
    assert report_folder(plan, tmp_path).name == "small"
    more = make_plan(STUDY, Planted(), "small", {}, range(9), USUAL)
    assert report_folder(more, tmp_path).name == "small"


def test_a_name_that_no_file_may_have_is_told_by_a_digest(tmp_path: Path) -> None:
    some = Layout(baseline=BASELINE, only=(("norm", "batch"),))
    notes = ("a/b c", "a/b-c", "x" * 300, "x" * 301, "½×", "..")
    names = [report_folder(planned({"note": note}, some), tmp_path).name for note in notes]
    assert len(set(names)) == len(notes)
    assert all(name.startswith("small,norm=batch,note=") and len(name) <= 100 for name in names)
    assert not [name for name in names if "/" in name or not name.isascii()]


def test_another_study_of_the_same_name_takes_nobodys_place(tmp_path: Path) -> None:
    plan = planned({}, USUAL)
    folder = report_folder(plan, tmp_path)
    folder.mkdir(parents=True)
    assert report_folder(plan, tmp_path) == folder  # of a version that left no mark
    mark(folder, plan)
    wider = replace(STUDY, factors=(*STUDY.factors, Factor.of("width", [1, 2])))
    assert report_folder(planned({}, USUAL, wider), tmp_path).name == "small,by-method+norm+width"
    titled = replace(STUDY, title="The same study under another title")
    assert report_folder(planned({}, USUAL, titled), tmp_path) == report_folder(plan, tmp_path) == folder
    (folder / "study.json").write_text("[]")  # somebody's
    assert report_folder(plan, tmp_path) == folder


def test_reports_of_some_arms_leave_the_whole_as_it_is_here_and_in_mlflow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(*arguments: str) -> dict[str, bytes]:
        assert run(STUDY, Planted, ["--debug", "--seeds", "1", "--storage", str(tmp_path), *arguments]) == 0
        folder = tmp_path / "reports" / "planted" / "small"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    whole = report()
    assert {"table.md", "results.csv", "index.html"} <= whole.keys()
    capsys.readouterr()
    assert report("--only", "norm=batch") == whole
    assert "reports/planted/small,norm=batch/index.html" in capsys.readouterr().out
    assert report("--set", "note=7", "--only", "method=NS") == whole
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("planted")
    assert experiment is not None
    parents = client.search_runs([experiment.experiment_id], "tags.`study.role` = 'base'")
    kept = {frozenset(file.path for file in client.list_artifacts(parent.info.run_id)) for parent in parents}
    named = {frozenset(name for name in names if name.startswith("report")) for names in kept}
    assert named == {frozenset({"report", "report,norm=batch"}), frozenset({"report,method=NS"})}
    assert report_name(planned({"note": 7}, USUAL)) == "report"


def test_levels_that_a_preset_has_anyway_are_not_in_the_name_and_fewer_of_them_are(tmp_path: Path) -> None:
    preset = replace(STUDY.presets["small"], only=(("method", "NS"), ("method", "LCS")))
    study = replace(STUDY, presets={"small": preset})
    for only, name in (
        (preset.only, "small"),
        ((("norm", "batch"), *preset.only), "small,norm=batch"),
        ((("method", "NS"),), "small,method=NS"),
        ((("method", "SortedNet"), ("method", "NS")), "small,method=SortedNet,method=NS"),
    ):
        assert report_folder(planned({}, Layout(baseline=BASELINE, only=only), study), tmp_path).name == name
