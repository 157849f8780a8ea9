"""What MLflow shows of a study: names, the view that its page opens with, parameters, data, the run of all trials."""

import base64
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.report.reading import read_results
from orchestrator.report.writer import write_report
from orchestrator.study.plan import Plan, make_plan
from orchestrator.study.study import Factor, Preset, Study
from orchestrator.track import view
from orchestrator.track.limits import VALUE_LIMIT
from orchestrator.track.metric_names import MetricNames, total_of
from orchestrator.track.recorder import Recorder
from orchestrator.track.summary import described_by
from orchestrator.track.tracker import Tracker
from studies.image_trainer import ImageTrainer
from tests.orchestrator.perplexity import STUDY as POLYNOMIALS
from tests.orchestrator.perplexity import PerplexityTrainer
from tests.orchestrator.test_recording_and_report import finish

STUDY = Study(
    name="toy",
    title="A study",
    presets={"tiny": Preset({"dataset": "digits", "widths": [0.5, 1.0], "updates": 4}, 2, "")},
    factors=(Factor.of("method", ["NS", "SortedNet"]), Factor.of("norm", ["instance"])),
    baseline={"method": "NS"},
)
SERVED = {"config.json", "weights.safetensors", "MLmodel", "requirements.txt", "python_env.yaml"}


@pytest.fixture
def plan() -> Plan:
    return make_plan(STUDY, ImageTrainer(), "tiny", {}, (0, 1))


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    return Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")


def state_of(tag: str) -> dict[str, Any]:
    """The page's state, as MLflow's page unpacks it."""
    packed = json.loads(tag)["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def charts(state: dict[str, Any], shown: bool = True) -> dict[str, list[str]]:
    """The metrics that have a chart, or shall have none, by the title of their section."""
    titles = {section["uuid"]: section["name"] for section in state["compareRunSections"]}
    found: dict[str, list[str]] = {title: [] for title in titles.values()}
    for chart in state["compareRunCharts"]:
        if chart["deleted"] != shown:
            found[titles[chart["metricSectionId"]]].append(chart["metricKey"])
    return found


def test_averages_stand_beside_their_parts_and_totals_after_what_was_tested(
    plan: Plan, tracker: Tracker, tmp_path: Path
) -> None:
    recorder = Recorder(tracker, plan, {})
    finish(recorder, plan.trials[0], 40.0, tmp_path / "end")
    (trial,) = tracker.trials(recorder.experiment, plan.base_key)
    sections = sorted({name.rpartition("/")[0] for name in trial.metrics})
    assert sections == ["test_acc", "total", "updates"]
    assert min(name for name in trial.metrics) == "test_acc/average"
    assert trial.metrics["total/updates"] == 4.0
    history = json.loads(tracker.read_text(trial.artifacts, "history.json") or "")
    assert history["points"][-1]["metrics"]["ledger/updates"] == 4.0  # the trainer's own name


def test_a_total_that_no_report_shows_is_kept_from_where_it_counts_anything_and_read_as_zero_before(
    plan: Plan,
) -> None:
    names = MetricNames(plan.declaration)
    assert not names.is_worth_keeping("ledger/forwards", 0.0)
    assert names.is_worth_keeping("ledger/forwards", 1.0)
    assert names.is_worth_keeping("ledger/passes", 0.0)
    assert total_of({"total/passes": 3.0}, "forwards") == 0.0
    assert total_of({"ledger/passes": 3.0}, "passes") == 3.0  # of a store of before
    assert total_of({"ledger/passes": 3.0}, "forwards") is None


def test_only_what_is_declared_as_an_average_is_taken_for_one() -> None:
    names = MetricNames(replace(ImageTrainer.declaration, metrics=ImageTrainer.declaration.metrics[:2]))
    assert names.kept("test_acc_average") == "test_acc_average"
    assert names.kept("ledger/macs") == "total/macs"


def test_the_page_opens_with_accuracies_first_over_what_every_arm_gets_alike(plan: Plan, tracker: Tracker) -> None:
    recorder = Recorder(tracker, plan, {})
    tags = tracker.client.get_experiment(recorder.experiment).tags
    page = view.page_of(plan, tracker, recorder.experiment)
    name = page.partition("viewStateShareKey=")[2]
    assert page.startswith(f"#/experiments/{recorder.experiment}/runs?workflowType=machine_learning&")
    state = state_of(tags[f"{view.TAG}{name}"])
    assert state["selectedColumns"][:3] == [
        "metrics.`test_acc/average`", "metrics.`test_acc/w050`", "metrics.`test_acc/w100`",
    ]  # fmt: skip
    assert {"params.`factor.method`", "params.`seed`", "attributes.`Dataset`"} <= set(state["selectedColumns"])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`test_acc/average`", False)
    assert plan.base_key in state["searchFilter"]
    assert state["globalLineChartConfig"]["selectedXAxisMetricKey"] == "total/updates"
    shown, hidden = charts(state), charts(state, shown=False)
    assert list(shown) == ["Test accuracy (%)", "Test loss", "Training", "Ledger", "test_acc/average"]
    assert shown["Test accuracy (%)"] == ["test_acc/average", "test_acc/w050", "test_acc/w100"]
    assert shown["Ledger"] == ["total/passes", "total/macs", "updates/w050", "updates/w100"]
    assert hidden["Ledger"] == ["total/updates", "total/samples", "total/forwards"]
    assert [section["display"] for section in state["compareRunSections"]] == [True, False, False, False, False]


def test_curves_come_first_where_evaluations_before_the_last_leave_something_out(plan: Plan) -> None:
    some = {"evaluations": 2, "interim_examples": 60, "interim_sub_models": 1}
    partly = make_plan(STUDY, ImageTrainer(), "tiny", some, (0, 1))
    state, usual = (state_of(next(iter(view.views_of(each).values()))) for each in (partly, plan))
    of_part = {
        "Test accuracy (%) during training": ["interim_acc/average", "interim_acc/w100"],
        "Test loss during training": ["interim_loss/w100"],
    }
    shown = charts(state)
    curves, losses = of_part
    assert list(shown)[:4] == [curves, "Test accuracy (%)", losses, "Test loss"]
    assert {title: names for title, names in shown.items() if title not in of_part} == charts(usual)
    assert {title: shown[title] for title in of_part} == of_part
    assert [section["display"] for section in state["compareRunSections"]][:4] == [True, True, False, False]
    assert {*state["selectedColumns"]} - {*usual["selectedColumns"]} == {"metrics.`interim_acc/average`"}
    bars = {chart["metricKey"] for chart in state["compareRunCharts"] if chart["type"] == "BAR"}
    assert bars == {*shown["Test accuracy (%)"], *shown["Test loss"]}  # of which every trial has one
    assert {chart["type"] for chart in usual["compareRunCharts"]} == {"LINE"}


def test_the_view_is_written_once_and_another_base_config_has_its_own(plan: Plan, tracker: Tracker) -> None:
    recorder = Recorder(tracker, plan, {})
    written: list[str] = []
    set_tag = tracker.client.set_experiment_tag
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker.client, "set_experiment_tag", lambda *given: (written.append(given[1]), set_tag(*given)))
        Recorder(tracker, plan, {})
        assert written == []
        other = make_plan(STUDY, ImageTrainer(), "tiny", {"updates": 5}, (0,))
        Recorder(tracker, other, {})
    name = f"{view.TAG}{view.name_of('tiny', other.base_key)}"
    assert written == [name, f"{name}-arms"]
    assert view.page_of(plan, tracker, recorder.experiment) != view.page_of(other, tracker, recorder.experiment)


def test_another_view_has_the_arms_as_means_over_the_seeds_that_did_not_diverge(plan: Plan) -> None:
    trials, arms = map(state_of, view.views_of(plan).values())
    assert arms["groupBy"] == {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "arm"}]}
    assert arms["searchFilter"] == f"{trials['searchFilter']} AND tags.`outcome` = 'finished'"


def test_what_is_better_lower_comes_lowest_first_and_trials_of_several_tables_by_their_names() -> None:
    plan = make_plan(POLYNOMIALS, PerplexityTrainer(), "short", {}, (0,))
    split = replace(plan, study=replace(plan.study, facets=("rate",)))
    lowest, by_name = (state_of(next(iter(view.views_of(each).values()))) for each in (plan, split))
    assert (lowest["orderByKey"], lowest["orderByAsc"]) == ("metrics.`ppl/p1`", True)
    assert by_name["orderByKey"] == "tags.`mlflow.runName`"


def test_a_store_of_before_is_opened_without_a_view(plan: Plan, tracker: Tracker) -> None:
    recorder = Recorder(tracker, plan, {})
    known = view.TAG + view.name_of(plan.preset, plan.base_key)
    tracker.client.delete_experiment_tag(recorder.experiment, known)
    page = view.page_of(plan, tracker, recorder.experiment)
    assert page == f"#/experiments/{recorder.experiment}/runs?workflowType=machine_learning"


def test_a_large_lattice_has_a_view_that_a_store_takes(tmp_path: Path) -> None:
    wide = {"widths": [number / 40 for number in range(1, 41)]}
    plan = make_plan(STUDY, ImageTrainer(), "tiny", wide, (0,))
    trials, arms = view.views_of(plan).values()
    assert max(len(trials), len(arms)) <= VALUE_LIMIT
    shown = charts(state_of(trials))["Test accuracy (%)"]
    assert len(shown) == 1 + 12
    assert (shown[1], shown[-1]) == ("test_acc/w002.5", "test_acc/w100")


def test_a_trainer_without_an_average_and_with_units_of_its_own_has_a_view_too() -> None:
    plan = make_plan(POLYNOMIALS, PerplexityTrainer(), "short", {}, (0,))
    state = state_of(next(iter(view.views_of(plan).values())))
    assert state["selectedColumns"][0] == "metrics.`ppl/p1`"
    assert state["globalLineChartConfig"]["selectedXAxisMetricKey"] == "total/rounds"
    assert charts(state)["Training"] == ["noise"]


def test_a_trial_says_what_it_is_trained_on_its_levels_and_where_it_comes_from(plan: Plan, tracker: Tracker) -> None:
    recorder, trial = Recorder(tracker, plan, {"mlflow.source.name": "toy.py"}), plan.trials[0]
    for _ in range(2):  # a driver that went on
        recorder.start(trial, "CPU")
    recorder.record(trial, [])
    (tracked,) = tracker.trials(recorder.experiment, plan.base_key)
    run = tracker.client.get_run(tracked.run_id)
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.tags[0].value) == ("digits", "training")
    assert trial.data_checksum.startswith(given.dataset.digest.partition("~")[0])
    assert json.loads(given.dataset.source) == {"checksum": trial.data_checksum}
    (of_all,) = tracker.client.get_run(recorder.parent_id).inputs.dataset_inputs
    assert of_all.dataset.digest == given.dataset.digest
    assert (run.data.params["factor.method"], run.data.params["seed"]) == ("NS", "0")
    assert run.data.tags["mlflow.source.name"] == "toy.py"


def test_the_run_of_all_trials_has_the_report_its_beginning_and_the_average_of_every_arm(
    plan: Plan, tracker: Tracker, tmp_path: Path
) -> None:
    recorder = Recorder(tracker, plan, {})
    for trial, base in zip(plan.trials, (40.0, 50.0, 42.0, 55.0), strict=True):
        finish(recorder, trial, base, tmp_path / "end")
    results = read_results(tracker, recorder.experiment, plan)
    write_report(plan, results, tmp_path / "report")
    for _ in range(2):
        recorder.attach_report(tmp_path / "report", plan.trials)
    parent = tracker.client.get_run(recorder.parent_id)
    assert parent.data.tags["mlflow.note.content"] == (tmp_path / "report" / "table.md").read_text()
    assert parent.data.metrics == {
        "test_acc/average/NS - instance": pytest.approx(50.0),
        "test_acc/average/SortedNet - instance": pytest.approx(61.5),
    }
    history = tracker.client.get_metric_history(recorder.parent_id, "test_acc/average/NS - instance")
    assert [metric.step for metric in history] == [2]  # seeds


def test_a_report_too_long_for_a_description_ends_with_a_whole_line_that_says_where_the_rest_is(
    tmp_path: Path,
) -> None:
    assert described_by(tmp_path, "report") == ""
    (tmp_path / "table.md").write_text("| a row of a table |\n" * 1000)
    text = described_by(tmp_path, "report")
    assert len(text) <= VALUE_LIMIT
    *rows, _, last = text.split("\n")
    assert set(rows) == {"| a row of a table |"}
    assert "report/" in last
