"""Plain networks as published. They know nothing of sub-models; `trainers.nested` makes them nested."""

from collections.abc import Callable

from torch import nn

from trainers.networks.cpreresnet import CPreResNet20

NETWORKS: dict[str, Callable[[tuple[int, int, int], int], nn.Module]] = {
    "cpreresnet20": lambda shape, classes: CPreResNet20(channels=shape[0], size=shape[1], classes=classes),
}
"""By name: (shape of one image, classes) → network."""
