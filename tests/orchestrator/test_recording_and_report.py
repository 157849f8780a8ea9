"""The recorder on a real MLflow database, and the report that reads it back."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.noop import NoopTrainer
from orchestrator.errors import UserError
from orchestrator.report.latex import as_latex
from orchestrator.report.reading import read_results
from orchestrator.report.rendering import as_markdown
from orchestrator.report.tables import AVERAGE, read_published
from orchestrator.report.writer import write_report
from orchestrator.study.plan import Plan, Trial, make_plan
from orchestrator.study.study import Factor, Preset, Study
from orchestrator.track.earlier import of_an_earlier_version
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import ARM, BASE, SEED, Standing, Tracker
from orchestrator.trainer import SubModelCost
from studies.cifar_norm_ablation import STUDY
from studies.image_trainer import ImageTrainer

PUBLISHED = "method,sub_model,accuracy,source\n" + "".join(
    f"{method},{label},{value},{source}\n"
    for method, value, source in (("NS", 50.0, "printed"), ("SortedNet", 60.0, "derived"))
    for label in ("w050", "w100")
)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "published.csv").write_text(PUBLISHED)
    study = Study(
        name="toy",
        title="A <script>alert(1)</script> study",
        presets={"tiny": Preset({"dataset": "digits", "widths": [0.5, 1.0], "updates": 4}, 2, "")},
        factors=(Factor.of("method", ["NS", "SortedNet"]),),
        baseline={"method": "NS"},
        published=tmp_path / "published.csv",
        published_caption="50 % & 60 %",
    )
    return make_plan(study, ImageTrainer(), "tiny", {}, (0, 1))


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    return Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")


def points(base: float) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "time": 1_700_000_000_000 + step,
            "metrics": {
                "test_acc/w050": base + step,
                "test_acc/w100": base + 10 + step,
                "test_acc_average": base + 5 + step,
                "updates/w050": float(step),
                "updates/w100": float(step),
                **{f"ledger/{unit}": float(step) for unit in ("updates", "passes", "samples", "macs")},
            },
        }
        for step in (2, 4)
    ]


def finish(recorder: Recorder, trial: Trial, base: float, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    recorder.start(trial, "CPU")
    recorder.finish(trial, "finished", 1.0, points(base), folder)


def test_recording_twice_adds_nothing_and_a_gap_is_filled(plan: Plan, tracker: Tracker, tmp_path: Path) -> None:
    trial = plan.trials[0]
    first = Recorder(tracker, plan, {})
    first.start(trial, "CPU")
    first.record(trial, points(10)[:1])
    first.record(trial, points(10)[:1])
    second = Recorder(tracker, plan, {})  # after a crash of the driver
    assert second.parent_id == first.parent_id
    assert second.finished == set()
    replayed = [{**point, "time": 1_800_000_000_000} for point in points(10)]
    second.start(trial, "CPU")
    second.record(trial, replayed[:1])
    (tmp_path / "end").mkdir()
    (tmp_path / "end" / "weights.safetensors").write_bytes(b"weights")
    second.finish(trial, "finished", 2.0, replayed, tmp_path / "end")
    (tracked,) = tracker.trials(second.experiment, plan.base_key)
    for key in ("test_acc/w050", "updates/w100", "total/macs"):
        assert [metric.step for metric in tracker.client.get_metric_history(tracked.run_id, key)] == [2, 4]
    assert tracked.params["budget.amount"] == "4"
    assert tracked.tags["factor.method"] == "NS"
    assert {file.path for file in tracker.client.list_artifacts(tracked.run_id)} == {
        "config.json", "history.json", "model", "sub_models.csv", "weights.safetensors",
    }  # fmt: skip
    assert Recorder(tracker, plan, {}).finished == {trial.key}


def test_a_point_cut_off_midway_is_written_whole_when_it_is_handed_over_again(
    plan: Plan, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, recorder = plan.trials[0], Recorder(tracker, plan, {})
    recorder.start(trial, "CPU")
    point = points(10)[0]
    many = {**point, "metrics": {**{f"test_loss/{n}": float(n) for n in range(1000)}, **point["metrics"]}}
    write, left = tracker.client.log_batch, [1]

    def breaking(*arguments: Any, **named: Any) -> None:
        if not left:
            raise ConnectionError("cut off")
        left.pop()
        write(*arguments, **named)

    with monkeypatch.context() as broken:
        broken.setattr(tracker.client, "log_batch", breaking)
        with pytest.raises(ConnectionError):
            recorder.record(trial, [many])
    second = Recorder(tracker, plan, {})  # after a crash of the driver
    second.start(trial, "CPU")
    second.record(trial, [many])
    (tracked,) = tracker.trials(second.experiment, plan.base_key)
    assert len(tracked.metrics) == len(many["metrics"])
    for key in ("test_loss/3", "test_loss/999", "total/updates"):
        assert [metric.step for metric in tracker.client.get_metric_history(tracked.run_id, key)] == [2]
    assert tracked.params["budget.amount"] == "4"


def test_a_run_whose_creation_got_no_answer_is_found_again(
    plan: Plan, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, recorder = plan.trials[0], Recorder(tracker, plan, {})
    create = tracker.client.create_run

    def unanswered(*arguments: Any, **named: Any) -> None:
        create(*arguments, **named)
        raise ConnectionError("no answer")

    with monkeypatch.context() as broken:
        broken.setattr(tracker.client, "create_run", unanswered)
        with pytest.raises(ConnectionError):
            recorder.start(trial, "CPU")
    recorder.start(trial, "CPU")
    recorder.record(trial, points(10))
    assert len(tracker.trials(recorder.experiment, plan.base_key)) == 1


def test_a_base_config_whose_parameters_were_refused_gets_them_when_it_is_taken_up(
    plan: Plan, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*arguments: Any, **named: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(tracker.client, "log_batch", refusing)
        with pytest.raises(ConnectionError):
            Recorder(tracker, plan, {})
    recorder = Recorder(tracker, plan, {})
    parent = tracker.parent(recorder.experiment, plan.base_key)
    assert parent is not None
    assert parent.info.run_id == recorder.parent_id
    assert parent.data.params["task.dataset"] == "digits"
    with monkeypatch.context() as broken:
        broken.setattr(tracker.client, "log_batch", refusing)
        Recorder(tracker, plan, {})  # nothing is left to be written


def test_what_is_read_from_the_database_is_what_mlflow_finds(plan: Plan, tracker: Tracker, tmp_path: Path) -> None:
    recorder = Recorder(tracker, plan, {"version.torch": "0"})
    for trial, base in zip(plan.trials[:3], (40.0, 50.0, float("nan")), strict=True):
        finish(recorder, trial, base, tmp_path / "end")
    recorder.start(plan.trials[3], "CPU")
    deleted, other, *_ = (trial.run_id for trial in tracker.trials(recorder.experiment, plan.base_key))
    tracker.client.delete_run(deleted)
    tracker.client.set_tag(other, BASE, "another base config's")
    found = tracker.client.search_runs(
        [recorder.experiment], f"tags.`{BASE}` = '{plan.base_key}' AND tags.`study.role` = 'trial'"
    )
    assert len(found) == 2
    trials = {trial.run_id: trial for trial in tracker.trials(recorder.experiment, plan.base_key)}
    assert trials.keys() == {run.info.run_id for run in found}
    for run in found:
        read = trials[run.info.run_id]
        assert (read.status, read.artifacts) == (run.info.status, run.info.artifact_uri)
        assert (read.tags, read.params) == (run.data.tags, run.data.params)
        assert read.metrics == pytest.approx(run.data.metrics, nan_ok=True, abs=0)
    assert tracker.standings(recorder.experiment, plan.base_key) == {
        trial.key: Standing(trial.run_id, trial.status) for trial in trials.values()
    }


@pytest.mark.parametrize("end", ["finished", "failed"])
def test_a_run_deleted_before_its_trial_ends_is_recorded_anew_whole(
    end: str, plan: Plan, tracker: Tracker, tmp_path: Path
) -> None:
    recorder, trial = Recorder(tracker, plan, {}), plan.trials[0]
    recorder.start(trial, "CPU")
    (before,) = tracker.trials(recorder.experiment, plan.base_key)
    tracker.client.delete_run(before.run_id)
    if end == "finished":
        recorder.finish(trial, end, 1.0, points(40.0), tmp_path)
    else:
        recorder.fail(trial, "ZeroDivisionError: on purpose", "its traceback")
    (after,) = tracker.trials(recorder.experiment, plan.base_key)
    assert (after.status, after.tags["outcome"]) == (end.upper(), end)
    name, text = ("sub_models.csv", "w050") if end == "finished" else ("traceback.txt", "its traceback")
    assert text in (tracker.read_text(after.artifacts, name) or "")


def test_the_report_gives_mean_sd_and_n_and_the_published_beside(plan: Plan, tracker: Tracker, tmp_path: Path) -> None:
    recorder = Recorder(tracker, plan, {"git.commit": "abc"})
    for trial, base in zip(plan.trials, (40.0, 50.0, 42.0, 55.0), strict=True):
        finish(recorder, trial, base, tmp_path / "end")
    results = read_results(tracker, recorder.experiment, plan)
    (table,) = write_report(plan, results, tmp_path / "report").tables
    assert table.arms == ("NS", "SortedNet")
    assert table.rows == ("w100", "w050", AVERAGE)
    ns, ours = table.cells["w100", "NS"], table.cells["w100", "SortedNet"]
    assert (ns.text, ns.n, ns.best) == ("55.00 ± 1.41", 2, True)  # 10 and 13 apart: t = 7.7, p = .08
    against = table.comparisons["w100", "SortedNet"]
    assert against.statistics.mean == pytest.approx(11.5)
    assert against.text == "+11.50 [−7.56 to +30.56], p .083 → .248, d 5.42, ≈ 4 seeds"
    assert ("w100", "NS") not in table.comparisons
    assert table.sorted["NS"] == "100 % (0.00)"
    assert (ours.text, ours.best, ours.published_text) == ("66.50 ± 3.54", True, "60.00† (+6.50)")
    assert table.cells[AVERAGE, "NS"].mean == pytest.approx(50.0)
    assert "**66.50 ± 3.54**" in as_markdown(table)
    assert "Mean ± SD over n = 2" in table.caption
    latex = as_latex([table], parts=["published"])
    assert latex.count(r"\\") == 3 + 2 + 1  # rows, the published ones, head
    assert r"50 \% \& 60 \%" in latex
    page = (tmp_path / "report" / "index.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert 'src="http' not in page
    rows = (tmp_path / "report" / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 * 2


def test_an_interrupted_study_is_killed_and_running_again_once_taken_up(plan: Plan, tracker: Tracker) -> None:
    recorder = Recorder(tracker, plan, {})
    recorder.start(plan.trials[0], "CPU")
    recorder.interrupt(plan.trials[:1])
    assert tracker.client.get_run(recorder.parent_id).info.status == "KILLED"
    assert [trial.status for trial in tracker.trials(recorder.experiment, plan.base_key)] == ["KILLED"]
    again = Recorder(tracker, plan, {})
    again.start(plan.trials[0], "CPU")
    assert tracker.client.get_run(recorder.parent_id).info.status == "RUNNING"
    assert [trial.status for trial in tracker.trials(recorder.experiment, plan.base_key)] == ["RUNNING"]


def test_one_seed_has_no_spread_and_says_so(plan: Plan, tracker: Tracker, tmp_path: Path) -> None:
    recorder = Recorder(tracker, plan, {})
    finish(recorder, plan.trials[0], 40.0, tmp_path / "end")
    finish(recorder, plan.trials[1], 41.0, tmp_path / "end")
    (table,) = write_report(plan, read_results(tracker, recorder.experiment, plan), tmp_path / "report").tables
    assert table.cells["w100", "NS"].text == "54.00"
    assert "no spread is known" in table.caption
    assert [arm for arm in table.arms if table.cells["w100", arm].best] == ["SortedNet"]
    assert table.comparisons["w100", "SortedNet"].text == "+1.00"
    assert "one seed" in table.comparison_caption


def test_nothing_finished_and_unequal_budgets_are_refused(plan: Plan, tracker: Tracker, tmp_path: Path) -> None:
    recorder = Recorder(tracker, plan, {})
    with pytest.raises(UserError, match="nothing has finished"):
        read_results(tracker, recorder.experiment, plan)
    for trial in plan.trials[:2]:
        finish(recorder, trial, 40.0, tmp_path / "end")
    third = plan.trials[2]
    other = replace(third, seed=7, budget=replace(third.budget, amount=99), key="k" * 64)
    finish(recorder, other, 40.0, tmp_path / "end")
    with pytest.raises(UserError, match=r"unequal budgets.*99 updates: NS · seed 7"):
        read_results(tracker, recorder.experiment, plan)


def test_a_seed_that_an_arm_lacks_is_left_out_by_name_and_no_common_seed_is_refused(
    plan: Plan, tracker: Tracker, tmp_path: Path
) -> None:
    recorder = Recorder(tracker, plan, {})
    ns_0, _, ns_1, sorted_1 = plan.trials
    finish(recorder, ns_0, 40.0, tmp_path / "end")
    finish(recorder, sorted_1, 60.0, tmp_path / "end")
    with pytest.raises(UserError, match=r"no seed is common.*NS: 0; SortedNet: 1"):
        read_results(tracker, recorder.experiment, plan)
    finish(recorder, ns_1, 50.0, tmp_path / "end")
    results = read_results(tracker, recorder.experiment, plan)
    assert results.unpaired == ("NS · seed 0",)
    (table,) = write_report(plan, results, tmp_path / "report").tables
    assert table.seeds == 1
    assert table.cells["w100", "NS"].mean == 64.0
    assert "NS · seed 0" in (tmp_path / "report" / "table.md").read_text()


def test_facets_are_tables_of_their_own_and_budgets_are_compared_in_none(tmp_path: Path, tracker: Tracker) -> None:
    study = Study(
        name="budgets",
        title="Budgets",
        presets={"tiny": Preset({"dataset": "digits", "widths": [0.5, 1.0], "updates": 4}, 1, "")},
        factors=(
            Factor.of("method", ["NS", "SortedNet"]),
            Factor("budget", {"1×": {"budget_scale": 1.0}, "2×": {"budget_scale": 2.0}}),
        ),
        baseline={"method": "NS"},
        facets=("budget",),
        curve="budget",
    )
    plan = make_plan(study, ImageTrainer(), "tiny", {}, (0,))
    recorder = Recorder(tracker, plan, {})
    for trial, base in zip(plan.trials, (40.0, 50.0, 41.0, 45.0), strict=True):  # NS 1×, NS 2×, SortedNet 1×, 2×
        finish(recorder, trial, base, tmp_path / "end")
    results = read_results(tracker, recorder.experiment, plan)
    one, two = write_report(plan, results, tmp_path / "report").tables
    assert (one.title, two.title) == ("budget 1×", "budget 2×")
    assert one.arms == two.arms == ("NS", "SortedNet")
    assert "gets 4 optimizer steps" in one.caption
    assert "gets 8 optimizer steps" in two.caption
    assert two.comparisons[AVERAGE, "SortedNet"].statistics.mean == -5.0
    page = (tmp_path / "report" / "index.html").read_text()
    assert "NS overtakes SortedNet between 1× and 2× (1.00 points behind, then 5.00 ahead)" in page


def test_a_failed_trial_is_reported_with_its_own_traceback(plan: Plan, tracker: Tracker, tmp_path: Path) -> None:
    recorder = Recorder(tracker, plan, {})
    finish(recorder, plan.trials[0], 40.0, tmp_path / "end")
    recorder.start(plan.trials[1], "CPU")
    recorder.fail(plan.trials[1], "ValueError: odd", "Traceback: line 3")
    results = read_results(tracker, recorder.experiment, plan)
    (failure,) = results.failures
    write_report(plan, results, tmp_path / "report")
    assert "1 failed: SortedNet · seed 0" in (tmp_path / "report" / "table.md").read_text()
    assert (failure.trial, failure.error, failure.traceback) == (
        "SortedNet · seed 0", "ValueError: odd", "Traceback: line 3",
    )  # fmt: skip


def test_table_1_stands_as_printed_with_its_one_derived_cell_marked() -> None:
    assert STUDY.published is not None
    published = read_published(STUDY.published, ("method", "norm"))
    assert len(published) == 6 * (4 + 1)
    assert published["NS · batch", AVERAGE] == (59.70, False)  # as printed; the mean of its cells is 59.71
    assert [cell for cell, (_, derived) in published.items() if derived] == [("SortedNet · instance", "w025")]
    for arm in {arm for arm, _ in published}:
        cells = [published[arm, label][0] for label in ("w025", "w050", "w075", "w100")]
        assert sum(cells) / 4 == pytest.approx(published[arm, AVERAGE][0], abs=0.011)


def twice(tracker: Tracker, plan: Plan) -> tuple[Recorder, Recorder]:
    """Two drivers that began at once, on two storages: neither saw a run of the other's."""
    first = Recorder(tracker, plan, {})
    return first, Recorder(tracker, plan, {})


def test_a_trial_that_two_storages_trained_counts_once_and_as_finished(
    plan: Plan, tracker: Tracker, tmp_path: Path
) -> None:
    first, second = twice(tracker, plan)
    ns_0, sorted_0, *_ = plan.trials
    for trial in (ns_0, sorted_0):
        first.start(trial, "CPU")
    for trial, base in ((ns_0, 40.0), (sorted_0, 50.0)):
        finish(second, trial, base, tmp_path / "end")
    first.finish(ns_0, "finished", 1.0, points(41.0), tmp_path / "end")
    first.interrupt([sorted_0])
    assert len(tracker.client.search_runs([first.experiment], "tags.`study.role` = 'trial'")) == 4
    standings = tracker.standings(first.experiment, plan.base_key)
    assert {key: standing.status for key, standing in standings.items()} == {
        ns_0.key: "FINISHED",
        sorted_0.key: "FINISHED",
    }
    trials = {trial.key: trial for trial in tracker.trials(first.experiment, plan.base_key)}
    assert {key: trial.run_id for key, trial in trials.items()} == {
        key: standing.run_id for key, standing in standings.items()
    }
    results = read_results(tracker, first.experiment, plan)
    assert len(results.frame) == 2 * 2
    measured = results.frame[results.frame["sub_model"] == "w050"].set_index("arm")["test_acc"]
    assert dict(measured) == {"NS": 45.0, "SortedNet": 54.0}  # the older of two, and the one that is finished
    (table,) = write_report(plan, results, tmp_path / "report").tables
    assert table.cells["w100", "NS"].n == 1


def test_an_arm_of_the_same_name_in_another_study_of_the_same_name_is_no_part_of_it(
    plan: Plan, tracker: Tracker, tmp_path: Path
) -> None:
    other = replace(
        plan.study, factors=(Factor("method", {"NS": {"method": "US"}, "SortedNet": {"method": "SortedNet"}}),)
    )
    theirs = make_plan(other, ImageTrainer(), "tiny", {}, (0, 1, 2))
    assert theirs.base_key == plan.base_key
    recorder = Recorder(tracker, theirs, {})
    for trial in theirs.trials:
        finish(recorder, trial, 90.0, tmp_path / "end")
    recorder = Recorder(tracker, plan, {})
    for trial in plan.trials:
        if trial.arm.label == "NS":
            finish(recorder, trial, 40.0, tmp_path / "end")
    ours = read_results(tracker, recorder.experiment, plan).frame
    assert set(ours[ours["arm"] == "NS"]["test_acc"]) == {44.0, 54.0}
    assert set(ours[ours["arm"] == "SortedNet"]["seed"]) == {0, 1}  # the same trials; that of seed 2 has no partner
    with_a_third = make_plan(plan.study, ImageTrainer(), "tiny", {}, (0, 1, 2)).trials[4]
    assert with_a_third.arm.label == "NS"
    finish(recorder, with_a_third, 40.0, tmp_path / "end")
    results = read_results(tracker, recorder.experiment, plan)
    assert sorted(results.frame["seed"].unique()) == [0, 1, 2]
    assert 90.0 + 4 not in set(results.frame[results.frame["arm"] == "NS"]["test_acc"])


LONG = "ü" * 300


class LongNames(NoopTrainer):
    """Sub-models, settings and data with names that some store has no room for."""

    def costs(self, config: Any) -> list[SubModelCost]:
        return [SubModelCost(f"w{width}@{LONG}", {"width": width}, width, width) for width in (50, 100)]

    def resolve(self, settings: Any) -> dict[str, Any]:
        return {**settings, "notes": {f"{n:03d}={LONG}": LONG * 30 for n in range(150)}}

    def data_checksum(self, config: Any, data: Path | None) -> str:
        return "0123456789abcdef" * 600


def recorded_at_any_length(tracker: Tracker, folder: Path, name: str) -> None:
    """Has a store take a study whose every text is too long for it, then reads it back."""
    levels = [f"{'ü' * 80} {method}" for method in ("NS", "SortedNet")]
    long = tuple(Factor(f"long_{each}", {"ü" * 100: {f"long_{each}": LONG}}) for each in range(3))
    study = Study(
        name=name,
        title="Long names",
        presets={"tiny": Preset({"seconds": 0, "long": LONG * 30, "budget": {"unit": "updates", "amount": 1}}, 2, "")},
        factors=(Factor("method", {level: {"method": level[-10:]} for level in levels}), *long),
        baseline={"method": levels[0]},
    )
    plan = make_plan(study, LongNames(), "tiny", {}, (0,))
    origin = {f"version.{LONG}": LONG * 30, "command": LONG * 30}
    recorder = Recorder(tracker, plan, origin)
    assert recorder.parent_id == Recorder(tracker, plan, origin).parent_id
    for trial, base in zip(plan.trials, (40.0, 50.0), strict=True):
        labels = [cost.label for cost in trial.sub_models]
        measured = {f"{metric}/{label}": base for metric in ("test_acc", "updates") for label in labels}
        measured |= {f"ledger/{unit}": 1.0 for unit in ("updates", "passes", "samples", "macs", "forwards")}
        recorder.start(trial, LONG * 30)
        recorder.finish(trial, "finished", 1.0, [{"step": 4, "time": 1, "metrics": measured}], folder)
    results = read_results(tracker, recorder.experiment, plan)
    assert [results.frame[results.frame["arm"] == level]["test_acc"].mean() for level in levels] == [40.0, 50.0]
    assert results.frame["total_updates"].tolist() == [1.0] * 4
    recorder.fail(replace(plan.trials[0], key="k" * 64, seed=7), f"ValueError: {LONG * 30}\0\udcff", "at \udcff\0")
    for run in tracker.client.search_runs([recorder.experiment]):
        assert len(run.info.run_name) <= 250
        assert all(len(key) <= 250 and len(text) <= 5000 for key, text in run.data.tags.items())
        assert all(len(key) <= 250 and len(text) <= 6000 for key, text in run.data.params.items())


def test_names_and_texts_of_any_length_and_character_are_recorded_and_told_apart(
    tracker: Tracker, tmp_path: Path
) -> None:
    recorded_at_any_length(tracker, tmp_path, "long")


def test_what_is_no_number_in_one_trial_keeps_nobody_from_reading_the_others(
    plan: Plan, tracker: Tracker, tmp_path: Path
) -> None:
    recorder = Recorder(tracker, plan, {})
    for trial, base in zip(plan.trials, (40.0, float("inf"), 42.0, float("nan")), strict=True):
        finish(recorder, trial, base, tmp_path / "end")
    whole = tracker.trials(recorder.experiment, plan.base_key)[0]
    history = tracker.folder(whole.artifacts) or tmp_path
    kept = json.loads((history / "history.json").read_text())
    kept["points"][0]["metrics"]["test_acc/w050"] = 42
    (history / "history.json").write_text(json.dumps(kept))
    results = read_results(tracker, recorder.experiment, plan)
    (table,) = write_report(plan, results, tmp_path / "report").tables
    assert table.cells["w100", "NS"].text == "55.00 ± 1.41"
    assert math.isnan(table.cells["w100", "SortedNet"].mean)
    assert not table.cells["w100", "SortedNet"].best
    assert not any(each["test_acc"].isin([math.inf]).any() for each in (results.frame, results.curves))


EDITED: dict[str, tuple[str, str | None, str | None]] = {
    "an arm renamed": (ARM, "NS, the good one", None),
    "a seed that is none": (SEED, "zero", None),
    "no arm": (ARM, None, None),
    "no seed": (SEED, None, None),
    "no role": ("study.role", None, None),
    "no parent": ("mlflow.parentRunId", None, None),
    "a budget that is none": ("budget", "many", "the tag 'budget' of the run .* is 'many', which is not"),
    "a duration that is none": ("seconds", "long", "the tag 'seconds' of the run .* is 'long', which is not"),
    "no duration": ("seconds", None, r"the tag 'seconds' of the run .* \(NS · seed 0\) is missing: set it back"),
    "epochs that are none": ("updates_per_epoch", "x", "the tag 'updates_per_epoch' of the run .* is 'x'"),
}


@pytest.mark.parametrize("case", EDITED)
def test_an_edited_tag_changes_nothing_or_its_run_is_named(
    case: str, plan: Plan, tracker: Tracker, tmp_path: Path
) -> None:
    recorder = Recorder(tracker, plan, {})
    for trial in plan.trials[:2]:
        finish(recorder, trial, 40.0, tmp_path / "end")
    run = tracker.standings(recorder.experiment, plan.base_key)[plan.trials[0].key].run_id
    name, value, refusal = EDITED[case]
    if value is None:
        tracker.client.delete_tag(run, name)
    else:
        tracker.client.set_tag(run, name, value)
    if refusal is None:
        results = read_results(tracker, recorder.experiment, plan)
        assert set(results.frame["arm"]) == {"NS", "SortedNet"}
        return
    with pytest.raises(UserError, match=refusal) as refused:
        read_results(tracker, recorder.experiment, plan)
    assert "\n" not in str(refused.value)
    assert "delete" not in str(refused.value)


def test_runs_of_somebody_else_in_the_experiment_are_left_out_of_account(
    plan: Plan, tracker: Tracker, tmp_path: Path
) -> None:
    recorder = Recorder(tracker, plan, {})
    for trial in plan.trials[:2]:
        finish(recorder, trial, 40.0, tmp_path / "end")
    trial = tracker.standings(recorder.experiment, plan.base_key)[plan.trials[0].key].run_id
    base = {BASE: plan.base_key, "study.preset": "tiny"}
    for tags in (
        {},
        {"mlflow.parentRunId": trial},
        base,
        {**base, "study.role": "trial"},
        {**base, "study.role": "base"},
        {"study.preset": "tiny", "study.role": "base"},
        {**base, "trial.key": "0", "study.role": "trial"},
        {**base, "trial.key": "1", "arm": "NS", "seed": "0", "study.role": "trial"},
    ):
        run = tracker.client.create_run(recorder.experiment, tags=tags)
        tracker.client.set_terminated(run.info.run_id, "FINISHED")
    results = read_results(tracker, recorder.experiment, plan)
    assert len(results.frame) == 2 * 2
    assert Recorder(tracker, plan, {}).parent_id == recorder.parent_id
    assert of_an_earlier_version(tracker, plan, ImageTrainer().full_names) == ""


@pytest.mark.parametrize("name", ["sub_models.csv", "weights.safetensors"])
def test_an_artifact_that_is_missing_is_named_with_its_place_and_nothing_is_to_be_deleted(
    name: str, plan: Plan, tracker: Tracker, tmp_path: Path
) -> None:
    recorder = Recorder(tracker, plan, {})
    for trial in plan.trials[:2]:
        finish(recorder, trial, 40.0, tmp_path / "end")
    trials = tracker.trials(recorder.experiment, plan.base_key)
    folder = tracker.folder(trials[0].artifacts)
    assert folder is not None
    (folder / name).unlink()
    if name == "weights.safetensors":
        assert tracker.fetch(trials[0].artifacts, name, str(tmp_path)) is None
        assert read_results(tracker, recorder.experiment, plan).arms == ("NS", "SortedNet")
        return
    with pytest.raises(UserError, match=f"{name} of NS · seed 0 is not there, in {folder}: put that folder"):
        read_results(tracker, recorder.experiment, plan)
