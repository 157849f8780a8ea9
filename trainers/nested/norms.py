"""Norm policies: how a normalisation layer is shared among sub-models of different width.

The norm is a factor of the ablation, not a detail: under one shared set of BatchNorm statistics, evaluation at a
width measures the mismatch of the statistics as much as the weights (see README, "Norm policies").
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.lattice import Lattice
from trainers.nested.layers import kept
from trainers.nested.prefix import LeafViews
from trainers.submodel import SubModel

NormPolicy = Literal["instance", "batch", "batch-switchable", "batch-recalibrated", "group"]
NORM_POLICIES: tuple[NormPolicy, ...] = get_args(NormPolicy)
GROUP_SIZE = 4  # channels; fixed size rather than fixed number of groups, so a prefix normalises as in the whole
_EPS, _MOMENTUM = 1e-5, 0.1


def norm_layer(policy: NormPolicy, lattice: Lattice) -> Callable[[int], nn.Module]:
    """The constructor (channels → nested layer) of a policy.

    `batch` and `batch-recalibrated` train alike; the latter's statistics are recomputed before each evaluation.
    """
    if policy == "instance":
        return lambda channels: NestedGroupNorm(channels, group_size=1)
    if policy == "group":
        return lambda channels: NestedGroupNorm(channels, group_size=GROUP_SIZE)
    if policy == "batch-switchable":
        return lambda channels: SwitchableBatchNorm(channels, lattice)
    return NestedBatchNorm


def prefers_channels_last(policy: NormPolicy) -> bool:
    """Whether channels-last is the faster memory layout: for batch norms it is, group norm is several times slower."""
    return policy.startswith("batch")


class PrefixGroupNorm(nn.Module):
    """GroupNorm with groups of a fixed size; channels left over form one smaller group. `x: (N, c, ...)`."""

    def __init__(self, channels: int, group_size: int) -> None:
        super().__init__()
        self.group_size = group_size
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _group_norm(x, self.weight, self.bias, self.group_size)


def _group_norm(x: Tensor, weight: Tensor, bias: Tensor, group_size: int) -> Tensor:
    channels = x.shape[1]
    whole = channels - channels % group_size
    if whole == channels:
        return F.group_norm(x, channels // group_size, weight, bias, _EPS)
    rest = F.group_norm(x[:, whole:], 1, weight[whole:], bias[whole:], _EPS)
    if whole == 0:
        return rest
    return torch.cat([F.group_norm(x[:, :whole], whole // group_size, weight[:whole], bias[:whole], _EPS), rest], 1)


class NestedGroupNorm(nn.Module):
    """Group norm whose statistics are per image; with `group_size=1` it is InstanceNorm (equal to 7e-7, and faster)."""

    def __init__(self, channels: int, group_size: int) -> None:
        super().__init__()
        self.group_size = group_size
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self._weights, self._biases = LeafViews(), LeafViews()

    def activate(self, sub_model: SubModel) -> None:
        """Nothing to do: the incoming tensor tells the width."""

    def forward(self, x: Tensor) -> Tensor:
        sizes = (x.shape[1],)
        weight, bias = self._weights.prefix(self.weight, sizes), self._biases.prefix(self.bias, sizes)
        return _group_norm(x, weight, bias, self.group_size)

    def plain(self, channels: int) -> nn.Module:
        norm: nn.GroupNorm | PrefixGroupNorm
        if channels % self.group_size:
            norm = PrefixGroupNorm(channels, self.group_size)
        else:
            norm = nn.GroupNorm(channels // self.group_size, channels, _EPS)
        norm.weight.data.copy_(self.weight.data[:channels])
        norm.bias.data.copy_(self.bias.data[:channels])
        return norm.to(self.weight.device)


class NestedBatchNorm(nn.Module):
    """BatchNorm with one affine and one set of running statistics for all widths: every width moves its prefix."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.default_momentum = _MOMENTUM
        self.momentum = _MOMENTUM
        self._weights, self._biases = LeafViews(), LeafViews()

    def activate(self, sub_model: SubModel) -> None:
        """Nothing to do: the incoming tensor tells the width."""

    def forward(self, x: Tensor) -> Tensor:
        c = x.shape[1]
        weight, bias = self._weights.prefix(self.weight, (c,)), self._biases.prefix(self.bias, (c,))
        mean, var = self.running_mean[:c], self.running_var[:c]
        return F.batch_norm(x, mean, var, weight, bias, self.training, self.momentum, _EPS)

    def plain(self, channels: int) -> nn.BatchNorm2d:
        norm = nn.BatchNorm2d(channels, _EPS, _MOMENTUM)
        norm.weight.data.copy_(self.weight.data[:channels])
        norm.bias.data.copy_(self.bias.data[:channels])
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(self.running_mean[:channels])
        norm.running_var.copy_(self.running_var[:channels])
        return norm.to(self.weight.device)


class SwitchableBatchNorm(nn.Module):
    """One BatchNorm per target sub-model, affine and statistics its own (slimmable networks, Yu et al. 2019)."""

    def __init__(self, channels: int, lattice: Lattice) -> None:
        super().__init__()
        self._choices = ", ".join(target.label for target in lattice)
        self.norms = nn.ModuleDict()
        for target in lattice:
            self.norms[target.module_name] = nn.BatchNorm2d(kept(channels, target["width"]), _EPS, _MOMENTUM)
        self._targets = frozenset(lattice)
        self._active = lattice.largest.module_name

    def activate(self, sub_model: SubModel) -> None:
        if sub_model not in self._targets:
            raise ValueError(
                f"switchable BatchNorm has no statistics for {sub_model.label} (it has {self._choices}); "
                "sample target widths only, or choose norm=batch"
            )
        self._active = sub_model.module_name

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norms[self._active](x)
        return normed

    def plain(self, channels: int) -> nn.BatchNorm2d:
        source = self.norms[self._active]
        assert isinstance(source, nn.BatchNorm2d)
        norm = nn.BatchNorm2d(channels, _EPS, _MOMENTUM)
        norm.load_state_dict(source.state_dict())
        return norm.to(source.weight.device)
