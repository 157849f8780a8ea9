"""A finished trial of texts, loaded and served by MLflow with its tokenizer, and taken along with it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.pyfunc import PyFuncModel, scoring_server
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from orchestrator.commands.command_line import run
from orchestrator.track.tracker import TrackedTrial
from studies.glue_bert_ablation import STUDY
from studies.text_trainer import TextTrainer
from tests.studies.finished import only_trial
from tests.trainers.test_text_trials import tiny
from trainers.data.text.datasets import TextDataset, register
from trainers.data.text.examples import Example, TextData
from trainers.errors import ConfigError
from trainers.extraction.served_texts import ServedTexts
from trainers.training.loop import fit
from trainers.trials.texts import TEXT_TRIALS

ONLY = "budget=half,method=SortedNet"
SMALL = ["--preset", "smoke", "--seeds", "1", "--only", ONLY, "--set", "epochs=0.02", "--set", "evaluations=1"]
LONG = " ".join(["latin small letter a with"] * 20)  # more tokens than a trial's texts may have
TEXT = ["latin small letter q", "Digit SEVEN", LONG]
ELSEWHERE = """
import json, pickle, sys
import mlflow, numpy as np, torch
import trainers.data.text.datasets, trainers.networks.encoder_sources

def refuse(*_, **__):
    raise AssertionError("something is unpickled")

class Refused:
    __init__ = refuse

torch.set_num_threads(1)
pickle.load = pickle.loads = torch.load = refuse
pickle.Unpickler = Refused
trainers.data.text.datasets.TEXTS.clear()  # nothing is known of what it was trained on, nor of the encoder
trainers.networks.encoder_sources.ENCODERS.clear()
uri, run, texts, label, answers = sys.argv[1:]
mlflow.set_tracking_uri(uri)
model = mlflow.pyfunc.load_model(f"runs:/{run}/model")
np.save(answers, model.predict(json.loads(texts), params={"sub_model": label}))
assert "ray" not in sys.modules
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a study of one small trial."""
    folder = tmp_path_factory.mktemp("served")
    assert run(STUDY, TextTrainer(), [*SMALL, "--debug", "--storage", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def trial(storage: Path) -> TrackedTrial:
    return only_trial(STUDY, storage)


@pytest.fixture(scope="module")
def model(trial: TrackedTrial) -> PyFuncModel:
    return mlflow.pyfunc.load_model(str(Path(trial.artifacts.removeprefix("file://")) / "model"))


def by_transformers(folder: Path, *texts: list[str]) -> Any:
    """What a model that was taken out answers, read as transformers' users read one."""
    batch = AutoTokenizer.from_pretrained(folder)(*texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        return AutoModelForSequenceClassification.from_pretrained(folder).eval()(**batch).logits.numpy()


def test_where_nothing_of_its_study_is_known_it_answers_as_what_is_taken_out_bit_for_bit(
    storage: Path, trial: TrackedTrial, model: PyFuncModel, tmp_path: Path
) -> None:
    smallest, *_, largest = model.metadata.metadata["sub_models"]
    uri, answers = f"sqlite:///{storage / 'mlflow.db'}", tmp_path / "answers.npy"
    asked = [uri, trial.run_id, json.dumps(TEXT), smallest, str(answers)]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *asked], check=True, cwd=tmp_path)
    for label in (smallest, largest):
        extract = ["extract", *SMALL, "--storage", str(storage), "--sub-model", label, "--to", str(tmp_path / label)]
        assert run(STUDY, TextTrainer(), extract) == 0
    found = np.load(answers)
    assert (found.dtype, found.shape) == (np.float32, (3, 7))
    # Without AVX512 products with weights that have gaps are summed in another order.
    np.testing.assert_allclose(found, by_transformers(tmp_path / smallest, TEXT), rtol=1e-6)
    assert np.array_equal(model.predict(pd.Series(TEXT)), by_transformers(tmp_path / largest, TEXT))
    assert not np.array_equal(found, model.predict(TEXT))
    alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / smallest)
    assert alone.config.id2label[1] == "lower-case letter"


def test_its_files_are_weights_and_text_and_the_server_answers(model: PyFuncModel, trial: TrackedTrial) -> None:
    kept = Path(trial.artifacts.removeprefix("file://"))
    text = {"MLmodel", "config.json", "network.json", "python_env.yaml", "requirements.txt"}
    text |= {"tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in (kept / "model").iterdir()} == {*text, "weights.safetensors"}
    assert (kept / "model" / "weights.safetensors").samefile(kept / "weights.safetensors")
    expected = model.predict(TEXT)
    for asked in ({"inputs": TEXT}, {"dataframe_split": {"columns": ["text"], "data": [[text] for text in TEXT]}}):
        answer = scoring_server.invocations(
            json.dumps(asked), "application/json", model, model.metadata.get_input_schema()
        )
        assert answer.status == 200
        assert np.allclose(json.loads(answer.response)["predictions"], expected)


@pytest.mark.parametrize(("classes", "outputs"), [(("no", "yes"), 2), ((), 1)])
def test_pairs_are_two_columns_whether_classified_or_scored(
    classes: tuple[str, ...], outputs: int, tmp_path: Path
) -> None:
    examples = tuple(Example(f"the {word} thing", f"no {word}", number % 2) for number, word in enumerate("abcdefghij"))
    data = TextData(examples, examples, classes, "own")
    measured = "accuracy" if classes else "spearman"
    name = f"own-{outputs}"  # what is read is kept by its name
    register(name, TextDataset(measured, len(classes), True, 10, 10, 8, lambda _: "own", lambda _: data))
    config = tiny(dataset=name, updates=2, batch_size=4, method="Independent" if classes else "SortedNet")
    parts = TEXT_TRIALS.assemble(config, 0, None, torch.device("cpu"))
    *_, last = fit(parts.recipe, 0, parts.task, parts.network, parts.macs, torch.device("cpu"))
    last.save(tmp_path)
    for name, text in parts.beside.items():
        (tmp_path / name).write_text(text)
    served = ServedTexts(tmp_path)
    first, second = ["the a thing", LONG], ["no b", "no such thing"]
    table = pd.DataFrame({"first": first, "second": second})
    for target in config.lattice:
        TEXT_TRIALS.export(config, tmp_path / "weights.safetensors", target.label, tmp_path / target.label)
        answers = served.predict(table, {"sub_model": target.label})
        assert answers.shape == (2, outputs)
        # Without AVX512 products with weights that have gaps are summed in another order.
        np.testing.assert_allclose(answers, by_transformers(tmp_path / target.label, first, second), rtol=1e-6)
    many = pd.concat([table] * 50)
    assert served.predict(many).shape == (100, outputs)
    assert served.predict(table[:0]).shape == (0, outputs)
    with pytest.raises(ConfigError, match="row 0 is not two texts"):
        served.predict(table[["first"]])
    with pytest.raises(ConfigError, match="unknown parameter 'size'"):
        served.predict(table, {"size": 1})
