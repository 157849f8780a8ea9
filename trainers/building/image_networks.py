"""From a config to a network: the plain architecture, made nested or multiplied, initialised from the seed."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

from trainers.accelerated.accelerator import OF_NETWORKS
from trainers.building.initial_weights import initialise, load_pretrained
from trainers.config.image_trial import ImageTrialConfig
from trainers.config.images import ImagesConfig
from trainers.config.network import NetworkConfig
from trainers.config.norm import NormConfig
from trainers.data.datasets import dataset
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.nested.depth import DEPTH
from trainers.nested.describing import Description, examine
from trainers.nested.dimensions import Dimensions, Stage
from trainers.nested.exchange import exchange, nest
from trainers.nested.network import NestedNetwork
from trainers.nested.reordering import Reordering
from trainers.nested.separate import SeparateNetworks
from trainers.nested.tracing.anatomy import Anatomy
from trainers.networks.architectures import Architecture, architecture
from trainers.networks.trained_weights import fitting, read_weights
from trainers.optimizers.groups import freeze


def build(config: ImageTrialConfig, seed: int, pretrained: Mapping[str, Tensor] | None = None) -> NestedNetwork:
    """A trial's nested network. Arms with the same seed start from the same weights, whatever their norm or method.

    Convolutions are Kaiming-normal (fan_in), drawn per parameter name; norms start at the identity, those on a
    line (LCS-l) where `LineAffine` says. What `pretrained` holds, by the plain network's names, stays as it is there,
    but for the order of channels, if the config says another. What the config freezes is frozen.

    Raises:
        ConfigError: a pretrained weight that the network does not have, or has in another shape; nothing to freeze.
    """
    source, chosen = dataset(config.task.dataset), architecture(config.network.name)
    plain = chosen.build(source.shape, source.classes)
    initialise(plain, seed, load_pretrained(plain, pretrained or {}))
    freeze(plain, config.optimizer.frozen)
    if pretrained and config.network.order != "trained":
        _reordering(chosen, source.shape, source.classes).sort(plain, config.network.order)
    heads, dimensions = laid_over(config)
    anatomy = anatomy_of(chosen, source.shape, source.classes, heads, dimensions)
    norm, rows = config.norm, chosen.exchanges
    return exchange(plain, dimensions, norm.policy, source.shape, heads, norm.affine, rows, OF_NETWORKS, anatomy)


def multiply(nested: NestedNetwork, seed: int, loaded: Collection[str] = ()) -> SeparateNetworks:
    """A network of its own for every target, each initialised as a plain network of its size would be.

    Of weights that were loaded, by the plain network's names, each keeps its prefix.
    """
    separate = {target: nested.extract(target) for target in nested.lattice}
    for standalone in separate.values():
        initialise(standalone, seed, loaded)
    return SeparateNetworks(separate, nested.lattice)


def plainest(data: str, network: str, lattice: Lattice, multiple: int) -> ImageTrialConfig:
    """Any config with these sub-models: what is not told apart here is counted once."""
    dimensions = {name: tuple({target[name]: None for target in lattice}) for name in lattice.largest.dimensions}
    return ImageTrialConfig(
        task=ImagesConfig(dataset=data),
        network=NetworkConfig(name=network, dimensions=dimensions, multiple=multiple),
        norm=NormConfig(policy="batch"),  # which in evaluation takes images of a single pixel, too
    )


def trained_weights(config: ImageTrialConfig) -> dict[str, Tensor]:
    """What a trial's network starts from, by the plain network's names; nothing, unless the config names a file.

    Raises:
        DataError: no such file, or weights of another network.
    """
    if not config.network.weights:
        return {}
    file = config.network.weights_file
    weights, source = read_weights(file), dataset(config.task.dataset)
    with torch.random.fork_rng(devices=[]):
        plain = architecture(config.network.name).build(source.shape, source.classes)
    heads, _ = laid_over(config)
    return fitting(weights, plain, heads, str(file))


@lru_cache(maxsize=64)
def anatomy_of(
    chosen: Architecture,
    shape: tuple[int, int, int],
    classes: int,
    heads: frozenset[str],
    dimensions: Dimensions,
) -> Anatomy:
    """What of nesting depends on neither weights nor norms; asked once, since it takes as long as the rest of a build.

    Raises:
        ConfigError: it cannot be nested in these dimensions.
    """
    lattice, optional = dimensions.lattice, dimensions.optional
    with _of_the_network():
        plain, rows = chosen.build(shape, classes), chosen.exchanges
        return nest(
            plain,
            lattice,
            "instance",
            shape,
            heads,
            optional,
            exchanges=rows,
            stages=dimensions.stages,
            multiple=dimensions.multiple,
        ).anatomy


def laid_over(config: ImageTrialConfig) -> tuple[frozenset[str], Dimensions]:
    """The heads of a config's network, and what its lattice's dimensions decide on."""
    source, chosen, lattice = dataset(config.task.dataset), architecture(config.network.name), config.lattice
    heads, optional, stages = chosen.heads, chosen.optional, tuple[Stage, ...]()
    if heads is None or any("_" in name for name in lattice.largest.dimensions):
        found = _examined(chosen, source.shape, source.classes)
        stages = found.stages
        if heads is None:
            heads, optional = found.heads, found.optional
    multiple = config.network.multiple
    return heads, Dimensions(lattice, optional if DEPTH in lattice.largest else (), stages, multiple)


@lru_cache(maxsize=8)
def _examined(chosen: Architecture, shape: tuple[int, int, int], classes: int) -> Description:
    """Finds once what depends on no weights.

    Raises:
        ConfigError: it cannot be nested, or does not run on such images.
    """
    with torch.random.fork_rng(devices=[]), _of_the_network():
        return examine(chosen.build(shape, classes), shape, chosen.exchanges)


@contextmanager
def _of_the_network() -> Iterator[None]:
    """Says in a line why a network that somebody chose by its name cannot be built for such images, or nested."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(" ".join(str(error).split())) from error


@lru_cache(maxsize=8)
def _reordering(chosen: Architecture, shape: tuple[int, int, int], classes: int) -> Reordering:
    """Finds once how channels go, which does not depend on weights."""
    with torch.random.fork_rng(devices=[]):
        plain = chosen.build(shape, classes)
    return Reordering.of(plain, shape, chosen.exchanges)
