"""Batch norms: one set of running statistics for all sub-models, or one per width."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.acceleration import NormKernels
from trainers.lattice import Lattice
from trainers.nested.ahead import ReadsAhead
from trainers.nested.layers.affine import Affines, SharedAffine, copy_affine
from trainers.nested.layers.layer import Shape, image_shape
from trainers.nested.layers.relu import rectified, with_relu
from trainers.nested.prefix import LeafViews, Read, prefix_length
from trainers.submodel import SubModel


class NestedBatchNorm(ReadsAhead, nn.Module):
    """BatchNorm with one affine and one set of running statistics for all widths: every width moves its own of them.

    Args:
        norm: the plain layer; eps and momentum are its own, the statistics start from its first channels.
        affine: its γ and β, which say how many channels it has in the largest sub-model.
        relu: whether the activation that follows it is part of it.
        kernels: to be tried before torch's own.
    """

    running_mean: Tensor
    running_var: Tensor
    dimension, axis = None, 1

    def __init__(self, norm: nn.BatchNorm2d, affine: Affines, relu: bool, kernels: NormKernels | None = None) -> None:
        super().__init__()
        assert norm.momentum is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.affine, self.relu, self.eps = affine, relu, norm.eps
        self.inputs = affine.channels
        self.places: Tensor | None = None
        self.register_buffer("running_mean", norm.running_mean[: self.inputs].clone())
        self.register_buffer("running_var", norm.running_var[: self.inputs].clone())
        self.default_momentum = norm.momentum
        self.momentum = norm.momentum
        self._kernels = kernels
        self._means, self._vars = LeafViews(), LeafViews()

    def activate(self, sub_model: SubModel) -> None:
        self.affine.activate(sub_model)

    def forward(self, x: Tensor) -> Tensor:
        *affine, mean, var = self.read(x.shape[1])
        weight, bias = self.affine.active(affine)
        out = self._normed(x, weight, bias, mean, var)
        if self.training and self.places is not None:
            self.running_mean.index_copy_(0, self.places, mean)
            self.running_var.index_copy_(0, self.places, var)
        return out

    def reads(self, channels: int) -> tuple[Read, ...]:
        """What the affine does, and the running statistics, of the channels that arrive."""
        return *self.affine.reads(channels, self.places), *self._statistics(channels)

    def _statistics(self, channels: int) -> tuple[Read, Read]:
        size = (channels,)
        means = self._means.of(self.running_mean, size, self.places)
        return means, self._vars.of(self.running_var, size, self.places)

    def _normed(self, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        kernels = self._kernels
        if kernels is not None and kernels.suits(x):
            if self.training:
                return kernels.batch_norm(x, weight, bias, mean, var, self.momentum, self.relu, self.eps)
            if not torch.is_grad_enabled():
                return kernels.known_norm(x, weight, bias, mean, var, self.relu, self.eps)
        return rectified(F.batch_norm(x, mean, var, weight, bias, self.training, self.momentum, self.eps), self.relu)

    def plain(self, channels: int) -> nn.Module:
        norm = nn.BatchNorm2d(channels, self.eps, self.default_momentum)
        copy_affine(norm, self.affine, channels, self.places)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, var = self._statistics(channels)
        norm.running_mean.copy_(mean.values())
        norm.running_var.copy_(var.values())
        return with_relu(norm, self.relu)

    def output_shape(self, shape: Shape, prefix: Callable[[int], int]) -> Shape:
        return image_shape(shape)


class SwitchableBatchNorm(nn.Module):
    """One BatchNorm per target width, affine and statistics its own (slimmable networks, Yu et al. 2019).

    Each starts from the plain norm's first channels.

    Args:
        norm: the plain layer.
        lattice: the targets.
        switched_by: the lattice's dimension whose values each have a norm.
        relu: whether the activation that follows it is part of it.
        kernels: to be tried before torch's own.
    """

    dimension, axis = None, 1

    def __init__(
        self,
        norm: nn.BatchNorm2d,
        lattice: Lattice,
        switched_by: str,
        relu: bool,
        kernels: NormKernels | None = None,
    ) -> None:
        super().__init__()
        self.inputs, self._switched_by = norm.num_features, switched_by
        widths = sorted({target[switched_by] for target in lattice})
        self.norms = nn.ModuleDict()
        for width in widths:
            affine = SharedAffine(prefix_length(norm.num_features, width))
            affine.start_from(norm)
            self.norms[self._name(width)] = NestedBatchNorm(norm, affine, relu, kernels)
        self._active = self._name(widths[-1])

    def activate(self, sub_model: SubModel) -> None:
        name = self._name(sub_model[self._switched_by])
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

    def output_shape(self, shape: Shape, prefix: Callable[[int], int]) -> Shape:
        return image_shape(shape)

    def _name(self, width: float) -> str:
        return SubModel(**{self._switched_by: width}).module_name
