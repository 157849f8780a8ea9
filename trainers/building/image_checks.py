"""What a config asks of a network that cannot be had, refused before anything is trained."""

from functools import lru_cache

import torch

from trainers.building.image_networks import anatomy_of, build, laid_over, plainest
from trainers.config.image_trial import ImageTrialConfig
from trainers.config.network import spelled
from trainers.config.norm import NormConfig, NormPolicy
from trainers.data.datasets import dataset
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.networks.architectures import architecture
from trainers.optimizers.groups import GroupRules, freeze, parameter_groups


def check_network(config: ImageTrialConfig) -> None:
    """Refuses depths that the network does not have, and stages; and one of another's that cannot be nested in them.

    Raises:
        ConfigError: naming the dimension, or the layer.
    """
    heads, dimensions = laid_over(config)
    for name, values in config.network.dimensions.items():
        stage, stages = name.partition("_")[2], len(dimensions.stages)
        if stage and int(stage) > stages:
            raise ConfigError(f"{spelled(name, values)}: {config.network.name} has {stages} stages")
    config.network.check_depths({name: len(blocks) for name, blocks in dimensions.blocks.items()})
    source, chosen = dataset(config.task.dataset), architecture(config.network.name)
    if chosen.heads is None:
        anatomy_of(chosen, source.shape, source.classes, heads, dimensions)


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
    nested = build(plainest(data, network, lattice, multiple).model_copy(update=update), seed=0).train()
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
