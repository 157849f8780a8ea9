"""What version 4 wrote: exports and stored runs are read as they were, its trials are passed over with a word."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch

from orchestrator.commands.command_line import run
from studies.image_trainer import ImageTrainer
from tests.conftest import tiny
from tests.studies.former_smoke import STUDY
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.images.arrays import ImageArrays
from trainers.extraction.export import load, trained

WRITTEN = Path(__file__).parents[1] / "fixtures" / "version_4"
RUN = WRITTEN / "storage" / "artifacts" / "cifar_norm_ablation" / "685ccf22fd62426da8dbfa4e89e7270a" / "artifacts"
SAME = ["--preset", "smoke", "--only", "method=SortedNet,norm=instance", "--seeds", "1", "--set", "evaluations=2"]
HOW = "report them with that version, or run the study again, which leaves them as they are"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The storage of version 4, moved here."""
    copied = tmp_path / "storage"
    shutil.copytree(WRITTEN / "storage", copied)
    database = sqlite3.connect(copied / "mlflow.db")
    for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
        database.execute(f"UPDATE {table} SET {column} = replace({column}, '/storage/', '{copied}/')")
    database.commit()
    database.close()
    return copied


def test_a_flat_config_is_read_as_the_parts_that_it_meant() -> None:
    written = json.loads((RUN / "config.json").read_text())
    expected = tiny(updates=4, evaluations=2, learning_rate=0.1)
    assert ImageTrialConfig.from_dict(written) == expected
    assert ImageTrialConfig.from_dict({**written, "norm": "batch-recalibrated", "recalibration_batches": 5}) == tiny(
        updates=4, evaluations=2, learning_rate=0.1, norm="batch-recalibrated", recalibration_batches=5
    )


def test_a_stored_run_evaluates_to_the_accuracies_that_it_recorded(digits: ImageArrays) -> None:
    config = ImageTrialConfig.from_dict(json.loads((RUN / "config.json").read_text()))
    network = trained(config, RUN / "weights.safetensors")
    recorded = json.loads((RUN / "history.json").read_text())["points"][-1]["metrics"]
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (digits.mean, digits.std))
    images = (digits.test_images / 255 - mean) / std
    for target in config.lattice:
        network.activate(target)
        with torch.no_grad():
            right = (network(images).argmax(1) == digits.test_labels).double().mean()
        assert 100 * right.item() == pytest.approx(recorded[f"test_acc/{target.label}"])


def test_an_exported_sub_model_answers_as_the_stored_run_that_it_is_from() -> None:
    config = ImageTrialConfig.from_dict(json.loads((RUN / "config.json").read_text()))
    network, alone = trained(config, RUN / "weights.safetensors"), load(WRITTEN / "export")
    network.activate(config.lattice.smallest)
    images = torch.randn(5, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(alone(images), network(images))


@pytest.mark.parametrize("command", ["status", "plan"])
def test_what_shows_the_study_says_that_older_trials_are_there_and_counts_none_as_done(
    command: str, storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, *SAME, "--set", "updates=4", "--storage", str(storage)]
    assert run(STUDY, ImageTrainer(), arguments) == 0
    shown = capsys.readouterr().out
    assert "1 finished trials of these settings are in this store" in shown
    assert "(0.1.0, commit 96192ad" in shown
    assert HOW in shown
    assert "missing" in shown


@pytest.mark.parametrize(
    "command", [["report"], ["extract", "--sub-model", "w025", "--to", "out"]], ids=["report", "extract"]
)
def test_what_reads_results_refuses_them_in_a_line_that_says_how_to_go_on(
    command: list[str], storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(STUDY, ImageTrainer(), [*command, *SAME, "--set", "updates=4", "--storage", str(storage)]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert HOW in shown


def test_trials_of_other_settings_are_not_mistaken_for_the_same(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(STUDY, ImageTrainer(), ["status", *SAME, "--set", "updates=5", "--storage", str(storage)]) == 0
    assert "under other keys" not in capsys.readouterr().out


def test_a_study_run_again_in_the_old_store_reports_and_leaves_the_old_trials(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*SAME, "--set", "budget.updates=4", "--storage", str(storage)]
    assert run(STUDY, ImageTrainer(), [*arguments, "--debug"]) == 0
    assert run(STUDY, ImageTrainer(), ["report", *arguments]) == 0
    assert "under other keys" not in capsys.readouterr().out
    database = sqlite3.connect(storage / "mlflow.db")
    finished = database.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone()
    database.close()
    assert finished == (4,)
