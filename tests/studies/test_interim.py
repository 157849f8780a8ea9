"""A curve is of one set of test images, also where only the last evaluation is on all of them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestrator.commands.command_line import run
from orchestrator.report.drawing import Drawing
from orchestrator.report.figures import drawings
from studies.cifar_norm_ablation import STUDY
from studies.image_trainer import ImageTrainer

SETTINGS = ("updates=6", "evaluations=3", "interim_examples=60", "widths=[0.25,1]")
ARGUMENTS = ["--debug", "--preset", "smoke", "--seeds", "1", "--only", "method=SortedNet,norm=instance"]


def test_the_curve_is_of_the_part_and_the_table_of_the_whole_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Drawing] = []

    def kept(*parts: Any) -> tuple[Drawing, ...]:
        drawn[:] = drawings(*parts)
        return tuple(drawn)

    monkeypatch.setattr("orchestrator.report.writer.drawings", kept)
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    assert run(STUDY, ImageTrainer(), [*ARGUMENTS, *settings, "--storage", str(tmp_path)]) == 0
    capsys.readouterr()
    folder = next(tmp_path.glob("reports/**/results.csv")).parent
    table = pd.read_csv(folder / "results.csv").set_index("sub_model")
    (training,) = (drawing for drawing in drawn if drawing.name == "training")
    ends = training.data.groupby("sub_model")["mean"].last()
    assert ends.to_dict() == table["interim_acc"].to_dict()
    assert (table["interim_acc"] != table["test_acc"]).any()
    assert training.data["evaluation"].max() == 3
    assert "of one part of the test set" in (folder / "index.html").read_text()
