"""Group norms, whose statistics are per image."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from trainers.acceleration import NormKernels
from trainers.nested.ahead import ReadsAhead
from trainers.nested.layers.affine import Affines, copy_affine
from trainers.nested.layers.layer import Shape, image_shape
from trainers.nested.layers.relu import rectified, with_relu
from trainers.nested.prefix import Read
from trainers.networks.group_norm import PrefixGroupNorm, group_norm
from trainers.submodel import SubModel


class NestedGroupNorm(ReadsAhead, nn.Module):
    """Group norm whose statistics are per image; with groups of one it is InstanceNorm (equal to 7e-7, and faster).

    Without a group size all active channels form one group ("layer"): a sub-model then normalises over its own
    channels alone. With `relu` the activation that follows it is part of it.

    It can be met by other channels than the first, unless it has groups of some: they would be others there.
    """

    places: Tensor | None

    dimension, axis = None, 1

    def __init__(
        self, affine: Affines, group_size: int | None, relu: bool, eps: float, kernels: NormKernels | None = None
    ) -> None:
        super().__init__()
        self.affine, self.group_size, self.relu, self.eps = affine, group_size, relu, eps
        self.inputs = affine.channels
        self._kernels = kernels
        if group_size in (None, 1):
            self.places = None

    def activate(self, sub_model: SubModel) -> None:
        self.affine.activate(sub_model)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        weight, bias = self.affine.active(self.read(channels))
        group_size = self.group_size or channels
        if self._kernels is not None:
            fused = self._kernels.image_norm(x, weight, bias, group_size, self.relu, self.eps)
            if fused is not None:
                return fused
        return rectified(group_norm(x, weight, bias, group_size, self.eps), self.relu)

    def reads(self, channels: int) -> Sequence[Read]:
        return self.affine.reads(channels, self._places)

    def plain(self, channels: int) -> nn.Module:
        size = self.group_size or channels
        norm: nn.GroupNorm | PrefixGroupNorm
        if channels % size:
            norm = PrefixGroupNorm(channels, size, self.eps)
        else:
            norm = nn.GroupNorm(channels // size, channels, self.eps)
        copy_affine(norm, self.affine, channels, self._places)
        return with_relu(norm, self.relu)

    @property
    def _places(self) -> Tensor | None:
        return getattr(self, "places", None)

    def output_shape(self, shape: Shape, prefix: Callable[[int], int]) -> Shape:
        return image_shape(shape)
