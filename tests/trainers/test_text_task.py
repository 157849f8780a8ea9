"""Texts through the loop: tokens, batches of similar length, metrics, and a nested encoder trained and resumed."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification

from trainers import Lattice
from trainers.data.text.examples import Example, Measured
from trainers.data.text.tokens import Tokens, tokenize
from trainers.errors import ConfigError
from trainers.measuring.cost import MacCounter
from trainers.nested.encoder import NestedEncoder
from trainers.optimizers.adamw import AdamW
from trainers.submodel import SubModel
from trainers.tasks.texts import TextTask
from trainers.training.ledger import Budget
from trainers.training.loop import Snapshot, fit
from trainers.training.recipe import Recipe
from trainers.training.schedule import Schedule

CPU = torch.device("cpu")
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "good", "bad", *(f"w{n}" for n in range(20))]
LATTICE = Lattice((SubModel(depth=1, hidden=16, heads=2), SubModel(depth=2, hidden=32, heads=4)))


def tokenizer() -> Any:
    made = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return made


def reviews(count: int, seed: int) -> list[Example]:
    """Texts of 3 to 30 words, one of which says what they are."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        words, label = [f"w{n}" for n in rng.integers(20, size=rng.integers(2, 30))], int(rng.integers(2))
        words.insert(int(rng.integers(len(words))), ("bad", "good")[label])
        found.append(Example(" ".join(words), "", label))
    return found


def tokens(count: int, seed: int, longest: int = 40) -> Tokens:
    return tokenize(tokenizer(), reviews(count, seed), longest, scores=False)


def task(seed: int = 0, measured: Measured = "accuracy", batch_size: int = 8, pairs: bool = True) -> TextTask:
    return TextTask(
        tokens(203, 0), tokens(70, 1), 2, batch_size, seed, CPU, measured, padding=0, longest=40, pairs=pairs
    )


def test_pairs_are_told_apart_and_what_is_too_long_is_cut() -> None:
    pair = Example("good w1", "bad w2 w3 w4 w5", 1)
    whole = tokenize(tokenizer(), [pair, Example("w7", "", 0)], 30, scores=False)
    assert whole.ids.tolist() == [1, 4, 7, 2, 5, 8, 9, 10, 11, 2, 1, 13, 2]
    assert whole.kinds.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    assert (whole.starts.tolist(), whole.targets.tolist()) == ([0, 10, 13], [1, 0])
    assert tokenize(tokenizer(), [pair], 7, scores=True).lengths.tolist() == [7]
    assert tokenize(tokenizer(), [pair], 7, scores=True).targets.dtype == torch.float32
    with pytest.raises(ConfigError, match="a length of 3 leaves no room beside 3 special tokens"):
        tokenize(tokenizer(), [pair], 3, scores=False)


def test_a_batch_holds_its_texts_padded_to_the_longest_of_them() -> None:
    one, train = task(), tokens(203, 0)
    for index in (0, 7, 24, 25):
        selection = one.selection(index)
        batch, numbers = one.gather(selection), selection[:, -1].tolist()
        longest = int(train.lengths[numbers].max())
        (length,) = one.contents(index)
        assert one.contents(index) == {length: 8}
        assert batch["ids"].shape == (8, length)
        assert longest <= length < longest + 8
        for row, number in enumerate(numbers):
            text = train.ids[train.starts[number] : train.starts[number + 1]]
            assert batch["ids"][row].tolist() == text.tolist() + [0] * (length - len(text))
            assert batch["mask"][row].sum() == len(text)
        assert batch["targets"].tolist() == train.targets[numbers].tolist()


def test_an_epoch_has_every_text_at_most_once_in_an_order_of_the_seed_with_little_padding() -> None:
    first, again, other = task(0), task(0), task(1)
    epochs = []
    for epoch in range(2):
        drawn = [first.selection(epoch * 25 + index) for index in range(25)]
        numbers = [number for selection in drawn for number in selection[:, -1].tolist()]
        assert len(set(numbers)) == len(numbers) == 200
        epochs.append(numbers)
        padding = sum(selection[:, :-1].lt(0).sum() for selection in drawn) / sum(s[:, :-1].numel() for s in drawn)
        assert padding < 0.25  # 0.45 if texts of any length came together
    assert epochs[0] != epochs[1]
    assert torch.equal(first.selection(30), again.selection(30))
    assert not torch.equal(first.selection(30), other.selection(30))
    lengths = [selection.shape[1] for selection in map(first.selection, range(25))]
    assert lengths != sorted(lengths)


class Fixed:
    """Gives the logits that are said, whatever the texts: by the ids of their first words."""

    def __init__(self, scores: torch.Tensor) -> None:
        self.scores = scores

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        return self.scores[ids.sum(1) % len(self.scores)]


def test_a_batch_is_padded_to_no_more_than_the_encoder_has_positions_for() -> None:
    long = tokenize(tokenizer(), [Example("good " * 60, "", 0), Example("bad " * 33, "", 1)] * 4, 37, scores=False)
    one = TextTask(long, long, 2, 4, 0, CPU, "accuracy", padding=0, longest=37, pairs=False)
    ids, mask = one.inputs(one.gather(one.selection(0)))
    assert ids.shape == mask.shape == (4, 37)
    assert one.contents(0) == {37: 4}
    assert one.shape == 37


@pytest.mark.parametrize("measured", ["accuracy", "f1", "matthews"])
def test_metrics_of_classes_are_those_of_scikit_learn(measured: Measured) -> None:
    one, test = task(measured=measured), tokens(70, 1)
    scores = torch.randn(23, 2, generator=torch.Generator().manual_seed(0))
    found = one.evaluate(Fixed(scores), None, "")  # type: ignore[arg-type]
    sums = [int(test.ids[start:end].sum()) % 23 for start, end in zip(test.starts, test.starts[1:], strict=False)]
    predicted, targets = scores[sums].argmax(1).numpy(), test.targets.numpy()
    expected = {
        "accuracy": (predicted == targets).mean(),
        "f1": f1_score(targets, predicted),
        "matthews": matthews_corrcoef(targets, predicted),
    }[measured]
    assert found["score"] == pytest.approx(100 * expected)
    assert found["loss"] == pytest.approx(torch.nn.functional.cross_entropy(scores[sums], test.targets).item())
    assert found["constant"] == 0


@pytest.mark.parametrize("measured", ["f1", "matthews", "spearman"])
def test_a_constant_prediction_is_a_number_and_said(measured: Measured) -> None:
    scored = tokenize(tokenizer(), [Example(e.first, "", n / 7) for n, e in enumerate(reviews(30, 3))], 40, scores=True)
    scores, classes = measured == "spearman", 0 if measured == "spearman" else 2
    test = scored if scores else tokens(30, 3)
    one = TextTask(test, test, classes, 4, 0, CPU, measured, padding=0, longest=40, pairs=True)
    alike = torch.tensor([[1.0, 0.0]])
    found = one.evaluate(Fixed(alike[:, : max(1, classes)]), None, "")  # type: ignore[arg-type]
    assert (found["score"], found["constant"]) == (0.0, 1.0)
    assert np.isfinite(found["loss"])
    if scores:
        ramp = torch.arange(13.0)[:, None]
        sums = [int(test.ids[start:end].sum()) % 13 for start, end in zip(test.starts, test.starts[1:], strict=False)]
        expected = spearmanr(test.targets.numpy(), ramp[sums, 0].numpy()).statistic
        assert one.evaluate(Fixed(ramp), None, "")["score"] == pytest.approx(100 * expected)  # type: ignore[arg-type]


def encoder(seed: int = 0) -> NestedEncoder:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=48,
    )  # fmt: skip
    return NestedEncoder(BertForSequenceClassification(config), LATTICE)


def trained(updates: int, resume: Path | None = None, stop: int | None = None) -> tuple[NestedEncoder, list[Snapshot]]:
    network, one = encoder(), task()
    macs = MacCounter(network, one.example)
    recipe = Recipe(
        LATTICE, Budget("updates", updates), partial(AdamW, weight_decay=0.0),
        lambda progress: 3e-3 * Schedule("linear").share(progress), clip_norm=1.0, evaluations=2,
    )  # fmt: skip
    seen = []
    for snapshot in fit(recipe, 0, one, network, macs, CPU, resume):
        seen.append(snapshot)
        if snapshot.step == stop:
            break
    return network, seen


def test_a_sorted_encoder_learns_and_counts_what_its_batches_hold() -> None:
    network, seen = trained(150)
    metrics = seen[-1].metrics
    assert all(metrics[f"test_score/{target.label}"] > 90 for target in LATTICE)
    one, counter = task(), MacCounter(network, task().example)
    assert metrics["ledger/samples"] == 150 * 8
    drawn = {target: metrics[f"updates/{target.label}"] for target in LATTICE}
    assert sum(drawn.values()) == 150
    lengths = {length for index in range(150) for length in one.contents(index)}
    for target in LATTICE:
        for length in lengths:
            expected = network.size(target).macs(network.head_size, length) + 2 * network.size(target).hidden
            assert counter(target, length) == expected
    least, most = (
        counter(target, length) for target, length in zip(LATTICE, (min(lengths), max(lengths)), strict=True)
    )
    assert 1200 * least < metrics["ledger/macs"] < 1200 * most


def test_stopped_and_resumed_it_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    whole, seen = trained(30)
    _, stopped = trained(30, stop=11)
    stopped[-1].save(tmp_path)
    resumed, rest = trained(30, resume=tmp_path)
    assert rest[-1].metrics == seen[-1].metrics
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_what_a_text_is_found_to_be_does_not_depend_on_the_padding_beside_it() -> None:
    network, ids = encoder().eval(), torch.tensor([[1, 4, 9, 10, 2]])
    padded = torch.cat([ids, torch.zeros(1, 11, dtype=torch.int64)], 1)
    for target in LATTICE:
        network.activate(target)
        with torch.no_grad():
            alone = network(ids, torch.ones_like(ids)).logits
            beside = network(padded, padded.ne(0).long()).logits
        torch.testing.assert_close(alone, beside, rtol=1e-5, atol=1e-6)
