"""GLUE and encoders as the hub keeps them, from local copies of that form: the hub itself is not asked."""

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from safetensors.torch import load_file, save_file

from tests.trainers.test_pretrained import saved
from trainers.data.text.examples import Example
from trainers.data.text.glue import GLUE
from trainers.data.text.glue_hub import GLUE_HUB, HubTask
from trainers.errors import DataError
from trainers.networks.encoder_sources import FolderEncoder, HubEncoder
from trainers.trials.texts import resolve


def kept(folder: Path, task: HubTask, rows: list[dict[str, Any]], names: list[str] | None) -> str:
    """A repository of the hub's form with one subset of these rows; gives its path."""
    label = ClassLabel(names=names) if names else Value("float32")
    features = Features({**{column: Value("string") for column in task.texts}, "label": label, "idx": Value("int32")})
    for split in ("train", task.test):
        (folder / task.config).mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame([{**row, "idx": number} for number, row in enumerate(rows)])
        Dataset.from_pandas(frame, features=features).to_parquet(
            folder / task.config / f"{split}-00000-of-00001.parquet"
        )
    splits = "".join(f"  - split: {split}\n    path: {task.config}/{split}-*\n" for split in ("train", task.test))
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: {task.config}\n  data_files:\n{splits}---\n")
    return str(folder)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_labels_of_the_hub_go_by_name_whatever_their_numbers(tmp_path: Path) -> None:
    rows = [
        {"premise": 'He said "no', "hypothesis": "He spoke", "label": 2},
        {"premise": "It rains\tagain", "hypothesis": "The sun shines", "label": 0},
    ]
    task = GLUE_HUB["mnli-mismatched"]
    data = task.load(kept(tmp_path / "hub", task, rows, ["contradiction", "neutral", "entailment"]))
    assert data.classes == GLUE["mnli-mismatched"].classes == ("entailment", "neutral", "contradiction")
    expected = (Example('He said "no', "He spoke", 0), Example("It rains\tagain", "The sun shines", 2))
    assert (data.train, data.test) == (expected, expected)
    assert data.checksum.endswith("/mnli/validation_mismatched")


def test_scores_and_single_texts_come_from_the_hub_too(tmp_path: Path) -> None:
    scored = [{"sentence1": "a", "sentence2": "b", "label": 3.25}]
    data = GLUE_HUB["stsb"].load(kept(tmp_path / "stsb", GLUE_HUB["stsb"], scored, None))
    assert (data.train, data.classes) == ((Example("a", "b", 3.25),), ())
    single = [{"sentence": "fine", "label": 1}]
    found = GLUE_HUB["cola"].load(kept(tmp_path / "cola", GLUE_HUB["cola"], single, ["unacceptable", "acceptable"]))
    assert found.test == (Example("fine", "", 1),)


@pytest.mark.parametrize("case", ["a test split", "another label", "no repository"])
def test_what_the_hub_does_not_have_is_refused_in_a_line(case: str, tmp_path: Path) -> None:
    task, names = GLUE_HUB["rte"], ["entailment", "not_entailment"]
    row = {"sentence1": "a", "sentence2": "b", "label": -1 if case == "a test split" else 0}
    if case == "no repository":
        where, hint = str(tmp_path / "none"), "rte could not be had. Tried the hub"
    elif case == "another label":
        where, hint = kept(tmp_path / "hub", task, [row], ["entails", "not_entailment"]), "'entails' is no label"
    else:
        where, hint = kept(tmp_path / "hub", task, [row], names), "label -1 is a test set's"
    with pytest.raises(DataError) as caught:
        task.load(where)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_task_of_glue_is_on_the_hub_with_as_many_classes() -> None:
    assert GLUE_HUB.keys() == GLUE.keys()
    assert all(len(task.classes) == len(GLUE[name].classes) for name, task in GLUE_HUB.items())
    assert all(len(task.texts) == len(GLUE[name].texts) for name, task in GLUE_HUB.items())


def test_an_encoder_of_the_hub_is_read_from_its_cache_under_the_names_that_it_was_saved_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "bert")
    cached = tmp_path / "cache" / "models--someone--bert" / "snapshots" / ("a" * 40)
    shutil.copytree(tmp_path / "bert", cached)
    as_tensorflow = {"weight": "gamma", "bias": "beta"}
    weights = {
        f"{path}.{as_tensorflow[last]}" if path.endswith("LayerNorm") else name: values
        for name, values in load_file(cached / "model.safetensors").items()
        for path, _, last in [name.rpartition(".")]
    }
    save_file({f"bert.{name}": values for name, values in weights.items()}, cached / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = HubEncoder("someone/bert", "a" * 40, FolderEncoder(tmp_path / "bert").config)
    hub = dict(source.fetch(None, lambda: []).with_head(2, 0).named_parameters())
    plain = FolderEncoder(tmp_path / "bert").fetch(None, lambda: []).with_head(2, 0)
    for name, weight in plain.named_parameters():
        assert torch.equal(hub[name], weight), name
    with pytest.raises(DataError, match="someone/other could not be had") as caught:
        HubEncoder("someone/other", "b" * 40, {}).fetch(None, lambda: [])
    assert "--set network=DIR" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_table_2_can_be_reckoned_before_anything_is_fetched() -> None:
    dimensions = {"depth": [12, 24], "hidden": [768, 1024], "heads": [12, 16], "neurons": [3072, 4096]}
    config = resolve(
        {"network": "bert-large-uncased", "dimensions": dimensions, "combination": "zip", "dataset": "rte"}
    )
    base, large = config.lattice
    size = config.network.full
    flops = [round(size.of(each).flops(config.network.head_size, 128) / 1e9, 2) for each in (base, large)]
    assert flops == [22.36, 78.96]
    assert config.network.source.checksum == "google-bert/bert-large-uncased@6da4b6a26a1877e173fca3225479512db81a5e5b"


class InCircles(BaseHTTPRequestHandler):
    """Sends on to itself."""

    def do_HEAD(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_hub_that_misbehaves_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client's errors are none of Python's own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), InCircles) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        try:
            with pytest.raises(DataError, match=r"someone/other could not be had\. Tried the hub: ") as caught:
                HubEncoder("someone/other", "b" * 40, {}).fetch(None, lambda: [])
        finally:
            server.shutdown()
    assert "--set network=DIR" in str(caught.value)
    assert "\n" not in str(caught.value)
