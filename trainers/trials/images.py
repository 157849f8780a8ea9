"""Trials of image classification: what their configs stand for."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from trainers.building.accelerators import accelerator, prefers_channels_last
from trainers.building.image_checks import check_network, check_norms, check_patterns
from trainers.building.image_costs import mac_counter, target_costs, widths_within
from trainers.building.image_networks import build, multiply, trained_weights
from trainers.config.image_trial import ImageTrialConfig
from trainers.config.resolution import check_method, said
from trainers.data.datasets import dataset
from trainers.data.images.arrays import ImageArrays
from trainers.errors import ConfigError
from trainers.extraction.export import export
from trainers.measuring.cost import Cost, MacCounter
from trainers.networks.trained_weights import weights_checksum
from trainers.sampling.names import sampler
from trainers.tasks.images import ImageClassification
from trainers.tasks.measures import measures
from trainers.tasks.names import task_class
from trainers.tasks.task import Shape
from trainers.training.graphs import Graphs
from trainers.training.loop import Snapshot, fit
from trainers.training.recipe import Recipe
from trainers.trials.kind import Parts


def resolve(given: Mapping[str, Any]) -> ImageTrialConfig:
    """The explicit config of what a study says; see `TrialKind.resolve`.

    Args:
        given: settings, by full or short names.

    Raises:
        ConfigError: a name, value or combination that cannot be used.
    """
    config = said(given, ImageTrialConfig)
    config.network.check()
    _check_batch(config)
    check_network(config)
    network = config.network.resolved(widths_within(config) if config.network.within else ())
    config = config.model_copy(update={"network": network})
    config = config.model_copy(
        update={
            "task": config.task.resolved(),
            "method": config.method.resolved(),
            "optimizer": config.optimizer.resolved(),
            "norm": config.norm.resolved(config.method.recipe.affine),
            "precision": config.precision.resolved(),
        }
    )
    config = config.evaluated_on(dataset(config.task.dataset).test_images)
    batches, accumulation = _batches_per_epoch(config), config.method.accumulation
    budget = config.budget.resolved(batches, accumulation, len(config.lattice), lambda: _macs_per_step(config))
    config = config.model_copy(update={"budget": budget})
    check_method(config)
    task_class(config.task.name, ImageClassification)
    _check_norm(config)
    check_norms(config)
    check_patterns(config)
    return config


def _check_batch(config: ImageTrialConfig) -> None:
    images = dataset(config.task.dataset).train_images
    if images and config.task.batch_size > images:
        raise ConfigError(
            f"task.batch_size={config.task.batch_size}: {config.task.dataset} has {images:,} training images: give at "
            "most as many"
        )


def _batches_per_epoch(config: ImageTrialConfig) -> float | None:
    images = config.task.train_examples or dataset(config.task.dataset).train_images
    return images / config.task.batch_size if images else None


def _macs_per_step(config: ImageTrialConfig) -> int:
    """Of a batch of every target, forward."""
    return config.task.batch_size * sum(cost.macs for cost in target_costs(config).values())


def _check_norm(config: ImageTrialConfig) -> None:
    method, norm = config.method, config.norm
    if sampler(method.sampler).continuous and norm.policy == "batch-switchable":
        raise ConfigError(
            f"sampler={method.sampler} draws widths between the targets, for which norm=batch-switchable has no "
            "statistics: choose another norm or a sampler of targets"
        )
    if norm.affine == "line" and norm.policy == "batch-switchable":
        raise ConfigError("affine=line needs affine parameters that widths share: choose another norm")
    if norm.affine == "line" and method.sharing != "nested":
        raise ConfigError(f"affine=line is a line along the width of one network; sharing={method.sharing} has many")


def assemble(config: ImageTrialConfig, seed: int, data: ImageArrays, device: torch.device) -> Parts:
    """The parts of a trial at its start, on the device; see `TrialKind.assemble`.

    Args:
        data: the arrays of the config's data set.
    """
    images = config.task
    channels_last = prefers_channels_last(config.norm.policy, config.precision.activations, device)
    kernels = accelerator(device)
    augmentation = images.crop_padding, images.flip
    kept = data.thinned(images.train_examples)
    task = task_class(images.name, ImageClassification)(
        kept,
        images.batch_size,
        seed,
        device,
        *augmentation,
        channels_last,
        kernels.classification,
        measures(images.metrics or ()),
        images.primary,
    )
    trained = trained_weights(config)
    nested = build(config, seed, trained)
    network = multiply(nested, seed, trained) if config.method.sharing == "separate" else nested
    network.to(device)
    if channels_last:
        network.to(memory_format=torch.channels_last)
    return Parts(Recipe.from_config(config, config.norm, kernels), task, network, mac_counter(config))


def train(
    config: ImageTrialConfig,
    seed: int,
    data: ImageArrays,
    device: torch.device,
    resume_from: Path | None = None,
    graphs: Graphs | None = None,
) -> Iterator[Snapshot]:
    """Trains a trial to the end of its budget; see `assemble` and `fit`, whose arguments and errors these are."""
    parts = assemble(config, seed, data, device)
    yield from fit(parts.recipe, seed, parts.task, parts.network, parts.macs, device, resume_from, graphs)


class ImageTrials:
    """Image classification as a `TrialKind`."""

    config = ImageTrialConfig
    task = ImageClassification
    packages: tuple[str, ...] = ("torchvision", "scikit-learn")

    def resolve(self, given: Mapping[str, Any]) -> ImageTrialConfig:
        return resolve(given)

    def checksum(self, config: ImageTrialConfig, folder: Path | None) -> str:
        data, network = dataset(config.task.dataset).checksum(), config.network
        return f"{data} {weights_checksum(network.weights_file)}" if network.weights else data

    def fetch(self, config: ImageTrialConfig, folder: Path | None) -> None:
        trained_weights(config)
        dataset(config.task.dataset).fetch(folder)

    def updates_per_epoch(self, config: ImageTrialConfig) -> float | None:
        batches = _batches_per_epoch(config)
        return None if batches is None else batches / config.method.accumulation

    def test_examples(self, config: ImageTrialConfig) -> int:
        return dataset(config.task.dataset).test_images

    def shape(self, config: ImageTrialConfig) -> Shape:
        return dataset(config.task.dataset).shape

    def macs(self, config: ImageTrialConfig) -> MacCounter:
        return mac_counter(config)

    def costs(self, config: ImageTrialConfig) -> dict[str, Cost]:
        return target_costs(config)

    def assemble(self, config: ImageTrialConfig, seed: int, folder: Path | None, device: torch.device) -> Parts:
        return assemble(config, seed, _arrays(config.task.dataset, folder), device)

    def rehearse(self, config: ImageTrialConfig, device: torch.device) -> Parts:
        whole = config.model_copy(update={"task": config.task.model_copy(update={"train_examples": None})})
        return assemble(whole, 0, _black(config), device)

    def export(self, config: ImageTrialConfig, weights: Path, label: str, folder: Path) -> None:
        export(config, weights, label, folder)


IMAGES = ImageTrials()


@lru_cache(maxsize=1)
def _arrays(name: str, folder: Path | None) -> ImageArrays:
    return dataset(name).load(folder)


def _black(config: ImageTrialConfig) -> ImageArrays:
    """A batch of images of a config's data set before it is fetched."""
    source, count = dataset(config.task.dataset), config.task.batch_size
    images, labels = torch.zeros(count, *source.shape, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64)
    return ImageArrays(images, labels, images[:1], labels[:1], *source.statistics(), "black")
