"""A convolution over the first channels."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.devices.cpu import overruns
from trainers.nested.ahead import ReadsAhead
from trainers.nested.layers.layer import Shape, image_shape
from trainers.nested.prefix import LeafViews, Read, copied, in_same_storage, prefix_length, whole_multiple
from trainers.submodel import SubModel


class NestedConv2d(ReadsAhead, nn.Module):
    """A 2-d convolution over the first channels. `x: (N, c, H, W)`, any c up to the full number of inputs.

    Where `places` says so, it reads other channels of its weight than the first. In groups, it has as many outputs as
    channels arrive, which must be whole groups: the layer before it keeps a `multiple`. A depthwise one has groups of
    a channel each.

    Args:
        conv: the plain layer, whose parameters it takes over.
        dimension: the lattice's that decides how many outputs it has; None keeps all (the classifier).

    Attributes:
        per_group: channels of a group; of all together the number of inputs.
        multiple: of which the number of outputs is one.

    Raises:
        ValueError: groups whose outputs are not as many as their inputs, or another padding than zeros.
    """

    axis = 1
    places: Tensor | None

    def __init__(self, conv: nn.Conv2d, dimension: str | None) -> None:
        super().__init__()
        self.grouped, self.per_group, self.multiple = conv.groups > 1, conv.in_channels // conv.groups, 1
        if self.grouped and conv.in_channels != conv.out_channels:
            raise ValueError("a convolution in groups with another number of outputs than of inputs has no nested form")
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise ValueError("only explicit zero padding is supported")
        self.weight = in_same_storage(conv.weight)
        self.bias = None if conv.bias is None else in_same_storage(conv.bias)
        self.kernel_size, self.stride = _pair(conv.kernel_size), _pair(conv.stride)
        self.padding, self.dilation = _pair(conv.padding), _pair(conv.dilation)
        self.dimension = None if self.grouped else dimension
        self.inputs, self.outputs = conv.in_channels, conv.out_channels
        if self.per_group == 1 or not self.grouped:
            self.places = None
        self._weights, self._biases = LeafViews(), LeafViews()

    @property
    def full(self) -> int:
        """Outputs of the largest sub-model."""
        return len(self.weight)

    def activate(self, sub_model: SubModel) -> None:
        if self.dimension is not None:
            self.outputs = whole_multiple(prefix_length(len(self.weight), sub_model[self.dimension]), self.multiple)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.read(x.shape[1])
        groups = x.shape[1] // self.per_group if self.grouped else 1
        if self.kernel_size == (1, 1) and self.padding == (0, 0) and overruns(x, self.stride):
            return F.conv2d(x[:, :, :: self.stride[0], :: self.stride[1]], weight, bias, groups=groups)
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, groups)

    def reads(self, channels: int) -> tuple[Read, Read | None]:
        """Weight and bias of the active outputs for so many incoming channels."""
        places: Tensor | None = getattr(self, "places", None)
        if self.grouped:
            bias = None if self.bias is None else self._biases.of(self.bias, (channels,), places)
            return self._weights.of(self.weight, (channels, self.per_group), places), bias
        bias = None if self.bias is None else self._biases.of(self.bias, (self.outputs,))
        return self._weights.of(self.weight, (self.outputs, channels), places, 1), bias

    def plain(self, channels: int) -> nn.Conv2d:
        outputs, groups = (channels, channels // self.per_group) if self.grouped else (self.outputs, 1)
        conv = nn.Conv2d(
            channels,
            outputs,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            groups=groups,
            bias=self.bias is not None,
            device="meta",
        )
        with torch.no_grad():
            weight, bias = self.read(channels)
        conv.weight = copied(weight, self.weight)
        if self.bias is not None and bias is not None:
            conv.bias = copied(bias, self.bias)
        return conv

    def output_shape(self, shape: Shape, prefix: Callable[[int], int]) -> Shape:
        images, channels, *sides = image_shape(shape)
        if self.grouped and channels % self.per_group:
            raise ValueError(f"{channels} channels reach a convolution in groups of {self.per_group}")
        if self.dimension is not None:
            channels = whole_multiple(prefix(len(self.weight)), self.multiple)
        elif not self.grouped:
            channels = len(self.weight)
        return images, channels, *map(output_size, sides, self.kernel_size, self.stride, self.padding, self.dilation)


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """A convolution's outputs along a side."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    height, width = sides
    return height, width
