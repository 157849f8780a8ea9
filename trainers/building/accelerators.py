"""The kernels for training on a device; those of networks are handed in by `image_networks`."""

import torch

from trainers.accelerated.accelerator import OF_NETWORKS, for_device
from trainers.acceleration import Accelerator
from trainers.config.norm import NormPolicy
from trainers.config.precision import Precision
from trainers.nested.layers.norms import channels_last_is_faster


def accelerator(device: torch.device) -> Accelerator:
    """The kernels for training on a device."""
    return for_device(device)


def prefers_channels_last(norm: NormPolicy, precision: Precision, device: torch.device) -> bool:
    """Whether channels-last is the faster memory layout for a network that `image_networks.build` makes."""
    return channels_last_is_faster(norm, precision, device, OF_NETWORKS.norms)
