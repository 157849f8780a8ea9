"""Prefixes of a parameter as leaf tensors whose gradients land in the parameter's own gradient.

Slicing a parameter in the forward pass makes autograd zero-fill and copy a full-size gradient per layer and pass
(82 of some 232 operations of a cPreResNet20 step). A leaf over the same storage, which adds its gradient to the
matching prefix of the parameter's, gives the same numbers in place and at fixed addresses.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def prefix_length(full: int, share: float) -> int:
    """How many of `full` channels a share keeps: `max(1, round(full · share))`, Python's round, as LCS rounds."""
    return max(1, round(full * share))


def in_same_storage(parameter: Tensor) -> nn.Parameter:
    """Another parameter of the same values in the same storage, learnt or frozen alike."""
    return nn.Parameter(parameter.data, parameter.requires_grad)


def copied_prefix(parameter: nn.Parameter, *sizes: int) -> nn.Parameter:
    """A prefix as a parameter of its own. Layers are made on the meta device for it: nothing is drawn and lost."""
    values = parameter.detach()[tuple(map(slice, sizes))].clone(memory_format=torch.contiguous_format)
    return nn.Parameter(values, parameter.requires_grad)


class LeafViews:
    """The leaves handed out for one parameter, made anew whenever its storage is replaced."""

    def __init__(self) -> None:
        self._leaves: dict[tuple[int, ...], Tensor] = {}
        self._address = 0

    def prefix(self, parameter: nn.Parameter, sizes: tuple[int, ...]) -> Tensor:
        """`parameter[:sizes[0], :sizes[1], ...]`, differentiable where gradients are on.

        `backward` fills the prefix of `parameter.grad` as slicing would; `torch.autograd.grad` with respect to the
        parameter is not supported. Weights outside the prefix keep the gradient they have (zero after
        `zero_grad(set_to_none=False)`), so weight decay and momentum still move them, as in the published code.
        """
        if not (torch.is_grad_enabled() and parameter.requires_grad):
            return _narrowed(parameter.detach(), sizes)
        if parameter.data_ptr() != self._address:
            self._leaves.clear()
            self._address = parameter.data_ptr()
        leaf = self._leaves.get(sizes)
        if leaf is None:
            leaf = _narrowed(parameter.detach(), sizes).requires_grad_()
            leaf.register_post_accumulate_grad_hook(_adding_to_prefix(parameter, sizes))
            self._leaves[sizes] = leaf
        return leaf

    def __deepcopy__(self, memo: dict[int, Any]) -> "LeafViews":
        return LeafViews()

    def __reduce__(self) -> tuple[type["LeafViews"], tuple[()]]:
        return LeafViews, ()


def leaf_of_rows(parameter: nn.Parameter, rows: Tensor, columns: int) -> Tensor:
    """`parameter[rows, :columns]` as a leaf: `backward` adds its gradient there, and touches no other row.

    Args:
        rows: `(n,)` int64, each at most once.
    """
    sizes = len(parameter), columns
    leaf = _narrowed(parameter.detach(), sizes).index_select(0, rows).requires_grad_()
    leaf.register_post_accumulate_grad_hook(_adding_to_prefix(parameter, sizes, rows))
    return leaf


def _adding_to_prefix(
    parameter: nn.Parameter, sizes: tuple[int, ...], rows: Tensor | None = None
) -> Callable[[Tensor], None]:
    """Adds a leaf's gradient to a prefix of the parameter's, or to some rows of that prefix."""

    def add(leaf: Tensor) -> None:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        assert leaf.grad is not None
        prefix = _narrowed(parameter.grad, sizes)
        if rows is None:
            prefix.add_(leaf.grad)
        else:
            prefix.index_add_(0, rows, leaf.grad)
        leaf.grad = None

    return add


def _narrowed(tensor: Tensor, sizes: tuple[int, ...]) -> Tensor:
    for dimension, size in enumerate(sizes):
        tensor = tensor.narrow(dimension, 0, size)
    return tensor
