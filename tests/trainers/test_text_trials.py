"""Configs of texts: names, values, what is resolved and refused; and the trials that they stand for."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification
from transformers.models.bert.modeling_bert import BertSelfAttention

from tests.trainers.test_pretrained import saved
from trainers.config.text_trial import TextTrialConfig
from trainers.data.text import datasets
from trainers.data.text.characters import CLASSES, load
from trainers.data.text.datasets import TEXTS, TextDataset, register, text_dataset
from trainers.data.text.examples import Example, TextData
from trainers.errors import ConfigError, DataError
from trainers.measuring.cost import MacCounter
from trainers.nested.encoder import NestedEncoder
from trainers.networks.encoders import blank
from trainers.training.loop import fit
from trainers.trials.texts import TEXT_TRIALS, _encoder, resolve

CPU = torch.device("cpu")
TINY: dict[str, Any] = {
    "network": "tiny-bert", "dataset": "characters", "length": 32, "batch_size": 8, "precision": "fp32",
    "depth": [1, 2], "hidden": [32, 64], "heads": [2, 4], "neurons": [64, 128], "combination": "zip",
    "updates": 4, "evaluations": 1,
}  # fmt: skip
DIMENSIONS = ("depth", "hidden", "heads", "neurons")


def tiny(**settings: Any) -> TextTrialConfig:
    """A trial of seconds."""
    without = DIMENSIONS if "dimensions" in settings else ("updates",) if "epochs" in settings else ()
    return resolve({**{name: value for name, value in TINY.items() if name not in without}, **settings})


def test_the_usual_recipe_is_dynaberts() -> None:
    config = resolve({"epochs": 3})
    said = config.optimizer
    assert (said.kind, said.learning_rate, said.weight_decay, said.clip_norm) == ("adamw", 2e-5, 0.0, 1.0)
    assert (config.schedule.shape, config.schedule.warmup, config.schedule.stages) == ("linear", 0.0, 0)
    assert (config.task.batch_size, config.task.length) == (32, 128)
    assert config.budget.model_dump()["amount"] == 3 * (7_495 // 32)
    assert [target.label for target in config.lattice] == ["d06"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"learning_rate": 1e-3}, {"optimizer": {"learning_rate": 1e-3}}),
        ({"learning_rate": 2e-5}, {}),
        ({"optimizer": "adamw"}, {}),
        ({"dimensions": {"depth": [2, 1]}}, {"dimensions": {"depth": [1, 2], "heads": []}}),
        ({"dimensions": {"depth": [1, 2]}}, {"dimensions": {"depth": [1, 2]}, "combination": "product"}),
        ({"dimensions": {"hidden": [32, 64]}, "kept": "spaced"}, {"dimensions": {"hidden": [32, 64]}}),
        ({"method": "SortedNet"}, {}),
        ({"epochs": 2}, {"updates": 2 * (9_998 // 8)}),
        ({"epochs": 2, "accumulation": 2}, {"updates": 9_998 // 8, "accumulation": 2}),
        (
            {"epochs": 2, "accumulation": 2, "equalize": "passes"},
            {"updates": 2 * (9_998 // 8), "accumulation": 2, "equalize": "passes"},
        ),
        ({"schedule": "linear"}, {"schedule": {"warmup": 0}}),
        ({"train_examples": 9_998}, {}),
        ({"epochs": 2, "train_examples": 100}, {"updates": 2 * (100 // 8), "train_examples": 100}),
    ],
)
def test_two_spellings_of_an_experiment_are_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert tiny(**one) == tiny(**other)
    assert tiny(**one).identity() == tiny(**other).identity()


def test_a_part_of_which_some_is_said_keeps_the_rest_of_the_recipe() -> None:
    said = tiny(optimizer={"learning_rate": 1e-3}, warmup=0.1)
    assert (said.optimizer.kind, said.optimizer.weight_decay, said.optimizer.clip_norm) == ("adamw", 0.0, 1.0)
    assert (said.schedule.shape, said.schedule.warmup) == ("linear", 0.1)
    other = tiny(optimizer="sgd").optimizer
    assert (other.kind, other.learning_rate, other.clip_norm) == ("sgd", 0.1, None)
    assert tiny(optimizer="sgd").identity() != tiny().identity()


def test_a_resolved_config_resolves_to_itself_by_way_of_json() -> None:
    for settings in ({}, {"method": "NS", "equalize": "macs"}, {"kept": "spaced", "optimizer": "sgd"}):
        config = tiny(**settings)
        written = json.loads(json.dumps(config.as_dict()))
        assert TextTrialConfig.from_dict(written) == config
        assert resolve(written) == config


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "heads": ({"hidden": [40, 64]}, "hidden=40: no multiple of the model's head size, 16"),
    "layers": ({"depth": [2, 3]}, "depth=3: give a whole number from 1 to the model's 2"),
    "not whole": ({"depth": [1], "hidden": [32], "heads": [2], "neurons": [64]}, "must be among them"),
    "uneven": ({"depth": [2]}, "network.combination=zip: as many values of each dimension are needed; depth has 1"),
    "more heads than room": (
        {"dimensions": {"hidden": [32, 64], "heads": [3, 4]}},
        "heads=3 of size 16 need a hidden size of 48, more than 32",
    ),
    "no dimension": ({"dimensions": {"width": [1]}}, "unknown setting 'network.dimensions.width'"),
    "no whole number": ({"depth": [1.5, 2]}, "depths=[1.5, 2]: give a list of whole numbers"),
    "positions": ({"length": 65}, "task.length=65: tiny-bert has positions for 64 tokens"),
    "encoder": ({"network": "minlm"}, "did you mean 'minilm'"),
    "data": ({"dataset": "sst-2"}, "unknown dataset 'sst-2'"),
    "more texts than there are": ({"train_examples": 9_999}, "task.train_examples=9999: characters has 9,998"),
    "fewer texts than a batch": ({"train_examples": 7}, "=7 are fewer than a batch has, batch_size=8"),
    "no number of texts": ({"train_examples": 0}, "task.train_examples=0: must be from 1 to"),
    "setting of images": ({"crop_padding": 2}, "unknown setting 'crop_padding'"),
    "sampler": ({"method": "US"}, "choose a sampler of targets"),
    "pattern": ({"frozen": ["bert.pooler.*", "stem"]}, "frozen: 'stem' matches no parameter"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_a_line(case: str) -> None:
    settings, hint = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        tiny(**settings)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_all_combinations_those_that_no_smaller_model_can_be_are_left_out() -> None:
    config = tiny(combination="product", dimensions={"depth": [1, 2], "hidden": [32, 48, 64], "heads": [1, 2, 3, 4]})
    kept = {(target["hidden"], target["heads"]) for target in config.lattice}
    assert kept == {(32, 1), (32, 2), (48, 1), (48, 2), (48, 3), (64, 1), (64, 2), (64, 3), (64, 4)}
    assert len(config.lattice) == 18


@pytest.mark.parametrize("dataset", ["characters", "vader", "snli"])
def test_costs_are_those_of_the_extracted_models(dataset: str) -> None:
    config = tiny(dataset=dataset)
    outputs = text_dataset(dataset).classes or 1
    nested = NestedEncoder(blank(config.network.source.config, outputs), config.lattice)

    def example(tokens: Any) -> tuple[torch.Tensor, ...]:
        return torch.ones(1, tokens, dtype=torch.int64), torch.ones(1, tokens, dtype=torch.int64)

    counted, stated = MacCounter(nested, example), TEXT_TRIALS.macs(config)
    for target in config.lattice:
        cost = TEXT_TRIALS.costs(config)[target.label]
        assert cost.parameters == sum(p.numel() for p in nested.extract(target).parameters())
        assert cost.macs == counted(target, 32)
        assert stated(target, 16) == counted(target, 16)


def test_bert_has_the_parameters_of_table_2() -> None:
    base = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    for sizes, millions in ((base, 109.48), (large, 335.14)):
        with torch.device("meta"):
            model = blank({"model_type": "bert", "vocab_size": 30_522, "max_position_embeddings": 512, **sizes}, 2)
        count = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("classifier"))
        assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize("settings", [{}, {"method": "Independent"}, {"frozen": ["embeddings.*"]}])
def test_a_sub_model_written_on_its_own_is_read_by_transformers(settings: dict[str, Any], tmp_path: Path) -> None:
    config = tiny(**settings)
    parts = TEXT_TRIALS.assemble(config, 3, None, CPU)
    *_, last = fit(parts.recipe, 3, parts.task, parts.network, parts.macs, CPU)
    last.save(tmp_path)
    batch = parts.task.inputs(parts.task.gather(parts.task.selection(0)))[:2]
    for target in config.lattice:
        TEXT_TRIALS.export(config, tmp_path / "weights.safetensors", target.label, tmp_path / target.label)
        alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / target.label).eval()
        parts.network.eval()
        parts.network.activate(target)
        with torch.no_grad():
            ids, mask = batch
            assert torch.equal(alone(ids, attention_mask=mask).logits, parts.network(*batch).logits)
    with pytest.raises(ConfigError, match="unknown target 'd03'"):
        TEXT_TRIALS.export(config, tmp_path / "weights.safetensors", "d03", tmp_path / "none")
    (tmp_path / "weights.safetensors").write_bytes(b"pickled")
    with pytest.raises(DataError, match="holds no safetensors"):
        TEXT_TRIALS.export(config, tmp_path / "weights.safetensors", config.lattice.largest.label, tmp_path / "none")


@pytest.mark.parametrize("method", ["SortedNet", "Independent"])
@pytest.mark.parametrize(("precision", "attention"), [("fp32", "sdpa"), ("bf16", "eager")])
def test_on_a_cpu_attention_is_by_matrix_products_in_bf16(method: str, precision: str, attention: str) -> None:
    parts = TEXT_TRIALS.assemble(tiny(method=method, precision=precision), 0, None, CPU)
    found = {m.config._attn_implementation for m in parts.network.modules() if isinstance(m, BertSelfAttention)}
    assert found == {attention}


def test_fewer_examples_are_spread_over_the_data_set_and_the_same_for_every_seed() -> None:
    config = tiny(train_examples=10)
    assert config.identity() != tiny().identity()
    tokenizer, whole = _encoder("tiny-bert", "characters", None).tokenizer, load().train
    expected = [tokenizer.encode(whole[number * len(whole) // 10].first).ids for number in range(10)]
    for seed in (0, 1):
        task = TEXT_TRIALS.assemble(config, seed, None, CPU).task
        met = {tuple(ids.tolist()) for ids in task.gather(task.selection(0))["ids"]}
        assert len(met) == 8
        length = max(map(len, met))
        assert met <= {tuple(ids + [0] * (length - len(ids))) for ids in expected}


def test_each_of_separate_encoders_is_trained_as_if_it_were_alone() -> None:
    def measured(**settings: Any) -> dict[str, float]:
        parts = TEXT_TRIALS.assemble(tiny(updates=12, learning_rate=1e-3, **settings), 3, None, CPU)
        return list(fit(parts.recipe, 3, parts.task, parts.network, parts.macs, CPU))[-1].metrics

    together = measured(method="Independent")
    small, large = (target.label for target in tiny().lattice)
    for label, which in ((small, "smallest"), (large, "largest")):
        alone = measured(sampler=f"fixed({which})")
        assert together[f"test_loss/{label}"] == pytest.approx(alone[f"test_loss/{label}"], rel=1e-5)
        assert together[f"updates/{label}"] == alone[f"updates/{label}"] == 12
    shared = measured(method="NS")
    assert shared[f"test_loss/{small}"] != pytest.approx(together[f"test_loss/{small}"], rel=1e-3)


def test_an_encoder_in_a_folder_is_known_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    saved(tmp_path / "one")
    saved(tmp_path / "other")
    dimensions = {"depth": [1, 2]}
    one, other = (
        tiny(network=str(tmp_path / name), dimensions=dimensions, combination="product") for name in ("one", "other")
    )
    assert one.network.name == str(tmp_path / "one")
    assert str(tmp_path) not in json.dumps(one.identity())
    assert (one.identity(), TEXT_TRIALS.checksum(one, None)) == (other.identity(), TEXT_TRIALS.checksum(other, None))
    (tmp_path / "other" / "tokenizer.json").write_text("{}")
    assert TEXT_TRIALS.checksum(one, None) != TEXT_TRIALS.checksum(other, None)
    (tmp_path / "other" / "model.safetensors").unlink()
    with pytest.raises(DataError, match="has no model"):
        TEXT_TRIALS.checksum(other, None)
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert", "hidden_size": 0}')
    with pytest.raises(DataError, match="it is no configuration of a model"):
        tiny(network=str(tmp_path / "other"))


def test_names_of_characters_are_of_seven_kinds_and_the_same_in_every_python() -> None:
    data = load()
    assert (len(data.train), len(data.test), data.classes) == (9_998, 1_457, CLASSES)
    assert data.checksum == "eadccfa885d8c94ddfd9f41618570c1e0a9d73586f05eecfed4112fa63a4b0d6"
    named = {each.first: CLASSES[int(each.target)] for each in (*data.train, *data.test)}
    assert named["latin small letter a with grave"] == "lower-case letter"
    assert named["digit seven"] == "number"
    assert not {each.first for each in data.train} & {each.first for each in data.test}


@pytest.mark.parametrize("name", ["characters"])
def test_what_is_said_of_a_data_set_is_so(name: str) -> None:
    said, data = TEXTS[name], text_dataset(name).load(None)
    assert (said.train_examples, said.test_examples) == (len(data.train), len(data.test))
    assert (said.classes, said.checksum(None)) == (len(data.classes), data.checksum)


def test_a_task_of_glue_is_the_folders_that_is_given_or_the_hubs(tmp_path: Path) -> None:
    config = tiny(dataset="cola")
    assert TEXT_TRIALS.checksum(config, None).startswith("nyu-mll/glue@bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c/cola")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path}/CoLA/train.tsv is not there")):
        TEXT_TRIALS.checksum(config, tmp_path)


def test_a_data_set_of_ones_own_needs_no_edit_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "TEXTS", dict(TEXTS))
    examples = tuple(Example(f"the {word} thing", "", number % 2) for number, word in enumerate("abcdefghij"))
    own = TextDataset(
        "matthews", 2, False, 10, 10, 5, lambda _: "own", lambda _: TextData(examples, examples, ("no", "yes"), "own")
    )
    register("own", own)
    config = tiny(dataset="own", epochs=2, batch_size=4)
    assert config.budget.amount == 2 * (10 // 4)
    assert TEXT_TRIALS.checksum(config, None).startswith("own ")
    parts = TEXT_TRIALS.assemble(config, 0, None, CPU)
    assert parts.task.metrics == TEXT_TRIALS.task.metrics
    with pytest.raises(ConfigError, match="is there already"):
        register("own", TEXTS["characters"])
