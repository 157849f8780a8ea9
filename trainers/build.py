"""From a config to a network: the plain architecture, made nested or multiplied, initialised from the seed."""

import math
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor, nn

from trainers.accelerated.accelerator import OF_NETWORKS, for_device
from trainers.acceleration import Accelerator
from trainers.config.image_trial import ImageTrialConfig
from trainers.config.images import ImagesConfig
from trainers.config.network import NetworkConfig, spelled
from trainers.config.norm import NormConfig, NormPolicy
from trainers.config.precision import Precision
from trainers.data.datasets import dataset
from trainers.errors import ConfigError, unknown
from trainers.lattice import Lattice
from trainers.measuring.cost import Cost, MacCounter, costs_of
from trainers.nested.depth import DEPTH
from trainers.nested.describing import Description, examine
from trainers.nested.dimensions import Dimensions, Stage
from trainers.nested.exchange import exchange, nest
from trainers.nested.layers.norms import channels_last_is_faster
from trainers.nested.network import NestedNetwork
from trainers.nested.reordering import Reordering
from trainers.nested.separate import SeparateNetworks
from trainers.nested.table import WIDTH
from trainers.nested.tracing.anatomy import Anatomy
from trainers.networks.architectures import Architecture, architecture
from trainers.networks.trained_weights import fitting, read_weights
from trainers.optimizers.groups import GroupRules, freeze, parameter_groups
from trainers.randomness import stream
from trainers.submodel import SubModel
from trainers.weights import aliases


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
    heads, dimensions = _laid_over(config)
    anatomy = _refuse_unless_nested(chosen, source.shape, source.classes, heads, dimensions)
    norm, rows = config.norm, chosen.exchanges
    return exchange(plain, dimensions, norm.policy, source.shape, heads, norm.affine, rows, OF_NETWORKS, anatomy)


def check_network(config: ImageTrialConfig) -> None:
    """Refuses depths that the network does not have, and stages; and one of another's that cannot be nested in them.

    Raises:
        ConfigError: naming the dimension, or the layer.
    """
    heads, dimensions = _laid_over(config)
    for name, values in config.network.dimensions.items():
        stage, stages = name.partition("_")[2], len(dimensions.stages)
        if stage and int(stage) > stages:
            raise ConfigError(f"{spelled(name, values)}: {config.network.name} has {stages} stages")
    config.network.check_depths({name: len(blocks) for name, blocks in dimensions.blocks.items()})
    source, chosen = dataset(config.task.dataset), architecture(config.network.name)
    if chosen.heads is None:
        _refuse_unless_nested(chosen, source.shape, source.classes, heads, dimensions)


def _laid_over(config: ImageTrialConfig) -> tuple[frozenset[str], Dimensions]:
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


def check_norms(config: ImageTrialConfig) -> None:
    """Refuses norms whose statistics are per image, where they would meet a single value: it has no variance.

    Asked of networks that come at strides for larger images. `NETWORKS` have theirs for small ones, and to build one
    more takes a second of every start.

    Raises:
        ConfigError: naming the norm.
    """
    if architecture(config.network.name).heads is None and not config.norm.policy.startswith("batch"):
        network = config.network
        _refuse_unless_normed(config.task.dataset, network.name, config.lattice, network.multiple, config.norm.policy)


@lru_cache(maxsize=64)
def _refuse_unless_normed(data: str, network: str, lattice: Lattice, multiple: int, policy: NormPolicy) -> None:
    """Tries a single image in training."""
    update = {"norm": NormConfig(policy=policy)}
    nested = build(_plainest(data, network, lattice, multiple).model_copy(update=update), seed=0).train()
    nested.activate(lattice.smallest)
    try:
        with torch.no_grad():
            nested(torch.zeros(1, *dataset(data).shape))
    except ValueError as error:  # torch's own
        raise ConfigError(
            f"norm={policy}: {network} on {data} has a norm that meets a single value of each channel: "
            "choose norm=batch"
        ) from error


def check_patterns(config: ImageTrialConfig) -> None:
    """Refuses patterns of the optimizer's that match no parameter of the plain network, or leave none to train.

    Raises:
        ConfigError: naming the pattern.
    """
    given = config.optimizer
    if not (given.rates or given.frozen):
        return
    source = dataset(config.task.dataset)
    with torch.random.fork_rng(devices=[]):
        plain = architecture(config.network.name).build(source.shape, source.classes)
    freeze(plain, given.frozen)
    parameter_groups(plain, given.weight_decay, GroupRules(given.decayed, given.rates))


def accelerator(device: torch.device) -> Accelerator:
    """The kernels for training on a device, which are named here and nowhere else."""
    return for_device(device)


def prefers_channels_last(norm: NormPolicy, precision: Precision, device: torch.device) -> bool:
    """Whether channels-last is the faster memory layout for a network that `build` makes."""
    return channels_last_is_faster(norm, precision, device, OF_NETWORKS.norms)


@lru_cache(maxsize=64)
def _refuse_unless_nested(
    chosen: Architecture,
    shape: tuple[int, int, int],
    classes: int,
    heads: frozenset[str],
    dimensions: Dimensions,
) -> Anatomy:
    """Asks once what depends on neither weights nor norms, and takes as long as the rest of a build."""
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


@lru_cache(maxsize=8)
def _reordering(chosen: Architecture, shape: tuple[int, int, int], classes: int) -> Reordering:
    """Finds once how channels go, which does not depend on weights."""
    with torch.random.fork_rng(devices=[]):
        plain = chosen.build(shape, classes)
    return Reordering.of(plain, shape, chosen.exchanges)


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
    heads, _ = _laid_over(config)
    return fitting(weights, plain, heads, str(file))


def multiply(nested: NestedNetwork, seed: int, loaded: Collection[str] = ()) -> SeparateNetworks:
    """A network of its own for every target, each initialised as a plain network of its size would be.

    Of weights that were loaded, by the plain network's names, each keeps its prefix.
    """
    separate = {target: nested.extract(target) for target in nested.lattice}
    for standalone in separate.values():
        initialise(standalone, seed, loaded)
    return SeparateNetworks(separate, nested.lattice)


def load_pretrained(network: nn.Module, weights: Mapping[str, Tensor]) -> frozenset[str]:
    """Copies weights into a plain network, and gives the names of what was loaded: tied ones by all their names.

    Raises:
        ConfigError: a name that the network does not have, or has in another shape.
    """
    own, names = network.state_dict(), aliases(network)
    for name, values in weights.items():
        if name not in own:
            raise unknown("pretrained weight", name, own)
        if own[name].shape != values.shape:
            shapes = f"{tuple(values.shape)} rather than {tuple(own[name].shape)}"
            raise ConfigError(f"pretrained weight {name!r} is of shape {shapes}: it is another network's")
        own[name].copy_(values)
    return frozenset(alias for name in weights for alias in names[name])


def initialise(network: nn.Module, seed: int, loaded: Collection[str] = ()) -> None:
    """Kaiming-normal weights for every parameter of two or more dimensions, each from a stream of its own name.

    Biases of convolutions and linear layers become zero; torch has drawn them from its global generator. BatchNorms
    become the identity, whatever the architecture starts them from. What is named in `loaded` is left as it is, as are
    parameters of one dimension elsewhere. A tied parameter is drawn once, by its first name.
    """
    for path, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, tensor in module.state_dict().items():
                if f"{path}.{name}".lstrip(".") not in loaded:
                    tensor.fill_(name in ("weight", "running_var"))
        biased = isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None
        if biased and f"{path}.bias".lstrip(".") not in loaded:
            module.bias.data.zero_()
    for name, parameter in network.named_parameters():
        if parameter.ndim >= 2 and name not in loaded:
            fan_in = math.prod(parameter.shape[1:])
            values = stream(seed, f"init {name}").standard_normal(tuple(parameter.shape)) * math.sqrt(2 / fan_in)
            parameter.data.copy_(torch.from_numpy(values))


def mac_counter(config: ImageTrialConfig) -> MacCounter:
    """Counts the sub-models of a network. Multiply-accumulates do not depend on the norm policy, nor on weights."""
    return network_counter(config.task.dataset, config.network.name, config.lattice, config.network.multiple)


def target_costs(config: ImageTrialConfig) -> dict[str, Cost]:
    """Multiply-accumulates and parameters of every target by its label. They do not depend on the norm policy."""
    return _target_costs(config.task.dataset, config.network.name, config.lattice, config.network.multiple)


def widths_within(config: ImageTrialConfig) -> tuple[float, ...]:
    """To each budget of `network.within` the largest width, in thousandths, whose forward pass takes no more.

    Raises:
        ConfigError: a budget that no width keeps to.
    """
    macs, full = mac_counter(config), dict(config.lattice.largest.dims)

    def at(step: int) -> int:
        return macs(SubModel(**{**full, WIDTH: step / _STEPS}))

    found = []
    for budget in config.network.within:
        steps = bisect_right(range(1, _STEPS + 1), budget, key=at)
        if not steps:
            name = config.network.name
            raise ConfigError(f"network.within={budget:g}: the narrowest {name} takes {at(1):,} multiply-accumulates")
        found.append(steps / _STEPS)
    return tuple(found)


_STEPS = 1000


@lru_cache(maxsize=8)
def network_counter(data: str, network: str, lattice: Lattice, multiple: int = 1) -> MacCounter:
    return MacCounter(build(_plainest(data, network, lattice, multiple), seed=0))


@lru_cache(maxsize=64)
def _target_costs(data: str, network: str, lattice: Lattice, multiple: int) -> dict[str, Cost]:
    plainest, macs = _plainest(data, network, lattice, multiple), network_counter(data, network, lattice, multiple)
    return {target.label: cost for target, cost in costs_of(build(plainest, seed=0), macs).items()}


def _plainest(data: str, network: str, lattice: Lattice, multiple: int) -> ImageTrialConfig:
    """Any config with these sub-models: what is not told apart here is counted once."""
    dimensions = {name: tuple({target[name]: None for target in lattice}) for name in lattice.largest.dimensions}
    return ImageTrialConfig(
        task=ImagesConfig(dataset=data),
        network=NetworkConfig(name=network, dimensions=dimensions, multiple=multiple),
        norm=NormConfig(policy="batch"),  # which in evaluation takes images of a single pixel, too
    )
