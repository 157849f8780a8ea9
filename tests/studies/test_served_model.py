"""A finished trial's network, loaded and served by MLflow: its size is chosen per call, and nothing is unpickled."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
import torch
from mlflow.pyfunc import PyFuncModel, scoring_server

from orchestrator.commands.command_line import run
from orchestrator.track.tracker import TrackedTrial, Tracker
from studies.cifar_norm_ablation import STUDY
from studies.image_trainer import ImageTrainer
from tests.studies.finished import only_trial
from trainers.building.image_costs import target_costs
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.images.arrays import ImageArrays
from trainers.extraction.export import load
from trainers.tasks.images import Normalisation

ROOT = Path(__file__).parents[2]
SMALL = ["--preset", "smoke", "--only", "method=SortedNet,norm=instance", "--seeds", "1", "--set", "updates=2"]
ELSEWHERE = """
import pickle, sys
import mlflow, numpy as np, torch

def refuse(*_, **__):
    raise AssertionError("something is unpickled")

torch.set_num_threads(1)
pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse
uri, run, images, answers = sys.argv[1:]
mlflow.set_tracking_uri(uri)
model = mlflow.pyfunc.load_model(f"runs:/{run}/model")
np.save(answers, model.predict(np.load(images), params={"sub_model": "w050"}))
assert "ray" not in sys.modules
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a study of one small trial."""
    folder = tmp_path_factory.mktemp("served")
    assert run(STUDY, ImageTrainer(), [*SMALL, "--debug", "--storage", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def trial(storage: Path) -> TrackedTrial:
    return only_trial(STUDY, storage)


@pytest.fixture(scope="module")
def kept(trial: TrackedTrial) -> Path:
    """The folder of the run's artifacts."""
    return Path(trial.artifacts.removeprefix("file://"))


@pytest.fixture(scope="module")
def model(kept: Path) -> PyFuncModel:
    return mlflow.pyfunc.load_model(str(kept / "model"))


def test_in_a_process_of_its_own_it_answers_as_the_sub_model_cut_out_bit_for_bit_and_nothing_is_unpickled(
    storage: Path, trial: TrackedTrial, digits: ImageArrays, tmp_path: Path
) -> None:
    images = digits.test_images[:20]
    np.save(tmp_path / "images.npy", images.numpy())
    files = str(tmp_path / "images.npy"), str(tmp_path / "answers.npy")
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    subprocess.run([sys.executable, "-c", ELSEWHERE, uri, trial.run_id, *files], check=True, cwd=tmp_path)
    extract = ["extract", *SMALL, "--storage", str(storage), "--sub-model", "w050", "--to", str(tmp_path / "alone")]
    assert run(STUDY, ImageTrainer(), extract) == 0
    with torch.no_grad():
        alone = load(tmp_path / "alone")(Normalisation(digits.mean, digits.std)(images))
    answers = np.load(tmp_path / "answers.npy")
    assert answers.dtype == np.float32
    assert np.array_equal(answers, alone.numpy())


def test_the_page_shows_what_works(
    storage: Path, trial: TrackedTrial, model: PyFuncModel, digits: ImageArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shown,) = re.findall(r"^```py\n(.*?)^```$", (ROOT / "docs" / "mlflow.md").read_text(), re.MULTILINE | re.DOTALL)
    names = {"images": digits.test_images[:3].numpy()}
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)  # and put back
    shown = shown.replace("sqlite:////home/me/runs/mlflow.db", f"sqlite:///{storage / 'mlflow.db'}")
    exec(shown.replace("0123456789abcdef0123456789abcdef", trial.run_id), names)
    assert np.array_equal(names["scores"], model.predict(names["images"]))


def test_what_is_stored_is_weights_and_text_and_takes_no_more_room(kept: Path) -> None:
    files = {path.name for path in (kept / "model").iterdir()}
    text = {"MLmodel", "config.json", "network.json", "python_env.yaml", "requirements.txt"}
    assert files == {*text, "weights.safetensors"}
    assert (kept / "model" / "weights.safetensors").samefile(kept / "weights.safetensors")
    required = (kept / "model" / "requirements.txt").read_text().splitlines()
    assert {line.partition("==")[0] for line in required} >= {"sortednet-studies", "mlflow", "torch"}
    assert not [line for line in required if "//" in line or "+" in line or line.startswith("-")]


def test_the_size_is_chosen_by_a_label_or_by_a_bound_and_is_the_largest_otherwise(
    model: PyFuncModel, kept: Path, digits: ImageArrays
) -> None:
    images = digits.test_images[:3].numpy()
    macs = target_costs(ImageTrialConfig.from_dict(json.loads((kept / "config.json").read_text())))["w075"].macs
    by_label = {label: model.predict(images, params={"sub_model": label}) for label in ("w025", "w075", "w100")}
    assert np.array_equal(model.predict(images, params={"max_macs": macs + 0.5}), by_label["w075"])
    assert np.array_equal(model.predict(images), by_label["w100"])
    assert not np.array_equal(by_label["w025"], by_label["w100"])
    assert model.metadata.metadata["sub_models"]["w075"] == macs


@pytest.mark.parametrize(
    ("params", "size", "said"),
    [
        ({"sub_model": "w051"}, 16, "unknown target 'w051': did you mean 'w"),
        ({"max_macs": 1.0}, 16, "no target has 1 MACs or fewer"),
        ({"sub_model": "w050", "max_macs": 1e9}, 16, "not both"),
        ({}, 8, r"images of shape \(1, 8, 8\): give \(N, C, H, W\) with \(C, H, W\) = \(1, 16, 16\)"),
    ],
)
def test_what_cannot_be_answered_is_one_clear_error(
    params: dict[str, object], size: int, said: str, model: PyFuncModel
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        model.predict(np.zeros((2, 1, size, size), np.uint8), params=params)
    assert "\n" not in str(refused.value)


def test_the_server_answers_a_request_with_what_the_model_says(model: PyFuncModel, digits: ImageArrays) -> None:
    images = digits.test_images[:2].numpy()
    asked = json.dumps({"inputs": images.tolist(), "params": {"sub_model": "w025"}})
    answer = scoring_server.invocations(asked, "application/json", model, model.metadata.get_input_schema())
    assert answer.status == 200
    found = np.array(json.loads(answer.response)["predictions"], np.float32)
    assert np.allclose(found, model.predict(images, params={"sub_model": "w025"}))


def test_an_extracted_sub_model_says_where_it_comes_from_and_what_it_was_measured_to_do(
    storage: Path, trial: TrackedTrial, kept: Path, tmp_path: Path
) -> None:
    extract = ["extract", *SMALL, "--storage", str(storage), "--sub-model", "w025", "--to", str(tmp_path / "alone")]
    assert run(STUDY, ImageTrainer(), extract) == 0
    about = json.loads((tmp_path / "alone" / "trial.json").read_text())
    assert (about["key"], about["seed"], about["run"]) == (trial.key, 0, trial.run_id)
    assert (about["arm"], about["sub_model"]) == ("SortedNet · instance", "w025")
    assert about["commit"] == trial.tags["git.commit"]
    recorded = json.loads((kept / "history.json").read_text())["points"][-1]["metrics"]
    assert about["metrics"] == {name: recorded[f"{name}/w025"] for name in ("test_acc", "test_loss")}
    assert about["versions"]["torch"] == trial.tags["version.torch"]
    assert about["latency"]["milliseconds"] > 0
    card = (tmp_path / "alone" / "README.md").read_text()
    assert f"| test accuracy | {recorded['test_acc/w025']:.2f} % |" in card
    assert "`model.safetensors`" in card
    assert trial.key in card


def test_weights_that_a_server_keeps_with_the_model_alone_are_found(
    storage: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(kept / "model", tmp_path / "run" / "model")
    monkeypatch.setattr("orchestrator.track.tracker.places", lambda *_: [])  # nothing is on this machine
    tracker = Tracker(f"sqlite:///{storage / 'mlflow.db'}", None)
    (tmp_path / "scratch").mkdir()
    found = tracker.fetch((tmp_path / "run").as_uri(), "weights.safetensors", str(tmp_path / "scratch"))
    assert found is not None
    assert found.read_bytes() == (kept / "weights.safetensors").read_bytes()
