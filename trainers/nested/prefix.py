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


@dataclass(frozen=True)
class Slice:
    """Which part of a parameter is read: its first entries along every dimension, or along one those at places.

    Attributes:
        sizes: of what is read, along the first dimensions; along that of places all that there are.
        places: None: the first ones.
        parts: the parameter is taken as `(parts, …)`, its first dimension being theirs in turn.
    """

    sizes: tuple[int, ...]
    places: Places | None = None
    parts: int = 1

    def within(self, whole: Tensor) -> Tensor:
        """Where it lies in the parameter, or in something of its shape: of places all along their axis."""
        tensor = whole.unflatten(0, (self.parts, -1)) if self.parts > 1 else whole
        for dimension, (size, full) in enumerate(zip(self.sizes, tensor.shape, strict=False)):
            if size != full:  # what is read or added to whole is so without another operation
                tensor = tensor.narrow(dimension, 0, size)
        return tensor

    def add(self, whole: Tensor, own: Tensor) -> None:
        """Adds its own gradient to that of the whole."""
        if self.places is None:
            self.within(whole).add_(own)
        else:
            self.within(whole).index_add_(self.places.axis, self.places.indices, own)

    def add_from_memory(self, whole: Tensor, own: Tensor) -> None:
        """As `add`, for a gradient `(outputs, height, width, inputs)`, as in channels-last it lies in memory."""
        self.within(whole).permute(_IN_MEMORY).add_(own)


class Read:
    """A part of a parameter or buffer, for as long as that stays in its memory.

    Attributes:
        parameter: or a buffer, which is never differentiable.
        part: of it.
        view: where it lies; of places all along their axis.
    """

    __slots__ = ("_channels_last", "_leaf", "parameter", "part", "view")

    def __init__(self, parameter: Tensor, part: Slice) -> None:
        self.parameter, self.part = parameter, part
        with torch.inference_mode(False):  # it outlives this pass, and the next may be another kind of
            self.view = part.within(parameter.detach())
        self._channels_last = parameter.ndim == 4 and not parameter.is_contiguous()
        self._leaf: Tensor | None = None

    def values(self) -> Tensor:
        """Not differentiable; of places a copy, else where they lie."""
        return self.view if self.part.places is None else self.part.places.of(self.view)

    def dense(self) -> Tensor:
        """As `values`, but a convolution's weights without gaps, as it would copy them at every pass."""
        values = self.values()
        if values.ndim != 4:
            return values
        return values.contiguous(memory_format=torch.channels_last if self._channels_last else torch.contiguous_format)

    def dense_again(self, out: Tensor) -> None:
        """Into what `dense` gave, if that was a copy."""
        if self.part.places is None:
            out.copy_(self.view)
        else:
            torch.index_select(self.view, self.part.places.axis, self.part.places.indices, out=out)

    def learnt(self) -> Tensor:
        """Differentiable where gradients are on and the parameter is learnt.

        `backward` fills its part of `parameter.grad` as slicing would; `torch.autograd.grad` with respect to the
        parameter is not supported. Weights outside keep the gradient they have (zero after
        `zero_grad(set_to_none=False)`), so weight decay and momentum still move them, as in the published code.
        """
        if not (torch.is_grad_enabled() and self.parameter.requires_grad):
            return self.values()
        if self.part.places is not None:
            return _leaf(self.values(), self.parameter, self.part.add)
        if self._leaf is None:
            self._leaf = self._lasting_leaf()
        return self._leaf.permute(_FROM_MEMORY) if self._channels_last else self._leaf

    def add(self, own: Tensor) -> None:
        """Adds its own gradient to the parameter's."""
        self.part.add(_gradient(self.parameter), own)

    def _lasting_leaf(self) -> Tensor:
        """The view as a leaf: in channels-last as it lies in memory.

        Autograd lays the gradient of a leaf with gaps out in the order of its dimensions. In another than that of
        memory what a convolution gives would be transposed for it, and back to be added to the parameter's.
        """
        if self._channels_last:
            return _leaf(self.view.permute(_IN_MEMORY), self.parameter, self.part.add_from_memory)
        return _leaf(self.view.detach(), self.parameter, self.part.add)


class LeafViews:
    """What is read of one parameter or buffer, made anew whenever its storage is replaced."""

    def __init__(self) -> None:
        self._reads: dict[tuple[int, ...], Read] = {}
        self._address = 0

    def of(
        self, parameter: Tensor, sizes: tuple[int, ...], indices: Tensor | None = None, axis: int = 0, parts: int = 1
    ) -> Read:
        """`parameter[:sizes[0], :sizes[1], ...]`, or along an axis the entries at some indices, if any are given.

        In several `parts` it is that of the parameter as `(parts, …)`, its first dimension being theirs in turn.
        """
        if indices is not None:
            sizes = *sizes[:axis], parameter.shape[axis], *sizes[axis + 1 :]
            return Read(parameter, Slice(sizes, Places(indices, axis), parts))
        if parameter.data_ptr() != self._address:
            self._reads.clear()
            self._address = parameter.data_ptr()
        read = self._reads.get(sizes)
        if read is None or read.parameter is not parameter:
            read = self._reads[sizes] = Read(parameter, Slice(sizes, None, parts))
        return read

    def prefix(self, parameter: Tensor, sizes: tuple[int, ...], parts: int = 1) -> Tensor:
        """The prefix, differentiable as `Read.learnt` says."""
        return self.of(parameter, sizes, parts=parts).learnt()

    def read(self, parameter: Tensor, sizes: tuple[int, ...], indices: Tensor | None, axis: int) -> Tensor:
        """As `prefix`; along an axis the entries at some indices instead, if any are given."""
        return self.of(parameter, sizes, indices, axis).learnt()

    def __deepcopy__(self, memo: dict[int, Any]) -> "LeafViews":
        return LeafViews()

    def __reduce__(self) -> tuple[type["LeafViews"], tuple[()]]:
        return LeafViews, ()


def _gradient(parameter: Tensor) -> Tensor:
    """A parameter's, zeros if it has none yet."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _leaf(values: Tensor, parameter: Tensor, add: Callable[[Tensor, Tensor], object]) -> Tensor:
    """Values of a parameter as a leaf: `add(gradient of the whole parameter, its own)` as soon as it has one."""

    def hand_over(leaf: Tensor) -> None:
        assert leaf.grad is not None
        add(_gradient(parameter), leaf.grad)
        leaf.grad = None

    leaf = values.requires_grad_()
    leaf.register_post_accumulate_grad_hook(hand_over)
    return leaf
