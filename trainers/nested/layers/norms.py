"""Norm policies: how a normalisation layer is shared among sub-models of different width.

The norm is a factor of the ablation, not a detail: under one shared set of BatchNorm statistics, evaluation at a
width measures the mismatch of the statistics as much as the weights (see README, "Norm policies").
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.accelerated import norm as kernels
from trainers.config.methods import Affine
from trainers.config.precision import Precision
from trainers.lattice import Lattice
from trainers.nested.layers.convolution import kept
from trainers.nested.prefix import LeafViews
from trainers.submodel import SubModel

NormPolicy = Literal["instance", "batch", "batch-switchable", "batch-recalibrated", "group", "layer"]
NORM_POLICIES: tuple[NormPolicy, ...] = get_args(NormPolicy)
GROUP_SIZE = 4  # channels; fixed size rather than fixed number of groups, so a prefix normalises as in the whole
_GROUPS = {"instance": 1, "group": GROUP_SIZE}  # channels; of `layer` all of the active sub-model
_LINE_END = 0.5  # γ of a line's second endpoint before training, as LCS's `cpreresnet.py` fills `weight1`


def norm_layer(policy: NormPolicy, lattice: Lattice, affine: Affine) -> Callable[[nn.BatchNorm2d, bool], nn.Module]:
    """The constructor (plain norm, whether a ReLU follows → nested layer) of a policy.

    γ, β and eps are the plain norm's; running statistics and their momentum too, where the policy has any.

    `batch` and `batch-recalibrated` train alike; the latter's statistics are recomputed before each evaluation.

    Raises:
        ValueError: switchable norms with a line of affine parameters.
    """

    def parameters(norm: nn.BatchNorm2d) -> SharedAffine | LineAffine:
        channels = norm.num_features
        fresh = SharedAffine(channels) if affine == "shared" else LineAffine(channels, lattice)
        fresh.start_from(norm)
        return fresh

    if policy == "batch-switchable":
        if affine != "shared":
            raise ValueError("switchable BatchNorm has affine parameters per target, so they cannot form a line")
        return lambda norm, relu: SwitchableBatchNorm(norm, lattice, relu)
    if policy.startswith("batch"):
        return lambda norm, relu: NestedBatchNorm(norm, norm.num_features, parameters(norm), relu)
    group_size = _GROUPS.get(policy)
    return lambda norm, relu: NestedGroupNorm(parameters(norm), group_size, relu, norm.eps)


def prefers_channels_last(policy: NormPolicy, precision: Precision, device: torch.device) -> bool:
    """Whether channels-last is the faster memory layout.

    For batch norms it always is. torch's group norm is several times slower in it; our kernels know no other.
    """
    group = _GROUPS.get(policy)
    return policy.startswith("batch") or (precision == "bf16" and kernels.available(device, group))


class SharedAffine(nn.Module):
    """γ and β of which every sub-model reads its prefix."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self._weights, self._biases = LeafViews(), LeafViews()

    def start_from(self, norm: nn.BatchNorm2d) -> None:
        """Begins, as it has begun so far from a fresh norm (γ=1, β=0), from `norm`: its γ's and β's prefix."""
        channels = len(self.weight)
        weight, bias = norm.weight.detach()[:channels], norm.bias.detach()[:channels]
        self.weight = nn.Parameter(self.weight.detach().to(weight) * weight, norm.weight.requires_grad)
        self.bias = nn.Parameter(self.bias.detach().to(bias) + bias, norm.bias.requires_grad)

    def activate(self, sub_model: SubModel) -> None:
        """Nothing to do: the incoming tensor tells the width."""

    def prefix(self, channels: int) -> tuple[Tensor, Tensor]:
        """γ and β of the first channels, differentiable."""
        return self._weights.prefix(self.weight, (channels,)), self._biases.prefix(self.bias, (channels,))


class LineAffine(nn.Module):
    """γ and β on a line between two learnt endpoints: the smallest width has the start, the full width the end.

    The subspace of structured LCS-l (Nunez et al. 2023): θ(α) = (1 − α) θ₀ + α θ₁ with w = w₀ + (1 − w₀) α. As in
    their code, θ₀ starts at γ = 1 and θ₁ at γ = ½, both at β = 0, so the full width starts at half the usual scale.
    """

    def __init__(self, channels: int, lattice: Lattice) -> None:
        super().__init__()
        self.start, self.end = SharedAffine(channels), SharedAffine(channels)
        nn.init.constant_(self.end.weight, _LINE_END)
        self._smallest, self._largest = lattice.smallest["width"], lattice.largest["width"]
        self._place = 1.0

    def start_from(self, norm: nn.BatchNorm2d) -> None:
        """Begins with both endpoints, as they have begun so far from a fresh norm (γ=1, β=0), from `norm`."""
        self.start.start_from(norm)
        self.end.start_from(norm)

    def activate(self, sub_model: SubModel) -> None:
        spread = self._largest - self._smallest
        self._place = (sub_model["width"] - self._smallest) / spread if spread else 1.0

    def prefix(self, channels: int) -> tuple[Tensor, Tensor]:
        """γ and β of the first channels at the active width, differentiable."""
        (weight, bias), (weight_end, bias_end) = self.start.prefix(channels), self.end.prefix(channels)
        return torch.lerp(weight, weight_end, self._place), torch.lerp(bias, bias_end, self._place)


def line_cosine_squared(network: nn.Module) -> Tensor:
    """cos² of the angle between the two endpoints, each the γ of all lines of a network as one vector; a scalar.

    The regulariser of LCS (`train_curve.py`, where `curve_utils.get_weight` reads γ and leaves β out).
    """
    lines = [module for module in network.modules() if isinstance(module, LineAffine)]
    start = torch.cat([line.start.weight for line in lines])
    end = torch.cat([line.end.weight for line in lines])
    return (start @ end).square() / (start.square().sum() * end.square().sum())


class PrefixGroupNorm(nn.Module):
    """GroupNorm with groups of a fixed size; channels left over form one smaller group. `x: (N, c, ...)`."""

    def __init__(self, channels: int, group_size: int, eps: float) -> None:
        super().__init__()
        self.group_size, self.eps = group_size, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _group_norm(x, self.weight, self.bias, self.group_size, self.eps)


def _group_norm(x: Tensor, weight: Tensor, bias: Tensor, group_size: int, eps: float) -> Tensor:
    channels = x.shape[1]
    whole = channels - channels % group_size
    if whole == channels:
        return F.group_norm(x, channels // group_size, weight, bias, eps)
    rest = F.group_norm(x[:, whole:], 1, weight[whole:], bias[whole:], eps)
    if whole == 0:
        return rest
    return torch.cat([F.group_norm(x[:, :whole], whole // group_size, weight[:whole], bias[:whole], eps), rest], 1)


class NestedGroupNorm(nn.Module):
    """Group norm whose statistics are per image; with groups of one it is InstanceNorm (equal to 7e-7, and faster).

    Without a group size all active channels form one group ("layer"): a sub-model then normalises over its own
    channels alone. With `relu` the activation that follows it is part of it.
    """

    def __init__(self, affine: SharedAffine | LineAffine, group_size: int | None, relu: bool, eps: float) -> None:
        super().__init__()
        self.affine, self.group_size, self.relu, self.eps = affine, group_size, relu, eps

    def activate(self, sub_model: SubModel) -> None:
        self.affine.activate(sub_model)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        weight, bias = self.affine.prefix(channels)
        group_size = self.group_size or channels
        fused = kernels.image_norm(x, weight, bias, group_size, self.relu, self.eps)
        if fused is not None:
            return fused
        return _activated(_group_norm(x, weight, bias, group_size, self.eps), self.relu)

    def plain(self, channels: int) -> nn.Module:
        size = self.group_size or channels
        norm: nn.GroupNorm | PrefixGroupNorm
        if channels % size:
            norm = PrefixGroupNorm(channels, size, self.eps)
        else:
            norm = nn.GroupNorm(channels // size, channels, self.eps)
        _copy_affine(norm, self.affine, channels)
        return _with_relu(norm, self.relu)


class NestedBatchNorm(nn.Module):
    """BatchNorm with one affine and one set of running statistics for all widths: every width moves its prefix.

    Args:
        norm: the plain layer; eps and momentum are its own, the statistics start from its first `channels`.
        channels: at the largest width.
        affine: its γ and β.
        relu: whether the activation that follows it is part of it.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.BatchNorm2d, channels: int, affine: SharedAffine | LineAffine, relu: bool) -> None:
        super().__init__()
        assert norm.momentum is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.affine, self.relu, self.eps = affine, relu, norm.eps
        self.register_buffer("running_mean", norm.running_mean[:channels].clone())
        self.register_buffer("running_var", norm.running_var[:channels].clone())
        self.default_momentum = norm.momentum
        self.momentum = norm.momentum

    def activate(self, sub_model: SubModel) -> None:
        self.affine.activate(sub_model)

    def forward(self, x: Tensor) -> Tensor:
        c = x.shape[1]
        weight, bias = self.affine.prefix(c)
        mean, var = self.running_mean[:c], self.running_var[:c]
        if kernels.suits(x):
            if self.training:
                return kernels.batch_norm(x, weight, bias, mean, var, self.momentum, self.relu, self.eps)
            if not torch.is_grad_enabled():
                return kernels.known_norm(x, weight, bias, mean, var, self.relu, self.eps)
        return _activated(F.batch_norm(x, mean, var, weight, bias, self.training, self.momentum, self.eps), self.relu)

    def plain(self, channels: int) -> nn.Module:
        norm = nn.BatchNorm2d(channels, self.eps, self.default_momentum)
        _copy_affine(norm, self.affine, channels)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(self.running_mean[:channels])
        norm.running_var.copy_(self.running_var[:channels])
        return _with_relu(norm, self.relu)


def _activated(x: Tensor, relu: bool) -> Tensor:
    return F.relu_(x) if relu else x


def _with_relu(norm: nn.Module, relu: bool) -> nn.Module:
    return nn.Sequential(norm, nn.ReLU(inplace=True)) if relu else norm


def _copy_affine(
    norm: nn.GroupNorm | nn.BatchNorm2d | PrefixGroupNorm, affine: SharedAffine | LineAffine, channels: int
) -> None:
    with torch.enable_grad():  # tells which of them is learnt
        weight, bias = affine.prefix(channels)
    norm.to(weight)
    norm.weight = nn.Parameter(weight.detach().clone(), weight.requires_grad)
    norm.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)


class SwitchableBatchNorm(nn.Module):
    """One BatchNorm per target width, affine and statistics its own (slimmable networks, Yu et al. 2019).

    Each starts from the plain norm's first channels.
    """

    def __init__(self, norm: nn.BatchNorm2d, lattice: Lattice, relu: bool) -> None:
        super().__init__()
        widths = sorted({target["width"] for target in lattice})
        self.norms = nn.ModuleDict()
        for width in widths:
            channels = kept(norm.num_features, width)
            affine = SharedAffine(channels)
            affine.start_from(norm)
            self.norms[_width_name(width)] = NestedBatchNorm(norm, channels, affine, relu)
        self._active = _width_name(widths[-1])

    def activate(self, sub_model: SubModel) -> None:
        name = _width_name(sub_model["width"])
        if name not in self.norms:
            raise ValueError(
                f"switchable BatchNorm has no statistics for {sub_model.label} (it has {', '.join(self.norms)}); "
                "sample target widths only, or choose norm=batch"
            )
        self._active = name

    @property
    def active(self) -> NestedBatchNorm:
        """The norm of the active width."""
        norm = self.norms[self._active]
        assert isinstance(norm, NestedBatchNorm)
        return norm

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.active(x)
        return normed

    def plain(self, channels: int) -> nn.Module:
        return self.active.plain(channels)


def _width_name(width: float) -> str:
    return SubModel(width=width).module_name
