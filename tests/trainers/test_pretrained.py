"""Encoders with weights: from a folder as Hugging Face's `save_pretrained` writes it, and what is refused of one."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
)

from tests.trainers.test_text_task import WORDS, tokenizer
from trainers import Lattice
from trainers.errors import ConfigError, DataError
from trainers.nested.encoder import NestedEncoder
from trainers.networks.encoder_sources import ENCODERS, FolderEncoder, encoder_source
from trainers.networks.encoders import PretrainedEncoder, positions
from trainers.submodel import SubModel

SMALL = {
    "vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 40,
}  # fmt: skip
FAMILIES: dict[str, tuple[Any, Any, int]] = {
    "bert": (BertConfig, BertModel, 40),
    "roberta": (RobertaConfig, RobertaModel, 38),
    "mpnet": (MPNetConfig, MPNetModel, 38),
}


def saved(folder: Path, family: str = "bert") -> Any:
    """An encoder, as its folder holds it."""
    torch.manual_seed(3)
    config, model, _ = FAMILIES[family]
    made = model(config(**SMALL))
    made.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    return made


def read(folder: Path) -> PretrainedEncoder:
    """The encoder in a folder."""
    return FolderEncoder(folder).fetch(None, lambda: [])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_keeps_its_weights_and_draws_its_head_from_the_seed(family: str, tmp_path: Path) -> None:
    made = saved(tmp_path, family).eval()
    encoder = read(tmp_path)
    assert positions(encoder.config) == FAMILIES[family][2]
    first, again, other = (encoder.with_head(3, seed).eval() for seed in (0, 0, 1))
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.equal(first.base_model(ids).last_hidden_state, made(ids).last_hidden_state)
        assert torch.equal(first(ids).logits, again(ids).logits)
        assert not torch.equal(first(ids).logits, other(ids).logits)
        assert first(ids).logits.shape == (1, 3)
    others = dict(other.named_parameters())
    heads = {name for name, weight in first.named_parameters() if not torch.equal(weight, others[name])}
    assert heads
    assert all(name.startswith("classifier.") and name.endswith("weight") for name in heads)


def test_a_model_with_a_head_is_read_with_the_head_if_it_fits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**SMALL, num_labels=2)).eval()
    model.save_pretrained(tmp_path)
    tokenizer().save(str(tmp_path / "tokenizer.json"))
    encoder, ids = read(tmp_path), torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.equal(encoder.with_head(2, 0).eval()(ids).logits, model(ids).logits)
        assert encoder.with_head(4, 0)(ids).logits.shape == (1, 4)


def test_what_is_cut_out_of_a_pretrained_encoder_is_read_again(tmp_path: Path) -> None:
    saved(tmp_path / "large")
    lattice = Lattice((SubModel(depth=1, hidden=8, heads=1), SubModel(depth=2, hidden=16, heads=2)))
    nested = NestedEncoder(read(tmp_path / "large").with_head(2, 0), lattice)
    small: Any = nested.extract(lattice.smallest)
    small.save_pretrained(tmp_path / "small")
    shutil.copy(tmp_path / "large" / "tokenizer.json", tmp_path / "small")
    again, ids = read(tmp_path / "small"), torch.tensor([[5, 6, 7, 8]])
    nested.activate(lattice.smallest)
    with torch.no_grad():
        assert torch.equal(again.with_head(2, 0).eval()(ids).logits, nested.eval()(ids).logits)
    assert FolderEncoder(tmp_path / "small").checksum != FolderEncoder(tmp_path / "large").checksum


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def _reshaped(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 32}))


def _without(name: str) -> Callable[[Path], None]:
    def lose(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        save_file({key: value for key, value in weights.items() if key != name}, folder / "model.safetensors")

    return lose


def _with_another(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "decoder.weight": torch.zeros(2)}, folder / "model.safetensors")


def _edited(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return edit


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors (there is config"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
    "no folder": (shutil.rmtree, "has no config.json (there is no such folder)"),
    "cut off": (_cut, "model.safetensors: it is cut off or damaged"),
    "another size": (_reshaped, "it is another configuration's"),
    "a weight less": (_without("encoder.layer.1.output.dense.weight"), "the weights lack 'bert.encoder.layer.1.output"),
    "a weight more": (_with_another, "the weights hold 'bert.decoder.weight', which a model of this"),
    "another tokenizer": (_edited(vocab_size=7), "the tokenizer has 26 tokens, the weights 7: it is another model's"),
    "layers without number": (_edited(num_hidden_layers=10**9), "config.json is of a model with"),
    "gigantic sizes": (_edited(hidden_size=10**6), "it is another model's"),
    "too deep": (lambda folder: (folder / "config.json").write_text("[" * 100_000), "it is no configuration of a"),
    "a folder for a file": (
        lambda folder: ((folder / "config.json").unlink(), (folder / "config.json").mkdir()), "has no config.json"
    ),
    "another kind": (_edited(model_type="gpt2"), "model_type 'gpt2' is none of bert, roberta, mpnet"),
    "no configuration": (lambda folder: (folder / "config.json").write_text("[]"), "it is no configuration of a model"),
    "no json": (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer.json: it is no tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGES)
def test_what_is_not_as_it_should_be_is_refused_in_a_line(case: str, tmp_path: Path) -> None:
    damage, hint = DAMAGES[case]
    saved(tmp_path / "e")
    damage(tmp_path / "e")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "e").with_head(2, 0)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_an_encoder_by_its_path_and_what_is_neither_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "e", "roberta")
    found = encoder_source(str(tmp_path / "e"))
    assert found.config["model_type"] == "roberta"
    before = found.checksum
    assert before == encoder_source(f"{tmp_path}/../{tmp_path.name}/e").checksum
    (tmp_path / "e" / "tokenizer.json").write_text(tokenizer().to_str())
    assert found.checksum != before
    with pytest.raises(ConfigError, match="did you mean 'minilm'"):
        encoder_source("minilmm")


def test_an_untrained_encoder_is_drawn_from_the_seed_and_reads_the_words_of_its_texts() -> None:
    texts = ["Small letter a", "small letter b", "SMALL sign", *(f"word{n}" for n in range(3000))]
    encoder = ENCODERS["tiny-bert"].fetch(None, lambda: texts)
    words = encoder.tokenizer.get_vocab()
    assert len(words) == encoder.config["vocab_size"]
    assert [words[word] for word in ("[PAD]", "small", "letter", "a")] == [0, 4, 5, 6]  # then by alphabet
    assert encoder.tokenizer.encode("small LETTER zzz").ids == [2, 4, 5, 1, 3]
    one, again, other = (dict(encoder.with_head(3, seed).named_parameters()) for seed in (0, 0, 1))
    for name, weight in one.items():
        assert torch.equal(weight, again[name])
        assert torch.equal(weight, other[name]) == (weight.ndim == 1), name
    assert torch.equal(one["bert.encoder.layer.0.output.LayerNorm.weight"], torch.ones(64))


def test_without_transformers_a_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    encoder = read(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'sortednet-studies\[text\]'"):
        encoder.with_head(2, 0)
