"""Prefixes of a parameter as leaf tensors whose gradients land in the parameter's own gradient.

Slicing a parameter in the forward pass makes autograd zero-fill and copy a full-size gradient per layer and pass
(82 of some 232 operations of a cPreResNet20 step). A leaf over the same storage, which adds its gradient to the
matching prefix of the parameter's, gives the same numbers in place and at fixed addresses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_IN_MEMORY, _FROM_MEMORY = (0, 2, 3, 1), (0, 3, 1, 2)  # the dimensions of a weight in channels-last, and back


def prefix_length(full: int, share: float) -> int:
    """How many of `full` channels a share keeps: `max(1, round(full · share))`, Python's round, as LCS rounds."""
    return max(1, round(full * share))


def whole_multiple(channels: int, multiple: int) -> int:
    """The multiple nearest to a number of channels, at least one."""
    return multiple * max(1, round(channels / multiple))


def in_same_storage(parameter: Tensor) -> nn.Parameter:
    """Another parameter of the same values in the same storage, learnt or frozen alike."""
    return nn.Parameter(parameter.data, parameter.requires_grad)


@dataclass(frozen=True)
class Places:
    """Which entries of a parameter along an axis are read, where they are not the first ones.

    Attributes:
        indices: `(n,)` int64, each at most once.
    """

    indices: Tensor
    axis: int

    def of(self, tensor: Tensor) -> Tensor:
        """Those of a tensor, copied."""
        return tensor.index_select(self.axis, self.indices)


def copied(values: Tensor, parameter: nn.Parameter) -> nn.Parameter:
    """What was read of a parameter as one of its own. Layers are made on the meta device for it: nothing is drawn."""
    return nn.Parameter(values.detach().clone(memory_format=torch.contiguous_format), parameter.requires_grad)


class LeafViews:
    """The views and leaves handed out for one parameter, or buffer, made anew whenever its storage is replaced."""

    def __init__(self) -> None:
        self._views: dict[tuple[int, ...], Tensor] = {}
        self._leaves: dict[tuple[int, ...], Tensor] = {}
        self._address = 0
        self._channels_last = False

    def prefix(self, parameter: Tensor, sizes: tuple[int, ...], parts: int = 1) -> Tensor:
        """`parameter[:sizes[0], :sizes[1], ...]`, differentiable where gradients are on; of a buffer a view.

        In several `parts` it is that of the parameter as `(parts, …)`, its first dimension being theirs in turn.

        `backward` fills the prefix of `parameter.grad` as slicing would; `torch.autograd.grad` with respect to the
        parameter is not supported. Weights outside the prefix keep the gradient they have (zero after
        `zero_grad(set_to_none=False)`), so weight decay and momentum still move them, as in the published code.
        """
        if not (torch.is_grad_enabled() and parameter.requires_grad):
            return self._view(parameter, sizes, parts)
        if parameter.data_ptr() != self._address:
            self._start_over(parameter)
        leaf = self._leaves.get(sizes)
        if leaf is None:
            leaf = self._leaves[sizes] = self._leaf(parameter, sizes, parts)
        return leaf.permute(_FROM_MEMORY) if self._channels_last else leaf

    def _leaf(self, parameter: Tensor, sizes: tuple[int, ...], parts: int) -> Tensor:
        """A prefix as a leaf: in channels-last `(outputs, height, width, inputs)`, as it lies in memory.

        Autograd lays the gradient of a leaf with gaps out in the order of its dimensions. In another than that of
        memory what a convolution gives would be transposed for it, and back to be added to the parameter's.
        """
        view = _narrowed(parameter.detach(), sizes, parts)
        if not self._channels_last:
            return _leaf(view, parameter, lambda whole, own: _narrowed(whole, sizes, parts).add_(own))
        return _leaf(
            view.permute(_IN_MEMORY),
            parameter,
            lambda whole, own: _narrowed(whole, sizes, parts).permute(_IN_MEMORY).add_(own),
        )

    def read(self, parameter: Tensor, sizes: tuple[int, ...], indices: Tensor | None, axis: int) -> Tensor:
        """As `prefix`; along an axis the entries at some indices instead, if any are given."""
        if indices is None:
            return self.prefix(parameter, sizes)
        sizes = *sizes[:axis], parameter.shape[axis], *sizes[axis + 1 :]
        view, places = self._view(parameter, sizes), Places(indices, axis)
        learnt = torch.is_grad_enabled() and parameter.requires_grad
        return _leaf_of_places(view, parameter, sizes, places) if learnt else places.of(view)

    def _view(self, parameter: Tensor, sizes: tuple[int, ...], parts: int = 1) -> Tensor:
        """The prefix where it lies, which is not differentiable."""
        if parameter.data_ptr() != self._address:
            self._start_over(parameter)
        view = self._views.get(sizes)
        if view is None:
            view = self._views[sizes] = _narrowed(parameter.detach(), sizes, parts)
        return view

    def _start_over(self, parameter: Tensor) -> None:
        self._views.clear()
        self._leaves.clear()
        self._address = parameter.data_ptr()
        self._channels_last = parameter.ndim == 4 and not parameter.is_contiguous()

    def __deepcopy__(self, memo: dict[int, Any]) -> "LeafViews":
        return LeafViews()

    def __reduce__(self) -> tuple[type["LeafViews"], tuple[()]]:
        return LeafViews, ()


def leaf_of_places(parameter: Tensor, sizes: tuple[int, ...], places: Places) -> Tensor:
    """Places in a prefix as a leaf: `backward` adds its gradient there, and touches nothing else."""
    return _leaf_of_places(_narrowed(parameter.detach(), sizes), parameter, sizes, places)


def _leaf_of_places(view: Tensor, parameter: Tensor, sizes: tuple[int, ...], places: Places) -> Tensor:
    return _leaf(
        places.of(view),
        parameter,
        lambda whole, own: _narrowed(whole, sizes).index_add_(places.axis, places.indices, own),
    )


def _leaf(values: Tensor, parameter: Tensor, add: Callable[[Tensor, Tensor], object]) -> Tensor:
    """Values of a parameter as a leaf: `add(gradient of the whole parameter, its own)` as soon as it has one."""

    def hand_over(leaf: Tensor) -> None:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        assert leaf.grad is not None
        add(parameter.grad, leaf.grad)
        leaf.grad = None

    leaf = values.requires_grad_()
    leaf.register_post_accumulate_grad_hook(hand_over)
    return leaf


def _narrowed(tensor: Tensor, sizes: tuple[int, ...], parts: int = 1) -> Tensor:
    if parts > 1:
        tensor = tensor.unflatten(0, (parts, -1))
    for dimension, (size, full) in enumerate(zip(sizes, tensor.shape, strict=False)):
        if size != full:  # what is read or added to whole is so without another operation
            tensor = tensor.narrow(dimension, 0, size)
    return tensor
