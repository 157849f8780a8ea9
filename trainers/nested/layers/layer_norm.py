"""LayerNorm over the features that arrive, with the first of γ and β."""

import torch.nn.functional as F
from torch import Tensor, nn

from trainers.nested.prefix import LeafViews, in_same_storage


class NestedLayerNorm(nn.Module):
    """LayerNorm over the features that arrive: mean and variance are those of the active prefix. `x: (..., c)`.

    Args:
        norm: the plain layer over the last dimension, whose parameters it takes over.

    Raises:
        ValueError: a norm over several dimensions, or without γ.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        if len(norm.normalized_shape) != 1 or not norm.elementwise_affine:
            raise ValueError("a LayerNorm over several dimensions or without γ has no nested form")
        self.weight = in_same_storage(norm.weight)
        self.bias = None if norm.bias is None else in_same_storage(norm.bias)
        self.eps = norm.eps
        self._weights, self._biases = LeafViews(), LeafViews()

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[-1],)
        bias = None if self.bias is None else self._biases.prefix(self.bias, size)
        return F.layer_norm(x, size, self._weights.prefix(self.weight, size), bias, self.eps)
