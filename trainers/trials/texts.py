"""Trials of texts: what their configs stand for."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from trainers.building.accelerators import accelerator
from trainers.config.resolution import check_method, said
from trainers.config.text_trial import TextTrialConfig
from trainers.data.text.datasets import text_dataset
from trainers.data.text.examples import Example, TextData
from trainers.data.text.tokens import Tokens, tokenize
from trainers.data.thinning import evenly_spread
from trainers.errors import ConfigError
from trainers.extraction.encoders import export
from trainers.extraction.text_network import DESCRIPTION, TextNetwork
from trainers.measuring.cost import Cost, Macs
from trainers.nested.encoder import NestedEncoder
from trainers.nested.encoder_size import DEPTH, NEURONS
from trainers.nested.separate import SeparateNetworks
from trainers.networks.encoder_sources import encoder_source
from trainers.networks.encoders import PretrainedEncoder, blank, choose_attention, padding, positions
from trainers.optimizers.groups import GroupRules, freeze, parameter_groups
from trainers.sampling.names import sampler
from trainers.submodel import SubModel
from trainers.tasks.measures import measures
from trainers.tasks.names import task_class
from trainers.tasks.task import Shape
from trainers.tasks.texts import TextTask
from trainers.training.recipe import Recipe
from trainers.training.state import Network
from trainers.trials.kind import Parts


def resolve(given: Mapping[str, Any]) -> TextTrialConfig:
    """The explicit config of what a study says; see `TrialKind.resolve`.

    Args:
        given: settings, by full or short names.

    Raises:
        ConfigError: a name, value or combination that cannot be used.
        DataError: a folder that holds no encoder.
    """
    config = said(given, TextTrialConfig)
    data = text_dataset(config.task.dataset)
    config = config.model_copy(
        update={
            "task": config.task.of(data.train_examples),
            "network": config.network.resolved(),
            "method": config.method.resolved(),
            "optimizer": config.optimizer.resolved(),
            "precision": config.precision.resolved(),
        }
    )
    config.network.check()
    config = config.evaluated_on(data.test_examples)
    _check_length(config)
    batches, accumulation = _batches_per_epoch(config), config.method.accumulation
    budget = config.budget.resolved(batches, accumulation, len(config.lattice), lambda: _macs_per_step(config))
    config = config.model_copy(update={"budget": budget})
    check_method(config)
    task_class(config.task.name, TextTask)
    _check_encoder(config)
    _check_patterns(config)
    return config


def _check_length(config: TextTrialConfig) -> None:
    most = positions(config.network.source.config)
    if config.task.length > most:
        raise ConfigError(f"task.length={config.task.length}: {config.network.name} has positions for {most} tokens")


def _check_encoder(config: TextTrialConfig) -> None:
    """Refuses what is meant for networks of images."""
    method = config.method
    if sampler(method.sampler).continuous and not {*config.network.dimensions} <= {DEPTH, NEURONS}:
        raise ConfigError(
            f"sampler={method.sampler} draws between the targets, where hidden sizes and heads would not be whole: "
            "choose a sampler of targets"
        )


def _check_patterns(config: TextTrialConfig) -> None:
    given = config.optimizer
    if given.rates or given.frozen:
        with torch.device("meta"):
            plain = blank(config.network.source.config, _outputs(config))
        freeze(plain, given.frozen)
        parameter_groups(plain, given.weight_decay, GroupRules(given.decayed, given.rates))


def _outputs(config: TextTrialConfig) -> int:
    return text_dataset(config.task.dataset).classes or 1


def _batches_per_epoch(config: TextTrialConfig) -> int:
    """An epoch ends with its last full batch."""
    examples = config.task.train_examples or text_dataset(config.task.dataset).train_examples
    return examples // config.task.batch_size


def _macs_per_step(config: TextTrialConfig) -> int:
    """Of a batch of every target, forward, each text as long as it may be."""
    return config.task.batch_size * sum(cost.macs for cost in _costs(config).values())


def _macs(config: TextTrialConfig) -> Macs:
    full, head_size, outputs = config.network.full, config.network.head_size, _outputs(config)

    def count(sub_model: SubModel, tokens: Shape) -> int:
        assert isinstance(tokens, int)
        size = full.of(sub_model)
        return size.macs(head_size, tokens) + size.hidden * outputs

    return count


def _costs(config: TextTrialConfig) -> dict[str, Cost]:
    network, count, outputs, tokens = config.network, _macs(config), _outputs(config), config.task.length
    given = tuple(network.source.config.items())
    found = {}
    for target in config.lattice:
        size = network.full.of(target)
        sizes = tuple(size.in_config(network.head_size).items())
        flops = size.flops(network.head_size, tokens) + 2 * size.hidden * outputs
        found[target.label] = Cost(count(target, tokens), _parameters(given, sizes, outputs), flops)
    return found


@lru_cache(maxsize=256)
def _parameters(given: tuple[tuple[str, Any], ...], sizes: tuple[tuple[str, int], ...], outputs: int) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in blank({**dict(given), **dict(sizes)}, outputs).parameters())


def _network(config: TextTrialConfig, model: torch.nn.Module) -> Network:
    """A plain model nested, or cut into its targets."""
    freeze(model, config.optimizer.frozen)
    nested = NestedEncoder(model, config.lattice, config.network.kept)
    return SeparateNetworks.cut_out(nested) if config.method.sharing == "separate" else nested


def _described(config: TextTrialConfig, encoder: Mapping[str, Any], classes: Sequence[str]) -> TextNetwork:
    """A trial's network, less its weights.

    Args:
        encoder: its configuration, whole as it was fetched, or what is known of it without.
        classes: their names, where the data were read.
    """
    source, costs = text_dataset(config.task.dataset), _costs(config)
    return TextNetwork(
        encoder,
        _outputs(config),
        tuple(classes),
        source.pairs,
        _tells_texts_apart(config),
        config.task.length,
        tuple(dict(target.dims) for target in config.lattice),
        tuple(costs[target.label].macs for target in config.lattice),
        config.network.kept,
    )


def _tells_texts_apart(config: TextTrialConfig) -> bool:
    encoder = config.network.source.config
    pairs = text_dataset(config.task.dataset).pairs
    return pairs and encoder["model_type"] == "bert" and bool(encoder.get("type_vocab_size", 2) > 1)


def _parts(
    config: TextTrialConfig,
    seed: int,
    model: torch.nn.Module,
    train: Tokens,
    test: Tokens,
    device: torch.device,
    beside: Mapping[str, str] = MappingProxyType({}),
) -> Parts:
    source, encoder = text_dataset(config.task.dataset), config.network.source.config
    task = task_class(config.task.name, TextTask)(
        train,
        test,
        source.classes,
        config.task.batch_size,
        seed,
        device,
        source.measured,
        padding(encoder),
        positions(encoder),
        _tells_texts_apart(config),
        measures(config.task.metrics or ()),
        config.task.primary,
    )
    choose_attention(model, config.precision.activations, device)
    network = _network(config, model).to(device)
    return Parts(Recipe.from_config(config, kernels=accelerator(device)), task, network, _macs(config), beside)


class TextTrials:
    """Classifying and scoring texts as a `TrialKind`."""

    config = TextTrialConfig
    task = TextTask
    packages: tuple[str, ...] = ("transformers", "tokenizers", "safetensors", "scikit-learn", "scipy")

    def resolve(self, given: Mapping[str, Any]) -> TextTrialConfig:
        return resolve(given)

    def checksum(self, config: TextTrialConfig, folder: Path | None) -> str:
        return f"{text_dataset(config.task.dataset).checksum(folder)} {config.network.source.checksum}"

    def fetch(self, config: TextTrialConfig, folder: Path | None) -> None:
        # Not by way of what is kept below: whoever prepares need not hold the weights.
        data = text_dataset(config.task.dataset).load(folder)
        config.network.source.fetch(folder, lambda: _texts(data))

    def updates_per_epoch(self, config: TextTrialConfig) -> float | None:
        return _batches_per_epoch(config) / config.method.accumulation

    def test_examples(self, config: TextTrialConfig) -> int:
        return text_dataset(config.task.dataset).test_examples

    def shape(self, config: TextTrialConfig) -> Shape:
        return config.task.length

    def macs(self, config: TextTrialConfig) -> Macs:
        return _macs(config)

    def costs(self, config: TextTrialConfig) -> dict[str, Cost]:
        return _costs(config)

    def assemble(self, config: TextTrialConfig, seed: int, folder: Path | None, device: torch.device) -> Parts:
        name, length, count = config.task.dataset, config.task.length, config.task.train_examples
        encoder = _encoder(config.network.name, name, folder)
        train, test = _tokens(config.network.name, name, length, count, folder)
        described = _described(config, encoder.config, _read(name, folder).classes)
        model, beside = encoder.with_head(_outputs(config), seed), described.files(encoder.tokenizer)
        return _parts(config, seed, model, train, test, device, beside)

    def rehearse(self, config: TextTrialConfig, device: torch.device) -> Parts:
        source, count = text_dataset(config.task.dataset), config.task.batch_size
        texts = _unread(count, min(source.tokens, config.task.length), scores=not source.classes)
        model = blank(config.network.source.config, _outputs(config))
        return _parts(config, 0, model, texts, texts, device)

    def export(self, config: TextTrialConfig, weights: Path, label: str, folder: Path) -> None:
        if (weights.parent / DESCRIPTION).is_file():
            network = TextNetwork.read(weights.parent)
        else:  # an earlier version's, which wrote none
            network = _described(config, config.network.source.config, ())
        export(network, weights, label, folder)


TEXT_TRIALS = TextTrials()


@lru_cache(maxsize=1)
def _read(name: str, folder: Path | None) -> TextData:
    return text_dataset(name).load(folder)


@lru_cache(maxsize=1)
def _encoder(encoder: str, name: str, folder: Path | None) -> PretrainedEncoder:
    return encoder_source(encoder).fetch(folder, lambda: _texts(_read(name, folder)))


def _texts(data: TextData) -> Iterable[str]:
    """What is trained on."""
    return (text for example in data.train for text in (example.first, example.second))


@lru_cache(maxsize=1)
def _tokens(encoder: str, name: str, length: int, count: int | None, folder: Path | None) -> tuple[Tokens, Tokens]:
    """Of the training part, or so many examples of it, and of the test part."""
    data, tokenizer = _read(name, folder), _encoder(encoder, name, folder).tokenizer
    kept = data.train if count is None else tuple(data.train[i] for i in evenly_spread(count, len(data.train)).tolist())

    def read(examples: tuple[Example, ...]) -> Tokens:
        return tokenize(tokenizer, examples, length, scores=not data.classes)

    return read(kept), read(data.test)


def _unread(count: int, tokens: int, scores: bool) -> Tokens:
    """Texts of one length that say nothing."""
    ids = torch.zeros(count * tokens, dtype=torch.int64)
    targets = torch.zeros(count, dtype=torch.float32 if scores else torch.int64)
    return Tokens(ids, ids, torch.arange(0, (count + 1) * tokens, tokens), targets)
