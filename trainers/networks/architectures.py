"""Plain networks as published. They know nothing of sub-models; `trainers.nested` makes them nested."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial

from torch import nn

from trainers.errors import unknown
from trainers.nested.table import Exchanges
from trainers.networks.cpreresnet import CPreResNet20
from trainers.networks.torchvision_nets import (
    any_of_torchvision,
    mobilenet_v2,
    mobilenet_v2_blocks,
    names_of_torchvision,
    resnet18,
    resnet18_blocks,
)

_OF_TORCHVISION = "torchvision:"


@dataclass(frozen=True)
class Architecture:
    """A plain network and what must be known of it to nest it.

    Attributes:
        build: (shape of one image, classes) → network.
        heads: paths of the layers that keep all their outputs; None: they and the optional blocks are found by running
            it (`examine`).
        optional: paths of the residual blocks that depth can leave out, in the order in which depth adds them.
        exchanges: nested forms of layers of its own, by class.
    """

    build: Callable[[tuple[int, int, int], int], nn.Module]
    heads: frozenset[str] | None = None
    optional: tuple[str, ...] = ()
    exchanges: Exchanges = field(default_factory=dict, hash=False)


NETWORKS: dict[str, Architecture] = {
    "cpreresnet20": Architecture(
        lambda shape, classes: CPreResNet20(channels=shape[0], size=shape[1], classes=classes),
        frozenset({"classifier"}),
    ),
    "resnet18": Architecture(resnet18, frozenset({"fc"}), resnet18_blocks()),
    "mobilenet_v2": Architecture(mobilenet_v2, frozenset({"classifier.1"}), mobilenet_v2_blocks()),
}


@lru_cache
def architecture(name: str) -> Architecture:
    """A network by its name in `NETWORKS`; any classifier of torchvision's by its name there, `torchvision:vgg11_bn`.

    The same one each time: what is found out about it is remembered by it.

    Raises:
        ConfigError: there is none of that name.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if name.startswith(_OF_TORCHVISION):
        theirs = name.removeprefix(_OF_TORCHVISION)
        if theirs not in (known := names_of_torchvision()):
            raise unknown("network of torchvision", theirs, known)
        return Architecture(partial(any_of_torchvision, theirs))
    raise unknown("network", name, [*NETWORKS, f"{_OF_TORCHVISION}NAME"])
