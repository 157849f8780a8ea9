"""LayerNorm over the features that arrive, with their γ and β."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.nested.ahead import ReadsAhead
from trainers.nested.layers.layer import FollowingLayer
from trainers.nested.prefix import LeafViews, Read, copied, in_same_storage


class NestedLayerNorm(ReadsAhead, FollowingLayer, nn.Module):
    """LayerNorm over the features that arrive: mean and variance are those of the active ones alone.

    Args:
        norm: the plain layer over one dimension, whose parameters it takes over.
        axis: along which features lie: the last, `x: (..., c)`; or 1, `x: (N, c, H, W)`, of a class that moves them.

    Raises:
        ValueError: a norm over several dimensions, or without γ.
    """

    def __init__(self, norm: nn.LayerNorm, axis: int = -1) -> None:
        super().__init__()
        if len(norm.normalized_shape) != 1 or not norm.elementwise_affine:
            raise ValueError("a LayerNorm over several dimensions or without γ has no nested form")
        self.weight = in_same_storage(norm.weight)
        self.bias = None if norm.bias is None else in_same_storage(norm.bias)
        self.eps, self.axis, self.inputs = norm.eps, axis, len(norm.weight)
        self.places: Tensor | None = None
        self._kind = type(norm)
        self._weights, self._biases = LeafViews(), LeafViews()

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[self.axis],)
        weight, bias = self.read(*size)
        if self.axis == -1:
            return F.layer_norm(x, size, weight, bias, self.eps)
        return F.layer_norm(x.permute(0, 2, 3, 1), size, weight, bias, self.eps).permute(0, 3, 1, 2)

    def reads(self, channels: int) -> tuple[Read, Read | None]:
        size = (channels,)
        bias = None if self.bias is None else self._biases.of(self.bias, size, self.places)
        return self._weights.of(self.weight, size, self.places), bias

    def plain(self, channels: int) -> nn.LayerNorm:
        norm = self._kind(channels, self.eps, bias=self.bias is not None, device="meta")
        with torch.no_grad():
            weight, bias = self.read(channels)
        norm.weight = copied(weight, self.weight)
        if self.bias is not None and bias is not None:
            norm.bias = copied(bias, self.bias)
        return norm
