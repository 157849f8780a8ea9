"""Which channels reach the layers of a sub-model: those that are numbers where all that it lacks is NaN."""

from typing import Any

import torch
from torch import Tensor

from trainers.nested.layers.layer import PlacedLayer
from trainers.nested.tracing.walk import Prefix, StandIn, Visit, Walk, everything


class Search(Visit):
    """The whole network, NaN outside of a sub-model's prefixes.

    Attributes:
        found: the layers, in the order in which they ran, each with the channels of its input that are numbers.
    """

    def __init__(self, walk: Walk, prefix: Prefix) -> None:
        super().__init__(walk)
        self._prefix = prefix
        self.found: list[tuple[StandIn, Tensor]] = []

    def meet(self, layer: StandIn, x: Tensor) -> Tensor:
        places = torch.logical_not(missing(x, layer.axis)).nonzero().flatten()
        self.found.append((layer, places))
        if not is_first(places) and not isinstance(layer.nested, PlacedLayer):
            raise self.walk.refusal(
                layer.path,
                f"what reaches it in a sub-model isn't the first {len(places)} of {layer.inputs} channels, and "
                f"{type(layer.nested).__name__} knows no others",
            )
        shape = layer.shape(x, everything)
        y = torch.full(shape, torch.nan, device=self.walk.device)
        kept = layer.kept(x, self._prefix, places)
        return y.index_copy_(layer.axis, kept, self.walk.noisy(layer, len(x), shape, len(kept)))

    def beside(self, name: str, whole: Any) -> Any:
        return self.walk.masked(name, whole, self._prefix, torch.nan)

    @property
    def prefixes(self) -> bool:
        """Whether all places that were found are the first ones."""
        return all(is_first(places) for _, places in self.found)

    def places(self) -> dict[str, Tensor | None]:
        """By path, which channels of a layer's whole input reach it in the sub-model; None for the first ones.

        Raises:
            ValueError: a layer that ran twice, and was met by different ones.
        """
        places: dict[str, Tensor | None] = {}
        for layer, indices in self.found:
            found = None if is_first(indices) else indices
            if not alike(places.setdefault(layer.path, found), found):
                reason = "it runs twice, and is met by other channels of a sub-model each time"
                raise self.walk.refusal(layer.path, reason)
        return places


def search(walk: Walk, prefix: Prefix) -> Search:
    """What was found of a sub-model.

    Raises:
        ValueError: a layer that it does not suit, by path.
    """
    visit = Search(walk, prefix)
    walk.run(visit, walk.images())
    return visit


def missing(x: Tensor, axis: int) -> Tensor:
    """`(c,)` bool: which of the channels along an axis hold a NaN."""
    return x.isnan().transpose(0, axis).flatten(1).any(1)


def is_first(places: Tensor) -> bool:
    """Whether they are 0, 1, 2, …"""
    return torch.equal(places, torch.arange(len(places), device=places.device))


def alike(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether the same places were found."""
    return one is other is None or (one is not None and other is not None and torch.equal(one, other))
