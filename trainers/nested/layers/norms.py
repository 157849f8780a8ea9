"""Norm policies: how a normalisation layer is shared among sub-models of different width.

The norm is a factor of the ablation, not a detail: under one shared set of BatchNorm statistics, evaluation at a
width measures the mismatch of the statistics as much as the weights (see `docs/methods.md`).
"""

from collections.abc import Callable
from typing import get_args

import torch
from torch import nn

from trainers.acceleration import NormKernels
from trainers.config.methods import Affine
from trainers.config.norm import NormPolicy
from trainers.config.precision import Precision
from trainers.lattice import Lattice
from trainers.nested.layers.affine import Affines, LineAffine, SharedAffine
from trainers.nested.layers.batch_norm import NestedBatchNorm, SwitchableBatchNorm
from trainers.nested.layers.group_norm import NestedGroupNorm

NORM_POLICIES: tuple[NormPolicy, ...] = get_args(NormPolicy)
GROUP_SIZE = 4  # channels; fixed size rather than fixed number of groups, so a prefix normalises as in the whole
_GROUPS = {"instance": 1, "group": GROUP_SIZE}  # channels; of `layer` all of the active sub-model

MakeNorm = Callable[[nn.BatchNorm2d, bool, str | None], nn.Module]


def norm_layer(policy: NormPolicy, lattice: Lattice, affine: Affine, kernels: NormKernels | None = None) -> MakeNorm:
    """The constructor (plain norm, whether a ReLU follows, the dimension of its width → nested layer) of a policy.

    γ, β and eps are the plain norm's; running statistics and their momentum too, where the policy has any. Where the
    lattice lacks the dimension, all sub-models are as wide, and switchable norms are one.

    `batch` and `batch-recalibrated` train alike; the latter's statistics are recomputed before each evaluation.

    Raises:
        ValueError: a line of affine parameters with switchable norms, or along a dimension that the lattice lacks.
    """

    def parameters(norm: nn.BatchNorm2d, dimension: str | None) -> Affines:
        channels = norm.num_features
        fresh: Affines
        if affine == "shared":
            fresh = SharedAffine(channels)
        elif dimension is None:
            raise ValueError("affine parameters cannot lie on a line: the lattice has no dimension of their width")
        else:
            fresh = LineAffine(channels, lattice, dimension)
        fresh.start_from(norm)
        return fresh

    def batch(norm: nn.BatchNorm2d, relu: bool, dimension: str | None) -> nn.Module:
        return NestedBatchNorm(norm, parameters(norm, dimension), relu, kernels)

    def switchable(norm: nn.BatchNorm2d, relu: bool, dimension: str | None) -> nn.Module:
        if dimension is None:
            return batch(norm, relu, dimension)
        return SwitchableBatchNorm(norm, lattice, dimension, relu, kernels)

    def per_image(norm: nn.BatchNorm2d, relu: bool, dimension: str | None) -> nn.Module:
        return NestedGroupNorm(parameters(norm, dimension), _GROUPS.get(policy), relu, norm.eps, kernels)

    if policy == "batch-switchable":
        if affine != "shared":
            raise ValueError("switchable BatchNorm has affine parameters per target, so they cannot form a line")
        return switchable
    return batch if policy.startswith("batch") else per_image


def channels_last_is_faster(
    policy: NormPolicy, precision: Precision, device: torch.device, kernels: NormKernels | None
) -> bool:
    """Whether channels-last is the faster memory layout.

    For batch norms it always is. torch's group norm is several times slower in it; our kernels know no other.
    """
    group = _GROUPS.get(policy)
    fast = kernels is not None and kernels.available(device, group)
    return policy.startswith("batch") or (precision == "bf16" and fast)
