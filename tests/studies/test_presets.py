"""What the studies' presets promise: a curve in `quick`, and a `smoke` that needs nothing brought along."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestrator.commands.command_line import run
from orchestrator.study.plan import Plan, make_plan
from orchestrator.study.study import Layout, Study
from studies import glue_bert_ablation, pretrained_reordering
from studies.image_trainer import ImageTrainer
from studies.text_trainer import TextTrainer
from tests.studies.test_help import STUDIES
from trainers.config.package_files import package_file
from trainers.config.trial import TrialConfig
from trainers.networks.trained_weights import read_weights

OF_TEXTS = ("encoder_many_in_one", "glue_bert_ablation")
POINTS = 10
TRAINED = "studies:trained/digits.safetensors"


def quick(study: Study) -> list[TrialConfig]:
    """The resolved configs of all arms."""
    trainer = TextTrainer() if study.name in OF_TEXTS else ImageTrainer()
    preset = study.presets["quick"]
    base = trainer.full_names(preset.settings)
    if study is pretrained_reordering.STUDY:
        base["network.weights"] = TRAINED  # of whom a user has one
    arms = study.arms(base, Layout(baseline=study.baseline, only=preset.only), trainer.full_names)
    return [trainer.config.from_dict(trainer.resolve(arm.settings)) for arm in arms]


@pytest.mark.parametrize("name", STUDIES)
def test_quick_has_a_curve_of_at_least_ten_points_on_a_part_of_the_test_set(name: str) -> None:
    for config in quick(STUDIES[name]):
        assert config.evaluations >= POINTS
        assert config.task.interim_examples is not None
        assert 2 <= len(config.interim_targets) <= 4


def test_every_arm_of_glue_is_evaluated_on_the_same_sub_models() -> None:
    assert len({config.interim_targets for config in quick(glue_bert_ablation.STUDY)}) == 1


def reordering(**settings: Any) -> Plan:
    return make_plan(pretrained_reordering.STUDY, ImageTrainer(), "smoke", settings, (0,))


def test_smoke_of_reordering_works_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--only", "order=l1", "--set", "updates=2", "--storage", str(tmp_path)]
    assert run(pretrained_reordering.STUDY, ImageTrainer(), ["--preset", "smoke", "--debug", *small]) == 0
    (table,) = tmp_path.glob("reports/**/results.csv")
    assert len(pd.read_csv(table)) == 4
    (history,) = tmp_path.glob("artifacts/**/history.json")
    start, *_ = json.loads(history.read_text())["points"]
    assert start["step"] == 0
    assert start["metrics"]["test_acc/w100"] > 90  # it is trained
    assert start["metrics"]["test_acc/w025"] < 60


def test_a_trial_that_starts_from_what_a_package_brings_is_known_by_its_content_alone(tmp_path: Path) -> None:
    file = package_file(TRAINED)
    assert file is not None
    assert file.stat().st_size < 1_000_000
    assert all(bool(values.isfinite().all()) for values in read_weights(file).values())
    shutil.copy(file, tmp_path / "copy")
    usual, elsewhere = reordering(), reordering(weights=str(tmp_path / "copy"))
    assert [trial.key for trial in usual.trials] == [trial.key for trial in elsewhere.trials]
    written = json.dumps([dict(usual.base), *(dict(trial.config) for trial in usual.trials)])
    assert str(file.parent) not in written
    assert TRAINED in written
