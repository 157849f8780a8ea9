"""A curve is of one set of test images, also where only the last evaluation is on all of them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from orchestrator.commands.command_line import run
from orchestrator.report.drawing import Drawing
from orchestrator.report.figures import drawings
from studies.cifar_norm_ablation import STUDY
from studies.image_trainer import ImageTrainer

SETTINGS = ("updates=6", "evaluations=3", "interim_examples=60", "widths=[0.25,0.5,1]", "interim_sub_models=2")
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
    shown = training.data[training.data["sub_model"] != "avg."]
    ends = shown.groupby("sub_model")["mean"].last()
    assert ends.to_dict() == table["interim_acc"].dropna().to_dict()
    assert [*ends.index] == ["w025", "w100"]
    assert (table["interim_acc"].dropna() != table["test_acc"][["w025", "w100"]]).any()
    assert table["test_acc"].notna().all()
    assert training.data["evaluation"].max() == 3
    page = (folder / "index.html").read_text()
    assert "of the test examples that evaluations during training are of" in page
    assert "2 of 3 sub-models are shown" in page
    points = in_mlflow(tmp_path)
    assert {name: count for name, count in points.items() if name.startswith("test_")} == {
        **{f"test_{metric}/{label}": 1 for metric in ("acc", "loss") for label in ("w025", "w050", "w100")},
        "test_acc/average": 1,
    }
    assert {name: count for name, count in points.items() if name.startswith("interim_")} == {
        **{f"interim_{metric}/{label}": 3 for metric in ("acc", "loss") for label in ("w025", "w100")},
        "interim_acc/average": 3,
    }


def in_mlflow(storage: Path) -> dict[str, int]:
    """Of the only trial, how many points every metric has."""
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(STUDY.name)
    assert experiment is not None
    (trial,) = client.search_runs([experiment.experiment_id], "tags.`study.role` = 'trial'")
    return {name: len(client.get_metric_history(trial.info.run_id, name)) for name in trial.data.metrics}
