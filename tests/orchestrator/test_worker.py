"""One trial where it runs: what it reports is checked before it is kept, and what it does after its end is not waited
for."""

import asyncio
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_metric

from orchestrator.run.checkpoints import CheckpointFolder
from orchestrator.run.legible import legible
from orchestrator.run.points import measured, share_done, whole_step
from orchestrator.run.worker import WorkerContext, train
from orchestrator.trainer import Place
from tests.faults import harness
from tests.faults.chain import LABELS, ODD, STUDY, ChainTrainer, Link

KEY = "0123456789abcdef"
CONFIG = {**STUDY.presets["short"].settings, "pause": 0, "arm": "a"}
REFUSED = sorted(ODD.keys() - {"nan", "infinite", "whole", "numpy"})


@given(name=st.one_of(st.text(max_size=8), st.text(alphabet="a/. :-_\n%é", max_size=8), st.just("n" * 251)))
def test_a_name_that_mlflow_refuses_is_refused_and_hardly_any_other(name: str) -> None:
    try:
        _validate_metric(name, 1.0, 0, 0)
    except MlflowException:
        with pytest.raises(ValueError, match="MLflow refuses"):
            measured({name: 1.0}, 3)
    else:
        if not name.endswith("\n"):  # which MLflow overlooks
            assert measured({name: 1.0}, 3) == {name: 1.0}


@pytest.mark.parametrize(
    "value", [1.5, 3, np.float32(0.5), np.float64(2.5), np.int64(7), Fraction(1, 4), math.inf, -math.inf, math.nan]
)
def test_a_number_is_kept_as_a_plain_one_whatever_its_type(value: Any) -> None:
    kept = measured({"loss": value}, 1)["loss"]
    assert type(kept) in (float, int)
    assert kept == value or (math.isnan(kept) and math.isnan(value))
    assert json.dumps(kept) == json.dumps(int(value) if value in (3, 7) else float(value))


@pytest.mark.parametrize("step", [-1, 1.0, None, "3", True, 2**63])
def test_a_step_is_a_whole_number(step: Any) -> None:
    with pytest.raises(ValueError, match="a snapshot's step is"):
        whole_step(step)
    assert whole_step(np.int64(3)) == 3


@pytest.mark.parametrize("progress", [None, math.nan, "half", True])
def test_a_progress_is_a_number(progress: Any) -> None:
    with pytest.raises(ValueError, match="the progress at step 4 is"):
        share_done(progress, 4)


@given(text=st.text(st.characters(), max_size=40))
def test_a_legible_text_can_be_encoded_and_holds_no_order_to_a_terminal(text: str) -> None:
    shown = legible(text)
    assert shown.encode() == shown.encode("utf-8", "strict")
    assert not {"\0", "\x1b", "\r"} & set(shown)
    assert legible("as usual,\n\tüber alles") == "as usual,\n\tüber alles"


def test_of_a_long_text_the_middle_is_left_out_and_no_word_is_cut() -> None:
    text = " ".join(f"word{number}" for number in range(100_000))
    shown = legible(text, 1000)
    assert len(shown) < 1100
    start, _, rest = shown.partition(" [… ")
    assert text.startswith(f"{start} ")
    assert text.endswith(f" {rest.partition('] ')[2]}")


@pytest.fixture
def context(tmp_path: Path) -> WorkerContext:
    return WorkerContext(ChainTrainer(), Place(threads=1, gpu=False, data=None), tmp_path, None)


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is to go wrong."""
    folder = tmp_path / "faults"
    monkeypatch.setenv("FAULTS", str(folder))
    folder.mkdir()
    return folder


def reports(context: WorkerContext) -> list[dict[str, Any]]:
    return list(train(context, KEY, CONFIG, 0, LABELS))


def left(context: WorkerContext) -> Any:
    """The checkpoint that the trial left."""
    checkpoint = CheckpointFolder(context.folder / KEY).latest()
    assert checkpoint is not None
    return checkpoint


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_recorded_fails_the_trial_by_name_and_gets_into_no_checkpoint(
    what: str, context: WorkerContext, wanted: Path
) -> None:
    (wanted / "a-0-20").write_text(f"measure-{what}")
    last = reports(context)[-1]
    assert last["failure"]["kind"] == "raised"
    assert last["failure"]["error"].startswith("ValueError: ")
    assert "step 20" in last["failure"]["error"]
    assert "\n" not in last["failure"]["error"]
    assert left(context).step == 10
    first, *_, last = reports(context)  # and once that is mended it goes on from there
    assert (first["step"], last["step"], last["final"]) == (10, 40, True)


@pytest.mark.parametrize(("what", "diverged"), [("nan", True), ("infinite", True), ("whole", False), ("numpy", False)])
def test_a_trial_whose_last_accuracy_is_not_finite_has_diverged(
    what: str, diverged: bool, context: WorkerContext, wanted: Path
) -> None:
    for step in (20, 40):
        (wanted / f"a-0-{step}").write_text(f"measure-{what}")
    told = reports(context)
    assert [report["diverged"] for report in told if "diverged" in report] == [False] * 3 + [diverged]
    assert left(context).outcome == ("diverged" if diverged else "finished")
    assert len(left(context).history) == 4
    assert type(left(context).history[1]["metrics"]["test_acc/w100"]) is (int if what == "whole" else float)


def test_a_last_evaluation_that_lacks_a_sub_model_fails_the_trial(context: WorkerContext) -> None:
    last = list(train(context, KEY, CONFIG, 0, (*LABELS, "w200")))[-1]
    assert "its last evaluation lacks test_acc/w200" in last["failure"]["error"]
    assert left(context).step == 30


@pytest.mark.parametrize("what", ["shout", "leave"])
def test_whatever_a_trial_raises_is_told_in_a_text_that_can_be_written(
    what: str, context: WorkerContext, wanted: Path
) -> None:
    (wanted / "a-0-20").write_text(what)
    failure = reports(context)[-1]["failure"]
    for text in (failure["error"], failure["traceback"]):
        assert "on purpose" in text
        assert len(text.encode()) < 200_000
        assert "\0" not in text


def test_an_error_that_cannot_say_itself_is_told_by_its_name(context: WorkerContext) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise self

    class Raising(ChainTrainer):
        def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Link]:
            raise Mute

    mute = WorkerContext(Raising(), context.place, context.folder, None)
    assert reports(mute)[-1]["failure"]["error"] == "Mute: (what it says cannot be had: Mute)"


class _Odd(BaseException):
    """No `Exception`, as some libraries have their own."""


@pytest.mark.parametrize("odd", [asyncio.CancelledError(), BaseExceptionGroup("several", [SystemExit(1)]), _Odd("no")])
def test_what_a_trial_raises_that_is_no_usual_exception_fails_that_trial_alone(
    odd: BaseException, context: WorkerContext
) -> None:
    class Raising(ChainTrainer):
        def fit(self, *_: Any) -> Iterator[Link]:
            raise odd

    *_, last = train(replace(context, trainer=Raising()), KEY, CONFIG, 0)
    assert last["failure"]["kind"] == "raised"
    assert type(odd).__name__ in last["failure"]["error"]


def test_nothing_is_waited_for_after_the_final_snapshot(context: WorkerContext, wanted: Path) -> None:
    (wanted / "a-0-40").write_text("linger")
    assert reports(context)[-1]["final"]


def test_a_trial_that_got_to_its_end_is_not_handed_to_the_trainer_again(context: WorkerContext) -> None:
    reports(context)

    class Untouchable(ChainTrainer):
        def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Link]:
            raise AssertionError("it is finished")

    first, last = reports(WorkerContext(Untouchable(), context.place, context.folder, None))
    assert len(first["points"]) == 4
    assert (last["final"], last["diverged"], last["step"]) == (True, False, 40)


def test_the_seconds_are_those_of_all_attempts(context: WorkerContext, wanted: Path) -> None:
    class Slow(ChainTrainer):
        def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Link]:
            time.sleep(0.3)
            yield from super().fit(config, seed, place, resume_from)

    slow = WorkerContext(Slow(), context.place, context.folder, None)
    spent = []
    for step in (15, 25, 35):
        (wanted / f"a-0-{step}").write_text("raise")
        reports(slow)
        spent.append(left(slow).seconds)
    last = reports(slow)[-1]
    assert [0.3 * attempt <= seconds for attempt, seconds in enumerate((*spent, left(slow).seconds), start=1)] == [
        True
    ] * 4
    assert last["seconds"] < left(slow).seconds - 0.8  # of the last attempt alone, for the pace


def test_odd_accuracies_never_keep_the_others_out_of_the_report(
    calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = {"a-0-40": "measure-nan", "b-0-40": "measure-infinite", "c-0-40": "measure-whole", "c-1-20": "measure-nan"}
    for name, value in harness.faults(tmp_path / "faults", odd).items():
        monkeypatch.setenv(name, value)
    done = harness.run_here(tmp_path / "s", "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert not list((tmp_path / "faults").iterdir())
    frame, left_alone = harness.table(tmp_path / "s"), harness.table(calm)
    diverged = frame[frame["outcome"] == "diverged"]
    assert sorted(set(zip(diverged["arm"], diverged["seed"], strict=True))) == [("a", 0), ("b", 0)]
    assert set(frame[(frame["arm"] == "c") & (frame["seed"] == 0) & (frame["sub_model"] == "w100")]["test_acc"]) == {50}
    others, alike = (each[(each["seed"] == 1)].reset_index(drop=True) for each in (frame, left_alone))
    harness.pd.testing.assert_frame_equal(others, alike, check_exact=True)
