"""A linear layer over the first features."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from trainers.nested.layers.layer import Shape
from trainers.nested.prefix import LeafViews, copied_prefix, in_same_storage, prefix_length
from trainers.submodel import SubModel


class NestedLinear(nn.Module):
    """A linear layer over the first features. `x: (..., c)`, any c up to the full number of inputs.

    Args:
        linear: the plain layer, whose parameters it takes over.
        dimension: the lattice's that decides how many outputs it has; None keeps all (the classifier).
    """

    axis = -1

    def __init__(self, linear: nn.Linear, dimension: str | None) -> None:
        super().__init__()
        self.weight = in_same_storage(linear.weight)
        self.bias = None if linear.bias is None else in_same_storage(linear.bias)
        self.dimension = dimension
        self.inputs, self.outputs = linear.in_features, linear.out_features
        self._weights, self._biases = LeafViews(), LeafViews()

    def activate(self, sub_model: SubModel) -> None:
        if self.dimension is not None:
            self.outputs = prefix_length(self.weight.shape[0], sub_model[self.dimension])

    def forward(self, x: Tensor) -> Tensor:
        weight = self._weights.prefix(self.weight, (self.outputs, x.shape[-1]))
        bias = None if self.bias is None else self._biases.prefix(self.bias, (self.outputs,))
        return F.linear(x, weight, bias)

    def plain(self, channels: int) -> nn.Linear:
        linear = nn.Linear(channels, self.outputs, bias=self.bias is not None, device="meta")
        linear.weight = copied_prefix(self.weight, self.outputs, channels)
        linear.bias = None if self.bias is None else copied_prefix(self.bias, self.outputs)
        return linear

    def output_shape(self, shape: Shape, prefix: Callable[[int], int]) -> Shape:
        full = len(self.weight)
        return *shape[:-1], full if self.dimension is None else prefix(full)
