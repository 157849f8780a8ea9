"""A linear layer over the first features."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.nested.ahead import ReadsAhead
from trainers.nested.layers.layer import Shape
from trainers.nested.layers.sizes import Size, active_size
from trainers.nested.prefix import LeafViews, Read, copied, in_same_storage, prefix_length, whole_multiple
from trainers.submodel import SubModel


class NestedLinear(ReadsAhead, nn.Module):
    """A linear layer over the first features. `x: (..., c)`, any c up to the full number of inputs.

    Where `places` says so, it reads other features of its weight than the first.

    Args:
        linear: the plain layer, whose parameters it takes over.
        size: what decides how many outputs it has: a dimension of shares by its name, or a `Size` that counts; None
            keeps all (the classifier).

    Attributes:
        multiple: of which the number of outputs that a share gives is one.
    """

    axis = -1

    def __init__(self, linear: nn.Linear, size: str | Size | None) -> None:
        super().__init__()
        self.weight = in_same_storage(linear.weight)
        self.bias = None if linear.bias is None else in_same_storage(linear.bias)
        self.size = size
        self.dimension = size.dimension if isinstance(size, Size) else size
        self.inputs, self.outputs = linear.in_features, linear.out_features
        self.places: Tensor | None = None
        self.multiple = 1
        self._weights, self._biases = LeafViews(), LeafViews()

    @property
    def full(self) -> int:
        """Outputs of the largest sub-model."""
        return len(self.weight)

    def activate(self, sub_model: SubModel) -> None:
        full = self.weight.shape[0]
        if isinstance(self.size, Size):
            self.outputs = active_size(self.size, sub_model, full)
        elif self.size is not None:
            self.outputs = whole_multiple(prefix_length(full, sub_model[self.size]), self.multiple)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, *self.read(x.shape[-1]))

    def reads(self, features: int) -> tuple[Read, Read | None]:
        weight = self._weights.of(self.weight, (self.outputs, features), self.places, 1)
        return weight, None if self.bias is None else self._biases.of(self.bias, (self.outputs,))

    def plain(self, channels: int) -> nn.Linear:
        linear = nn.Linear(channels, self.outputs, bias=self.bias is not None, device="meta")
        with torch.no_grad():
            weight, bias = self.read(channels)
        linear.weight = copied(weight, self.weight)
        if self.bias is not None and bias is not None:
            linear.bias = copied(bias, self.bias)
        return linear

    def output_shape(self, shape: Shape, prefix: Callable[[int], int]) -> Shape:
        full = len(self.weight)
        return *shape[:-1], full if self.dimension is None else whole_multiple(prefix(full), self.multiple)
