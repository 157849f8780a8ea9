"""What fused passes read of nested layers: weights, norms and their affines, where they lie."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from trainers.accelerated.norm import EPS
from trainers.nested.layers.affine import SharedAffine
from trainers.nested.layers.batch_norm import NestedBatchNorm, SwitchableBatchNorm
from trainers.nested.layers.convolution import NestedConv2d
from trainers.nested.layers.group_norm import NestedGroupNorm
from trainers.networks.cpreresnet import Bottleneck

if TYPE_CHECKING:
    from trainers.accelerated.maps import Weight


def is_supported(norm: NestedGroupNorm | NestedBatchNorm) -> bool:
    """Whether there are programs for a norm: per channel, with ReLU behind it, one affine for all widths."""
    per_channel = isinstance(norm, NestedBatchNorm) or norm.group_size == 1
    return per_channel and norm.relu and norm.eps == EPS and isinstance(norm.affine, SharedAffine)


def active_norm(module: nn.Module) -> NestedGroupNorm | NestedBatchNorm:
    """The norm that the active sub-model has."""
    norm = module.active if isinstance(module, SwitchableBatchNorm) else module
    assert isinstance(norm, NestedGroupNorm | NestedBatchNorm)
    return norm


def affine_of(norm: NestedGroupNorm | NestedBatchNorm) -> tuple[Tensor, Tensor]:
    """γ and β of the whole network, (channels,) each."""
    assert isinstance(norm.affine, SharedAffine)
    return norm.affine.weight, norm.affine.bias


def weight_of(convolution: nn.Module) -> "Weight":
    """The whole network's, and how much of it the active sub-model has."""
    from trainers.accelerated.maps import Weight

    assert isinstance(convolution, NestedConv2d)
    return Weight(convolution.weight, convolution.outputs, convolution.stride[0], convolution.padding[0])


def projection_around(block: Bottleneck) -> "Weight | None":
    """The weight of its shortcut; None where what comes in is added as it is."""
    return weight_of(block.shortcut) if isinstance(block.shortcut, NestedConv2d) else None
