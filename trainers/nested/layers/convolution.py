"""Layers that read a prefix of their weights: outputs by the active sub-model, inputs by whatever arrives."""

from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

    A depthwise convolution (as many groups as inputs and outputs) has as many outputs as channels arrive.
    A convolution with `elastic=False` keeps all its outputs at every width (the classifier).
    """

    def __init__(self, conv: nn.Conv2d, elastic: bool) -> None:
        super().__init__()
        self.depthwise = conv.groups > 1
        if self.depthwise and not conv.groups == conv.in_channels == conv.out_channels:
            raise ValueError("a convolution in several groups has no single prefix: use groups=1, or one per channel")
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise ValueError("only explicit zero padding is supported")
        self.weight = _taken_over(conv.weight)
        self.bias = None if conv.bias is None else _taken_over(conv.bias)
        self.kernel_size, self.stride = _pair(conv.kernel_size), _pair(conv.stride)
        self.padding, self.dilation = _pair(conv.padding), _pair(conv.dilation)
        self.elastic = elastic
        self.outputs = conv.out_channels
        self._weights, self._biases = LeafViews(), LeafViews()

    def activate(self, sub_model: SubModel) -> None:
        full = self.weight.shape[0]
        self.outputs = kept(full, sub_model["width"]) if self.elastic else full

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.prefix(x.shape[1])
        groups = x.shape[1] if self.depthwise else 1
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, groups)

    def prefix(self, channels: int) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the active outputs for so many incoming channels, differentiable."""
        outputs, inputs = (channels, 1) if self.depthwise else (self.outputs, channels)
        bias = None if self.bias is None else self._biases.prefix(self.bias, (outputs,))
        return self._weights.prefix(self.weight, (outputs, inputs)), bias

    def plain(self, channels: int) -> nn.Conv2d:
        outputs, groups = (channels, channels) if self.depthwise else (self.outputs, 1)
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
        conv.weight = _copied(self.weight, outputs, channels // groups)
        conv.bias = None if self.bias is None else _copied(self.bias, outputs)
        return conv


class OptionalBlock(nn.Module):
    """A residual block that sub-models of less depth pass by. Its output has the shape of its input.

    Args:
        block: the block.
        rank: it is kept by depths of at least this many optional blocks.
    """

    def __init__(self, block: nn.Module, rank: int) -> None:
        super().__init__()
        self.block, self.rank = block, rank
        self.kept = True

    def activate(self, sub_model: SubModel) -> None:
        self.kept = self.rank <= sub_model["depth"]

    def forward(self, x: Tensor) -> Tensor:
        if not self.kept:
            return x
        out: Tensor = self.block(x)
        return out


class NestedLinear(nn.Module):
    """A linear layer over the first features. `x: (..., c)`, any c up to the full number of inputs."""

    def __init__(self, linear: nn.Linear, elastic: bool) -> None:
        super().__init__()
        self.weight = _taken_over(linear.weight)
        self.bias = None if linear.bias is None else _taken_over(linear.bias)
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
        linear = nn.Linear(channels, self.outputs, bias=self.bias is not None, device="meta")
        linear.weight = _copied(self.weight, self.outputs, channels)
        linear.bias = None if self.bias is None else _copied(self.bias, self.outputs)
        return linear


def reached(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """A convolution's outputs along a side."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _pair(of: tuple[int, ...]) -> tuple[int, int]:
    height, width = of
    return height, width


def _taken_over(parameter: Tensor) -> nn.Parameter:
    """Another parameter of the same values in the same storage, learnt or frozen alike."""
    return nn.Parameter(parameter.data, parameter.requires_grad)


def _copied(parameter: nn.Parameter, *prefix: int) -> nn.Parameter:
    """A prefix as a parameter of its own. Layers are made on the meta device for it: nothing is drawn and lost."""
    values = parameter.detach()[tuple(map(slice, prefix))].clone(memory_format=torch.contiguous_format)
    return nn.Parameter(values, parameter.requires_grad)
