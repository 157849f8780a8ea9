"""A trial of image classification: the parts that a config, a seed and data stand for, and `fit` over them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from trainers.build import accelerator, build, mac_counter, multiply, prefers_channels_last
from trainers.config.trial import TrialConfig
from trainers.data.images.arrays import ImageArrays
from trainers.measuring.cost import MacCounter
from trainers.tasks.images import ImageClassification
from trainers.training.graphs import Graphs
from trainers.training.loop import Snapshot, fit
from trainers.training.recipe import Recipe
from trainers.training.state import Network


@dataclass(frozen=True)
class Parts:
    """What `fit` is handed: how, for what, which network, what it costs."""

    recipe: Recipe
    task: ImageClassification
    network: Network
    macs: MacCounter


def assemble(config: TrialConfig, seed: int, data: ImageArrays, device: torch.device) -> Parts:
    """The parts of a trial at its start, on the device.

    Args:
        config: resolved.
        seed: decides init, data order, augmentation and sampled sub-models; arms with the same seed are paired.
        data: the arrays of the config's data set.
        device: where to train.
    """
    images = config.task
    channels_last = prefers_channels_last(config.norm.policy, config.precision.activations, device)
    kernels = accelerator(device)
    augmentation = images.crop_padding, images.flip
    task = ImageClassification(
        data, images.batch_size, seed, device, *augmentation, channels_last, kernels.classification
    )
    nested = build(config, seed)
    network = multiply(nested, seed) if config.method.sharing == "separate" else nested
    network.to(device)
    if channels_last:
        network.to(memory_format=torch.channels_last)
    return Parts(Recipe.from_config(config, kernels.sgd), task, network, mac_counter(config))


def train(
    config: TrialConfig,
    seed: int,
    data: ImageArrays,
    device: torch.device,
    resume_from: Path | None = None,
    graphs: Graphs | None = None,
) -> Iterator[Snapshot]:
    """Trains a trial to the end of its budget; see `assemble` and `fit`, whose arguments and errors these are."""
    parts = assemble(config, seed, data, device)
    yield from fit(parts.recipe, seed, parts.task, parts.network, parts.macs, device, resume_from, graphs)
