"""Evaluations before the last that leave something out: a name is of one set of examples, and so is a curve."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from orchestrator.commands.command_line import run
from orchestrator.report.reading import read_results
from orchestrator.run.worker import WorkerContext, train
from orchestrator.study.plan import Plan, make_plan
from orchestrator.testing.trainer_contract import TrainerContract
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import Tracker
from orchestrator.trainer import Place
from tests.orchestrator.perplexity import METRIC, STUDY, Fitted, PerplexityTrainer

HERE = Place(1, gpu=False, data=None)
PART = ("p1", "p4")
HISTORY = [5, 10, 15, 20]


def part(config: Mapping[str, Any]) -> tuple[str, ...]:
    return PART if config["evaluations"] > 1 else ()


class Partial(PerplexityTrainer):
    """Before the end it measures two of its three degrees, and those on other points; at the end both."""

    declaration = replace(
        PerplexityTrainer.declaration,
        metrics=(replace(METRIC, interim="part_ppl"), *PerplexityTrainer.declaration.metrics[1:]),
        interim=part,
    )

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Fitted]:
        for each in super().fit(config, seed, place, resume_from):
            some = {f"part_ppl/{label}": each.metrics[f"ppl/{label}"] + 7 for label in part(config) if each.metrics}
            usual = {name: value for name, value in each.metrics.items() if self.keeps(name, each.final or not some)}
            yield replace(each, metrics=some | usual)

    def keeps(self, name: str, whole: bool) -> bool:
        return whole or not name.startswith("ppl/")


class Mixing(Partial):
    def keeps(self, name: str, whole: bool) -> bool:
        return True


@pytest.fixture
def plan() -> Plan:
    return make_plan(STUDY, Partial(), "short", {}, (0,))


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    return Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")


def history(plan: Plan, folder: Path) -> list[dict[str, Any]]:
    """The points of the plan's first trial, trained here."""
    trial = plan.trials[0]
    reports = train(WorkerContext(Partial(), HERE, folder, None), trial.key, trial.config, 0, trial.labels)
    return [point for report in reports for point in report["points"]]


def steps(client: MlflowClient, run_id: str, name: str) -> list[int]:
    return [metric.step for metric in client.get_metric_history(run_id, name)]


def test_a_trainer_reports_each_name_where_it_is_declared_to_be_measured() -> None:
    suite = TrainerContract()
    config = Partial().resolve({"steps": 6, "evaluations": 3})
    suite.test_metrics_are_those_declared_and_every_one_is_a_number(Partial(), config, HERE)
    whole = Partial().resolve({"steps": 6, "evaluations": 1})
    suite.test_metrics_are_those_declared_and_every_one_is_a_number(Partial(), whole, HERE)
    with pytest.raises(AssertionError, match=r"reported and not declared: \['ppl/p1', 'ppl/p2', 'ppl/p4'\]"):
        suite.test_metrics_are_those_declared_and_every_one_is_a_number(Mixing(), config, HERE)


def test_names_of_the_whole_have_one_point_and_curves_are_of_what_every_evaluation_is_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(STUDY, Partial, ["--debug", "--seeds", "1", "--storage", str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert len([line for line in told if ": 50%, p4 " in line and line.endswith(" nats (interim)")]) == 2
    assert len([line for line in told if ": done in " in line and "nats" in line and "interim" not in line]) == 2
    plan, tracker = make_plan(STUDY, Partial(), "short", {}, (0,)), Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", None)
    experiment = tracker.experiment(STUDY.name, create=False)
    assert experiment is not None
    for trial in tracker.trials(experiment, plan.base_key):
        found = {name: steps(tracker.client, trial.run_id, name) for name in trial.metrics}
        assert {name: at for name, at in found.items() if "ppl" in name} == {
            **{f"ppl/{label}": HISTORY[-1:] for label in ("p1", "p2", "p4")},
            **{f"part_ppl/{label}": HISTORY for label in PART},
        }
        assert found["noise"] == found["rounds/p2"] == HISTORY
    results = read_results(tracker, experiment, plan)
    ends = results.frame.set_index(["arm", "sub_model"])
    assert set(results.frame["sub_model"]) == {"p1", "p2", "p4"}
    assert results.curves["interim"].all()
    for (arm, label), curve in results.curves.groupby(["arm", "sub_model"], observed=True):
        assert curve["step"].to_list() == HISTORY
        assert curve["ppl"].iloc[-1] == ends.loc[(arm, label), "part_ppl"] == ends.loc[(arm, label), "ppl"] + 7
    assert set(results.curves["sub_model"]) == {*PART}


def test_recorded_twice_or_cut_off_midway_a_point_is_there_once(plan: Plan, tracker: Tracker, tmp_path: Path) -> None:
    trial, points = plan.trials[0], history(plan, tmp_path / "checkpoints")
    recorder = Recorder(tracker, plan, {})
    recorder.start(trial, "")
    recorder.record(trial, points[:2])
    write, left = tracker.client.log_batch, [1]

    def breaking(*arguments: Any, **named: Any) -> None:
        if not left:
            raise ConnectionError("cut off")
        left.pop()
        write(*arguments, **named)

    many = {**points[3], "metrics": {**points[3]["metrics"], **{f"more/{n}": float(n) for n in range(1000)}}}
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(tracker.client, "log_batch", breaking)
        with pytest.raises(ConnectionError):
            recorder.record(trial, [many])
    again = Recorder(tracker, plan, {})  # after a crash of the driver
    again.start(trial, "")
    replayed = [{**point, "time": point["time"] + 1} for point in points[:2]]
    again.record(trial, [*replayed, points[2], many])
    (tracked,) = tracker.trials(again.experiment, plan.base_key)
    for name in ("part_ppl/p1", "part_ppl/p4", "noise", "total/rounds"):
        assert steps(tracker.client, tracked.run_id, name) == HISTORY, name
    for name in ("ppl/p1", "ppl/p2", "ppl/p4", "more/999"):
        assert steps(tracker.client, tracked.run_id, name) == HISTORY[-1:], name


def test_the_status_of_a_running_trial_is_of_the_part_and_says_so(
    plan: Plan, tracker: Tracker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial, points = plan.trials[0], history(plan, tmp_path / "checkpoints")
    recorder = Recorder(tracker, plan, {})
    recorder.start(trial, "")

    def told(*options: str) -> str:
        assert run(STUDY, Partial, ["status", *options, "--seeds", "1", "--storage", str(tmp_path)]) == 0
        return capsys.readouterr().out

    for count in (2, 4):
        recorder.record(trial, points[:count])
        name, labels = ("part_ppl", PART) if count < 4 else ("ppl", ("p1", "p2", "p4"))
        values = [points[count - 1]["metrics"][f"{name}/{label}"] for label in labels]
        shown = json.loads(told("--json"))["trials"]
        assert (shown[0]["average"], shown[0]["interim"]) == (pytest.approx(sum(values) / len(values)), count < 4)
        assert (shown[1]["average"], shown[1]["interim"]) == (None, False)
        assert ("(interim)" in told()) == (count < 4)
