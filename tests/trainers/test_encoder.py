"""Nested encoders beside Hugging Face's own: bit for bit, whole and cut out, with their gradients."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    MPNetConfig,
    MPNetForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from trainers import Lattice
from trainers.nested.encoder import NestedEncoder
from trainers.nested.encoder_size import EncoderSize
from trainers.nested.layers.embedding import NestedEmbedding
from trainers.nested.layers.sizes import Size
from trainers.submodel import SubModel

SMALL = {
    "vocab_size": 60, "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 80,
    "max_position_embeddings": 20, "num_labels": 3,
}  # fmt: skip
FAMILIES: dict[str, tuple[Any, Any]] = {
    "bert": (BertConfig, BertForSequenceClassification),
    "roberta": (RobertaConfig, RobertaForSequenceClassification),
    "mpnet": (MPNetConfig, MPNetForSequenceClassification),
}
SIZES = ((1, 16, 2, 40), (2, 24, 3, 40), (4, 32, 4, 80), (4, 48, 6, 80))
LATTICE = Lattice(tuple(SubModel(depth=d, hidden=h, heads=a, neurons=n) for d, h, a, n in SIZES))
PRODUCT = Lattice.product(depth=(1, 4), hidden=(16, 48), heads=(1, 2))


def plain(family: str) -> nn.Module:
    """With biases, norms and everything else away from where they start."""
    torch.manual_seed(0)
    config, model = FAMILIES[family]
    made: nn.Module = model(config(**SMALL))
    for parameter in made.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape))
    return made.eval()


def texts() -> tuple[Tensor, Tensor]:
    """Token ids of three texts, the second of them padded, and their mask."""
    ids = torch.randint(5, 60, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    ids[1, 5:], mask[1, 5:] = 1, 0
    return ids, mask


@pytest.mark.parametrize("family", FAMILIES)
def test_the_whole_is_the_plain_model_bit_for_bit_with_its_gradients(family: str) -> None:
    own, theirs = plain(family), plain(family)
    nested = NestedEncoder(own, LATTICE)
    ours, expected = nested(*texts()).logits, theirs(*texts()).logits
    assert torch.equal(ours, expected)
    ours.square().sum().backward()
    expected.square().sum().backward()
    found = {name.replace("network.", "", 1): p.grad for name, p in nested.named_parameters() if p.grad is not None}
    for name, parameter in theirs.named_parameters():
        if parameter.grad is not None:  # RoBERTa's token types have but one
            inner = name.split(".")
            if "layer" in inner:
                inner.insert(inner.index("layer") + 2, "layer")
            assert torch.equal(found[".".join(inner)], parameter.grad), name


@pytest.mark.parametrize("texts", [2, 20])  # fewer tokens than the table has rows, and more
@pytest.mark.parametrize("padding", [None, 0, 39])
def test_an_embedding_gives_the_table_the_gradient_that_slices_of_it_give_bit_for_bit(
    texts: int, padding: int | None
) -> None:
    torch.manual_seed(0)
    table = nn.Embedding(40, 12, padding)
    nested, theirs = NestedEmbedding(table, Size("hidden")), table.weight.detach().clone().requires_grad_()
    for hidden in (12, 8, 3):  # passes of one step: their gradients add up
        ids, weights = torch.randint(0, 30, (texts, 9)), torch.randn(texts, 9, hidden)  # ids come more than once
        nested.activate(SubModel(hidden=hidden))
        found, expected = nested(ids), nn.functional.embedding(ids, theirs[:, :hidden], padding)
        assert torch.equal(found, expected)
        (found * weights).sum().backward()
        (expected * weights).sum().backward()
    assert nested.weight.grad is not None
    assert theirs.grad is not None
    assert torch.equal(nested.weight.grad, theirs.grad)
    assert padding != 0 or nested.weight.grad[0].eq(0).all()


def test_a_batch_writes_to_no_row_of_the_tables_gradient_but_its_own() -> None:
    nested = NestedEmbedding(nn.Embedding(40, 12, 0), Size("hidden"))
    nested.weight.grad = torch.full((40, 12), -0.0)  # which adding a zero would turn into 0
    nested.activate(SubModel(hidden=8))
    nested(torch.tensor([[3, 7, 3, 0]])).sum().backward()
    written = nested.weight.grad.signbit().logical_not()
    assert written.nonzero()[:, 0].unique().tolist() == [0, 3, 7]
    assert not written[:, 8:].any()


@pytest.mark.parametrize("kept", ["first", "spaced"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_sub_model_is_a_genuine_smaller_model_bit_for_bit_which_saves_and_loads(
    family: str, kept: Any, tmp_path: Path
) -> None:
    nested = NestedEncoder(plain(family), LATTICE, kept)
    for target in LATTICE:
        nested.activate(target)
        alone: Any = nested.extract(target)
        assert type(alone) is FAMILIES[family][1]
        assert alone.config.hidden_size == target["hidden"]
        assert len(alone.base_model.encoder.layer) == target["depth"]
        alone.save_pretrained(tmp_path / target.label)
        again = FAMILIES[family][1].from_pretrained(tmp_path / target.label)
        with torch.no_grad():
            ours = nested(*texts()).logits
            assert torch.equal(ours, alone(*texts()).logits)
            assert torch.equal(ours, again.eval()(*texts()).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_that_are_not_named_are_as_many_as_the_hidden_size_has_room_for(family: str) -> None:
    nested = NestedEncoder(plain(family), Lattice.product(depth=(2, 4), hidden=(16, 48)))
    assert [nested.size(target).heads for target in nested.lattice] == [2, 6, 2, 6]
    for target in nested.lattice:
        nested.activate(target)
        with torch.no_grad():
            assert torch.equal(nested(*texts()).logits, nested.extract(target)(*texts()).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_a_sub_model_are_those_of_the_smaller_one_and_nothing_beside(family: str) -> None:
    target = LATTICE.targets[1]
    nested = NestedEncoder(plain(family), LATTICE, "spaced")
    nested.activate(target)
    alone = nested.extract(target)
    for model in (nested, alone):
        model(*texts()).logits.square().sum().backward()
    layers = {0: 0, 2: 1}  # of four, spaced
    expected = dict(alone.named_parameters())
    seen = set()
    for name, parameter in nested.named_parameters():
        path = name.replace("network.", "", 1).split(".")
        if "layer" in path:
            number = path.index("layer") + 1
            if int(path[number]) not in layers:
                assert parameter.grad is None
                continue
            path[number] = str(layers[int(path[number])])
            del path[number + 1]
        theirs = expected[".".join(path)]
        seen.add(".".join(path))
        if theirs.grad is None:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        inside = tuple(map(slice, theirs.shape))
        torch.testing.assert_close(parameter.grad[inside], theirs.grad, rtol=1e-5, atol=1e-6)
        outside = parameter.grad.clone()
        outside[inside] = 0
        assert not outside.any(), name
    assert seen == expected.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_that_a_sub_model_lacks_are_zero_where_the_configuration_has_room_for_them(family: str) -> None:
    nested = NestedEncoder(plain(family), Lattice((*PRODUCT, SubModel(depth=4, hidden=48, heads=6))))
    for target in nested.lattice:
        nested.activate(target)
        alone: Any = nested.extract(target)
        assert alone.config.num_attention_heads * nested.head_size == target["hidden"]
        inner = int(target["heads"]) * nested.head_size
        for name, weight in alone.named_parameters():  # nothing of heads that are not its own leaves with it
            if re.search(r"\.(query|key|value|q|k|v)\.", name):
                assert not weight[inner:].any(), name
                assert weight[:inner].any(), name
        with torch.no_grad():
            torch.testing.assert_close(nested(*texts()).logits, alone(*texts()).logits, rtol=1e-5, atol=1e-6)
    few, many = SubModel(depth=4, hidden=48, heads=1), SubModel(depth=4, hidden=48, heads=2)
    outputs = []
    for target in (few, many):
        nested.activate(target)
        outputs.append(nested(*texts()).logits)
    assert not torch.allclose(*outputs)


def test_spaced_layers_of_a_smaller_depth_are_among_those_of_a_larger() -> None:
    config = BertConfig(**{**SMALL, "num_hidden_layers": 12})
    nested = NestedEncoder(BertModel(config), Lattice.product(depth=(2, 3, 6, 12)), "spaced")
    assert {depth: sorted(layers) for depth, layers in nested._kept.items()} == {
        12: list(range(12)), 6: [0, 2, 4, 6, 8, 10], 3: [0, 4, 8], 2: [0, 4],
    }  # fmt: skip


def test_it_goes_on_as_before_whatever_sub_models_came_between() -> None:
    nested = NestedEncoder(plain("mpnet"), LATTICE)
    before = {}
    with torch.no_grad():
        for _ in range(2):
            for target in (*LATTICE, *reversed(LATTICE.targets)):
                nested.activate(target)
                logits = nested(*texts()).logits
                assert torch.equal(before.setdefault(target, logits), logits)
    copied = copy.deepcopy(nested)
    copied.activate(LATTICE.smallest)
    assert torch.equal(copied(*texts()).logits, before[LATTICE.smallest])


def test_flops_and_parameters_are_the_papers() -> None:
    base, large = EncoderSize(12, 768, 12, 3072), EncoderSize(24, 1024, 16, 4096)
    assert [round(size.flops(64, 128) / 1e9, 2) for size in (base, large)] == [22.36, 78.96]
    with torch.device("meta"):
        models = [
            BertModel(
                BertConfig(
                    hidden_size=size.hidden, num_hidden_layers=size.depth,
                    num_attention_heads=size.heads, intermediate_size=size.neurons,
                )
            )
            for size in (base, large)
        ]  # fmt: skip
    assert [round(sum(p.numel() for p in model.parameters()) / 1e6, 2) for model in models] == [109.48, 335.14]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no multiple of the head size": ({"hidden": (20, 48)}, "hidden=20: no multiple of the model's head size, 8"),
    "more layers than there are": ({"depth": (2, 5)}, "depth=5: give a whole number from 1 to the model's 4"),
    "a share": ({"hidden": (0.5, 1.0)}, "hidden=0.5: give a whole number"),
    "no such dimension": ({"width": (24, 48)}, "no dimension 'width': give depth, hidden, heads, neurons"),
    "not the whole": ({"depth": (1, 2)}, "depth: the model's own, 4, must be among them"),
    "more heads than fit": ({"hidden": (16, 48), "heads": (3, 6)}, "heads=3 of size 8 need a hidden size of 24"),
}


@pytest.mark.parametrize("case", WRONG)
def test_sub_models_that_cannot_be_are_refused_in_a_line(case: str) -> None:
    supports, hint = WRONG[case]
    with pytest.raises(ValueError, match=re.escape(hint)) as caught:
        NestedEncoder(plain("bert"), Lattice.product(**supports))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        (lambda: nn.Linear(2, 2), "Linear is none of the encoders that can be nested: bert, roberta, mpnet"),
        (lambda: BertModel(BertConfig(**SMALL, is_decoder=True)), "built as a decoder"),
    ],
)
def test_models_that_have_no_nested_form_are_refused_in_a_line(model: Any, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        NestedEncoder(model(), LATTICE)
