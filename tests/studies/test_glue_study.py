"""Table 2's study as a user runs it: its presets, a trial of texts killed, and what is taken out of it."""

import sys
from pathlib import Path

import pandas as pd
import pytest
from transformers import AutoModelForSequenceClassification

from orchestrator.commands.command_line import run
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Layout
from studies.glue_bert_ablation import STUDY, TASKS
from studies.text_trainer import TextTrainer
from tests.faults import harness
from trainers.data.text.glue import GLUE

SCRIPT = Path(__file__).parents[2] / "studies" / "glue_bert_ablation.py"
SMALL = ["--preset", "smoke", "--seeds", "1", "--only", "budget=half", "--set", "epochs=0.5", "--set", "evaluations=4"]


def results(storage: Path) -> pd.DataFrame:
    (file,) = storage.glob("reports/glue_bert_ablation/smoke,budget=half,*/results.csv")
    frame = pd.read_csv(file)
    return frame.drop(columns="seconds").sort_values(["arm", "seed", "sub_model"], ignore_index=True)


def test_a_trial_of_texts_killed_under_ray_ends_as_one_left_alone_and_is_taken_out_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    here = [*SMALL, "--storage", str(calm)]
    assert run(STUDY, TextTrainer(), [*here, "--debug"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "tiny-bert on characters, preset smoke" in shown.out
    process = harness.start(rough, *SMALL, script=SCRIPT)
    harness.wait_for(process, "25%")
    harness.kill_all(process)
    harness.ended(process)
    assert run(STUDY, TextTrainer(), [*SMALL, "--storage", str(rough), "--debug"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "resumed at update" in shown.out
    pd.testing.assert_frame_equal(results(rough), results(calm), check_exact=True)

    target = ["--only", "method=SortedNet", "--max-macs", "1e6", "--to", str(tmp_path / "sub")]
    assert run(STUDY, TextTrainer(), ["extract", *here, *target]) == 0
    alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / "sub")
    assert (alone.config.num_hidden_layers, alone.config.hidden_size, alone.config.num_labels) == (1, 32, 7)


def test_a_preset_takes_its_own_tasks_unless_others_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["plan", "--preset", "smoke", "--storage", str(tmp_path), "--json"]
    assert run(STUDY, TextTrainer(), asked) == 0
    assert "characters" in capsys.readouterr().out
    assert run(STUDY, TextTrainer(), [*asked, "--only", "dataset=vader,method=SortedNet"]) == 0
    shown = capsys.readouterr().out
    assert "vader" in shown
    assert "characters" not in shown
    assert "Independent" not in shown


def test_the_analogue_has_every_arm_at_equal_passes() -> None:
    layout = Layout(baseline=STUDY.baseline, only=STUDY.presets["analogue"].only)
    plan = make_plan(STUDY, TextTrainer(), "analogue", {}, (0,), layout)
    budgets: dict[tuple[str, str], set[int]] = {}
    for trial in plan.trials:
        levels = dict(trial.arm.levels)
        budgets.setdefault((levels["dataset"], levels["budget"]), set()).add(trial.budget.amount)
    assert len(plan.trials) == 2 * 2 * 3
    assert all(len(amounts) == 1 for amounts in budgets.values())
    (half,), (whole,) = budgets["vader", "half"], budgets["vader", "whole"]
    assert whole == 2 * 3 * (20_792 // 32)
    assert half == 2 * round(3 * (20_792 // 32) / 2)


@pytest.mark.parametrize("preset", ["paper", "paper-base"])
def test_what_the_paper_trains_can_be_planned_before_it_is_fetched_all_methods_at_equal_passes(preset: str) -> None:
    methods = () if preset == "paper-base" else tuple(("method", level) for level in STUDY.factors[1].levels)
    layout = Layout(baseline=STUDY.baseline, only=(*STUDY.presets[preset].only, *methods))
    plan = make_plan(STUDY, TextTrainer(), preset, {}, (0,), layout)
    by_task: dict[tuple[str, str], set[int]] = {}
    for trial in plan.trials:
        levels = dict(trial.arm.levels)
        by_task.setdefault((levels["budget"], levels["dataset"]), set()).add(trial.budget.amount)
    assert len(plan.trials) == len(by_task) * (len(methods) or 1)
    assert all(len(amounts) == 1 for amounts in by_task.values())


def test_the_papers_tasks_are_glues_and_their_heads_say_what_they_are_measured_by() -> None:
    words = {"accuracy": "accuracy", "f1": "F1", "matthews": "Matthews", "spearman": "Spearman"}
    assert {name: f"({words[GLUE[name].metric]})" for name in TASKS} == {
        name: head[head.index("(") :] for name, head in TASKS.items()
    }


def test_without_its_files_a_task_of_glue_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["plan", *SMALL, "--only", "dataset=cola", "--data", str(tmp_path), "--storage", str(tmp_path / "s")]
    assert run(STUDY, TextTrainer(), asked) == 2
    said = capsys.readouterr().err
    assert "CoLA/train.tsv is not there" in said
    assert said.count("\n") == 1
    assert sys.executable not in said
