"""What the studies' presets promise: a `smoke` that needs nothing brought along."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestrator.commands.command_line import run
from orchestrator.study.plan import Plan, make_plan
from studies import pretrained_reordering
from studies.image_trainer import ImageTrainer
from trainers.config.package_files import package_file
from trainers.networks.trained_weights import read_weights

TRAINED = "studies:trained/digits.safetensors"


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
