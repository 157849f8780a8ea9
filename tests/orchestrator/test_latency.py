"""Times of sub-models are the machine's own, or said not to be."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.report.reading import read_results
from orchestrator.report.rendering import as_markdown
from orchestrator.report.writer import write_report
from orchestrator.run import idleness
from orchestrator.run.idleness import IDLE, calmest, others_at_work
from orchestrator.study.plan import make_plan
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import LATENCY, Tracker
from studies.image_trainer import ImageTrainer
from tests.orchestrator.test_mlflow_page import STUDY
from tests.orchestrator.test_recording_and_report import finish


def test_work_of_others_is_seen() -> None:
    endless = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        share = others_at_work()
        time.sleep(0.5)
        assert 0 < share() <= 1
    finally:
        endless.kill()
        endless.wait()


@pytest.mark.parametrize(("taken", "own", "share"), [(6.0, 6.0, 0.0), (6.0, 2.0, 0.5), (1.0, 2.0, 0.0)])
def test_ones_own_work_is_not_taken_for_that_of_others(
    taken: float, own: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idleness.os, "cpu_count", lambda: 4)
    for name, then in (("_taken", taken), ("_own", own)):
        monkeypatch.setattr(idleness, name, iter([100.0, 100.0 + then]).__next__)
    monkeypatch.setattr(idleness.time, "monotonic", iter([10.0, 12.0]).__next__)
    assert others_at_work()() == pytest.approx(share)


def test_what_was_measured_on_a_busy_machine_is_measured_once_more_and_the_calmer_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idleness, "_PAUSE", 0.0)

    def watched(*shares: float) -> tuple[str, float]:
        left, times = iter(shares), iter(["first", "second"])
        monkeypatch.setattr(idleness, "others_at_work", lambda: lambda: next(left))
        return calmest(lambda: next(times))

    assert watched(0.05) == ("first", 0.05)
    assert watched(0.5, 0.0) == ("second", 0.0)
    assert watched(0.4, 0.6) == ("first", 0.4)


@pytest.mark.parametrize(
    ("others", "said"),
    [(0.43, "other processes took 43 % of it"), (0.02, ""), (None, "whether the machine was idle was not recorded")],
)
def test_a_report_says_that_the_machine_was_busy_beside_the_times(
    others: float | None, said: str, tmp_path: Path
) -> None:
    plan = make_plan(STUDY, ImageTrainer(), "tiny", {}, (0,))
    tracker = Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    recorder = Recorder(tracker, plan, {})
    for trial in plan.trials:
        finish(recorder, trial, 40.0, tmp_path / "end")
    times = {arm.label: {"w050": 2.0, "w100": 1.0} for arm in plan.arms}
    if others is None:  # as an earlier version wrote it
        kept: dict[str, Any] = {"device": "CPU", "milliseconds": times}
        tracker.attach_text(recorder.parent_id, json.dumps(kept), LATENCY)
    else:
        recorder.note_latency("CPU", times, others)
    (table,) = write_report(plan, read_results(tracker, recorder.experiment, plan), tmp_path / "report").tables
    assert ("ms: " in table.timing) == bool(said)
    assert said in as_markdown(table)
    assert "ms: " not in (tmp_path / "report" / "table.tex").read_text()  # which shows no times
    assert said in (tmp_path / "report" / "index.html").read_text()
    assert IDLE < 0.43
