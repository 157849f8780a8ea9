"""Layers that read a prefix of their weights: outputs by the active sub-model, inputs by whatever arrives."""

from typing import Protocol, runtime_checkable

import torch.nn.functional as F
from torch import Tensor, nn

from trainers.nested.pointwise import pointwise, suits
from trainers.nested.prefix import LeafViews
from trainers.submodel import SubModel


def kept(full: int, share: float) -> int:
    """How many of `full` channels a share keeps: `max(1, round(full · share))`, Python's round, as LCS rounds."""
    return max(1, round(full * share))


@runtime_checkable
class NestedLayer(Protocol):
    """What a layer must offer to be switched between sub-models and cut out as a plain one."""

    def activate(self, sub_model: SubModel) -> None:
        """Reads the prefix of `sub_model` from now on."""

    def plain(self, channels: int) -> nn.Module:
        """A copy of the active sub-model's layer in plain PyTorch, for inputs of `channels` channels."""


class NestedConv2d(nn.Module):
    """A 2-d convolution over the first channels. `x: (N, c, H, W)`, any c up to the full number of inputs.

    A convolution with `elastic=False` keeps all its outputs at every width (the classifier).
    """

    def __init__(self, conv: nn.Conv2d, elastic: bool) -> None:
        super().__init__()
        if conv.groups != 1:
            raise ValueError("a grouped convolution has no single prefix; use groups=1")
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise ValueError("only explicit zero padding is supported")
        self.weight = nn.Parameter(conv.weight.data)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.data)
        self.stride, self.padding, self.dilation, self.kernel_size = (
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.kernel_size,
        )
        self.elastic = elastic
        self.outputs = conv.out_channels
        self._weights, self._biases = LeafViews(), LeafViews()

    def activate(self, sub_model: SubModel) -> None:
        full = self.weight.shape[0]
        self.outputs = kept(full, sub_model["width"]) if self.elastic else full

    def forward(self, x: Tensor) -> Tensor:
        weight = self._weights.prefix(self.weight, (self.outputs, x.shape[1]))
        bias = None if self.bias is None else self._biases.prefix(self.bias, (self.outputs,))
        if bias is None and suits(x, self.kernel_size, self.padding):
            return pointwise(x, weight, self.stride)
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)

    def plain(self, channels: int) -> nn.Conv2d:
        conv = nn.Conv2d(
            channels,
            self.outputs,
            self.kernel_size,  # type: ignore[arg-type]  # nn.Conv2d keeps it as tuple[int, ...]
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.dilation,  # type: ignore[arg-type]
            bias=self.bias is not None,
        )
        conv.weight.data.copy_(self.weight.data[: self.outputs, :channels])
        if conv.bias is not None and self.bias is not None:
            conv.bias.data.copy_(self.bias.data[: self.outputs])
        return conv.to(self.weight.device)


class NestedLinear(nn.Module):
    """A linear layer over the first features. `x: (..., c)`, any c up to the full number of inputs."""

    def __init__(self, linear: nn.Linear, elastic: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.data)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.data)
        self.elastic = elastic
        self.outputs = linear.out_features
        self._weights, self._biases = LeafViews(), LeafViews()

    def activate(self, sub_model: SubModel) -> None:
        full = self.weight.shape[0]
        self.outputs = kept(full, sub_model["width"]) if self.elastic else full

    def forward(self, x: Tensor) -> Tensor:
        weight = self._weights.prefix(self.weight, (self.outputs, x.shape[-1]))
        bias = None if self.bias is None else self._biases.prefix(self.bias, (self.outputs,))
        return F.linear(x, weight, bias)

    def plain(self, channels: int) -> nn.Linear:
        linear = nn.Linear(channels, self.outputs, bias=self.bias is not None)
        linear.weight.data.copy_(self.weight.data[: self.outputs, :channels])
        if self.bias is not None:
            linear.bias.data.copy_(self.bias.data[: self.outputs])
        return linear.to(self.weight.device)
