"""The study as a user runs it: a real MLflow database; real Ray and processes where a test is about them."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.commands.command_line import run
from studies.cifar_norm_ablation import STUDY
from studies.image_trainer import ImageTrainer
from tests.faults import harness
from tests.studies.failing_study import Faulty

SCRIPT = Path(__file__).parents[2] / "studies" / "cifar_norm_ablation.py"
SMALL = [
    "--preset",
    "smoke",
    "--seeds",
    "1",
    "--only",
    "norm=instance",
    "--set",
    "evaluations=4",
    "--set",
    "updates=40",
    "--equalize",
    "updates",
]
REPORT = "smoke,norm=instance,budget.equalize=updates,budget.updates=40,evaluations=4"


def start(storage: Path, *arguments: str, command: str = "run") -> "subprocess.Popen[str]":
    line = [sys.executable, str(SCRIPT), command, *SMALL, "--storage", str(storage), *arguments]
    return subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=harness.heed_terminal,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    done = harness.ended(process)
    return done.status, done.out, done.err


def results(storage: Path) -> pd.DataFrame:
    frame = pd.read_csv(storage / "reports" / "cifar_norm_ablation" / REPORT / "results.csv")
    return frame.drop(columns="seconds").sort_values(["arm", "seed", "sub_model"], ignore_index=True)


BAD = {
    "option": (["--sed", "3"], "--seeds"),
    "command": (["rnu"], "'run'"),
    "preset": (["--preset", "quikc"], "'quick'"),
    "factor": (["--only", "metod=NS"], "'method'"),
    "level": (["--only", "method=SortdNet"], "'SortedNet'"),
    "empty level": (["--only", "method"], "FACTOR=LEVEL"),
    "setting": (["--set", "lerning_rate=1"], "'learning_rate'"),
    "dataset": (["--dataset", "cifar01"], "'cifar10'"),
    "range": (["--set", "momentum=2"], "from 0 to 1"),
    "type": (["--set", "batch_size=many"], "whole number"),
    "budget": (["--set", "updates=0"], "from 1"),
    "unit": (["--equalize", "pases"], "'passes'"),
    "widths": (["--set", "widths=[0.5]"], "full width"),
    "seed twice": (["--seeds", "0,1,0"], "seed 0 is given twice"),
    "seeds": (["--seeds", "x"], "--seeds x"),
    "factor set": (["--set", "norm=batch"], "--only"),
    "cpus": (["--cpus-per-trial", "0"], "cpus-per-trial"),
    "weights": (["--set", "sampler=categorical(.5,.4,.05,.02)"], "sum to 0.97"),
    "weights short": (["--set", "sampler=categorical(.5,.5)"], "2 probabilities for 4 targets"),
    "weights negative": (["--set", "sampler=categorical(.5,.7,-.2,0)"], "negative"),
    "support": (["--set", "sampler=categorical(w025:.5,w033:.5)"], "'w033'"),
    "continuous": (["--set", "sampler=log-uniform(continuous)", "--only", "norm=batch-switchable"], "another norm"),
    "design": (["--design", "factorail"], "'factorial'"),
    "leave-one-out": (["--design", "leave-one-out"], "needs a baseline"),
    "baseline": (["--baseline", "method=NN"], "level of method 'NN'"),
    "depths": (["--set", "depths=[1,2]"], "no optional blocks"),
    "report": (["report", "--preset", "smoke"], "run the study first"),
    "extract where": (["extract", "--preset", "smoke"], "--to DIR"),
    "extract which": (["extract", "--preset", "smoke", "--to", "/nowhere/x"], "choose one arm"),
    "debug on a cluster": (["--debug", "--address", "auto"], "--address"),
    "debug packed": (["--debug", "--pack"], "--pack"),
    "debug side by side": (["--debug", "--max-concurrent", "2"], "--max-concurrent"),
    "debug for a time": (["--debug", "--stall", "60"], "--stall"),
    "debug submitted": (["submit", "--debug"], "submit"),
    "a second verb": (["plan", "run"], "plan and run are two verbs: give one"),
    "a part's setting": (["--set", "optimizer.lr=1"], "'optimizer.learning_rate'"),
    "an option": (["--prest", "smoke"], "unknown option '--prest': did you mean '--preset'?"),
    "help": (["help"], "'--help'"),
    "extract both": (["extract", "--to", "x", "--sub-model", "w050", "--max-macs", "9"], "not both"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_names_the_mend_and_starts_nothing(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, hint = BAD[case]
    assert run(STUDY, ImageTrainer(), [*arguments, "--storage", str(tmp_path / "s")]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert hint in shown.err
    assert not (tmp_path / "s").exists()


def test_storage_that_cannot_be_and_servers_that_are_not_there_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    smoke = ["--preset", "smoke", "--storage"]
    assert run(STUDY, ImageTrainer(), [*smoke, str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    nowhere = ["--tracking-uri", "http://127.0.0.1:9"]
    assert run(STUDY, ImageTrainer(), [*smoke, str(tmp_path / "s"), *nowhere]) == 2
    assert "cannot be reached" in capsys.readouterr().err
    assert run(STUDY, ImageTrainer(), [*smoke, str(tmp_path / "t"), "--address", "127.0.0.1:9"]) == 2
    assert "no Ray cluster answers" in capsys.readouterr().err


def test_plan_shows_the_budget_in_three_units_and_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(STUDY, ImageTrainer(), ["plan", *SMALL, "--json", "--storage", str(tmp_path / "s")]) == 0
    shown = json.loads(capsys.readouterr().out)
    by_arm = {arm["arm"]: arm for arm in shown["arms"]}
    assert by_arm["NS · instance"]["passes"] == 4 * by_arm["NS · instance"]["updates"]
    assert by_arm["SortedNet · instance"]["passes"] == by_arm["SortedNet · instance"]["updates"]
    assert all(arm["seconds_per_trial"] > 0 for arm in shown["arms"])
    assert not (tmp_path / "s").exists()


def test_a_study_killed_under_ray_ends_as_one_left_alone_without_it_which_then_has_nothing_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    here = [*SMALL, "--storage", str(calm)]
    assert run(STUDY, ImageTrainer(), [*here, "--debug"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "index.html" in shown.out
    assert "mlflow ui --backend-store-uri sqlite:///" in shown.out
    assert "  then http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&" in shown.out
    process = start(rough)
    assert "Starting Ray (" in harness.wait_for(process, "25%")
    harness.kill_all(process)
    process.communicate()
    assert run(STUDY, ImageTrainer(), [*SMALL, "--storage", str(rough), "--debug"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "resumed at update" in shown.out
    pd.testing.assert_frame_equal(results(rough), results(calm), check_exact=True)

    assert run(STUDY, ImageTrainer(), here) == 0
    assert "All 3 trials are finished already" in capsys.readouterr().out

    wanted = ["--only", "method=SortedNet", "--max-macs", "5e6", "--to", str(tmp_path / "sub")]
    assert run(STUDY, ImageTrainer(), ["extract", *here, *wanted]) == 0
    assert json.loads((tmp_path / "sub" / "config.json").read_text())["label"] == "w075"


def test_a_trial_that_raises_is_reported_by_name_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*SMALL, "--storage", str(tmp_path), "--debug"]
    assert run(STUDY, Faulty(), arguments) == 1
    shown = capsys.readouterr().out
    assert "LCS-p · instance · seed 0: failed" in shown
    assert "ZeroDivisionError: on purpose" in shown
    assert "(diverged)" in shown
    page = (tmp_path / "reports" / "cifar_norm_ablation" / REPORT / "index.html").read_text()
    assert "ZeroDivisionError: on purpose" in page
    assert "failing_study.py" in page  # the traceback
    assert set(results(tmp_path)["outcome"]) == {"finished", "diverged"}

    assert run(STUDY, ImageTrainer(), arguments) == 0  # failures are tried again, results are kept
    assert "1 of 3 trials to run" in capsys.readouterr().out


@pytest.mark.parametrize("mode", [[], ["--debug"]], ids=["under Ray", "under --debug"])
def test_more_gpus_than_any_node_has_is_refused_before_anything_is_recorded(mode: list[str], tmp_path: Path) -> None:
    status, _, err = finish(start(tmp_path, *mode, "--gpus-per-trial", "64"))
    assert status == 2
    assert err.count("\n") == 1
    assert "64 GPUs" in err
    assert not (tmp_path / "trials").exists()
