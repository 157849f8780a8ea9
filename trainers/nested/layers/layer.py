"""What a nested layer offers: to be switched between sub-models, cut out as a plain one, and known by its shape."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from trainers.submodel import SubModel

Shape = tuple[int, ...]


@runtime_checkable
class NestedLayer(Protocol):
    """A layer that reads a prefix of its parameters: inputs by whatever arrives, outputs by the active sub-model.

    Attributes:
        dimension: the lattice's, which decides how many outputs it has. None: all of them in every sub-model, or as
            many as arrive.
        inputs: channels or features that reach it in the largest sub-model.
        axis: along which they lie, in what it reads and in what it gives.
    """

    dimension: str | None
    inputs: int
    axis: int

    def activate(self, sub_model: SubModel) -> None:
        """Reads the prefix of `sub_model` from now on."""

    def plain(self, channels: int) -> nn.Module:
        """A copy of the active sub-model's layer in plain PyTorch, for inputs of `channels` channels."""

    def output_shape(self, shape: Shape, prefix: Callable[[int], int]) -> Shape:
        """Of what it gives for an input of `shape`, if of n outputs that its dimension decides on `prefix(n)` are kept.

        Asked of every layer before training, and of no sub-model in particular, to try whether prefixes stay prefixes.

        Raises:
            ValueError: it takes no such input.
        """

    def __call__(self, x: Tensor) -> Tensor: ...


class FollowingLayer:
    """A nested layer's parts for one that has no channels of its own: it gives as many as arrive, in their order.

    What derives from it and from `nn.Module` sets `inputs` and says what is `plain`.
    """

    dimension: str | None = None
    axis = 1

    def activate(self, sub_model: SubModel) -> None:
        """Nothing to do: the incoming tensor tells how many there are."""

    def output_shape(self, shape: Shape, prefix: Callable[[int], int]) -> Shape:
        """`shape`."""
        return shape


@runtime_checkable
class ElasticLayer(NestedLayer, Protocol):
    """A nested layer that decides how many channels the ones behind it meet.

    Attributes:
        outputs: of the active sub-model.
    """

    outputs: int


@runtime_checkable
class SteppedLayer(NestedLayer, Protocol):
    """A nested layer that keeps a multiple of outputs, since one behind it takes them in groups or heads.

    Attributes:
        multiple: of outputs.
        outputs: of the active sub-model.
        full: outputs of the largest one.
    """

    multiple: int
    outputs: int

    @property
    def full(self) -> int: ...


@runtime_checkable
class PlacedLayer(NestedLayer, Protocol):
    """A nested layer that can be met by other channels of its whole input than the first ones.

    Behind a concatenation of branches a sub-model has the first channels of each.

    Attributes:
        places: `(c,)` int64, which channels of its whole input are those that arrive; None: the first ones.
    """

    places: Tensor | None


def image_shape(shape: Shape) -> Shape:
    """`shape` itself.

    Raises:
        ValueError: it is not that of a batch of images.
    """
    if len(shape) != 4:
        raise ValueError(f"it meets a tensor of {len(shape)} dimensions rather than (N, C, H, W)")
    return shape
