"""A sub-model's run beside the whole network's with zeros outside of it: both must be met by the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainers.nested.tracing.search import Search
from trainers.nested.tracing.walk import Prefix, StandIn, Visit, Walk, everything

_CLOSE = 1e-4  # of the largest number: operations round differently on another number of channels
_CONDITIONAL = "whether it runs depends on how many channels there are: let every layer run at every width"


@dataclass(frozen=True)
class Call:
    """What a layer met in a sub-model, and what it gave; the places of the former in the whole network."""

    layer: StandIn
    x: Tensor
    y: Tensor
    places: Tensor


class AsSubModel(Visit):
    """As many channels as a sub-model has, of noise.

    Attributes:
        calls: of the layers, in the order in which they ran.
    """

    whole = False

    def __init__(self, walk: Walk, prefix: Prefix, found: Sequence[tuple[StandIn, Tensor]]) -> None:
        super().__init__(walk)
        self._prefix, self._found = prefix, found
        self.calls: list[Call] = []

    def meet(self, layer: StandIn, x: Tensor) -> Tensor:
        shape, places = layer.shape(x, self._prefix), self._places(layer, x.shape[layer.axis])
        y = self.walk.noisy(layer, len(x), shape, shape[layer.axis])
        self.calls.append(Call(layer, x.clone(), y.clone(), places))  # what follows may change them in place
        return y

    def beside(self, name: str, whole: Any) -> Any:
        reach = self.walk.reaches.get(name)
        if reach is None:
            return whole
        kept = reach.kept(self._prefix)
        return kept if reach.axis is None else whole.narrow(reach.axis, 0, kept)

    def _places(self, layer: StandIn, channels: int) -> Tensor:
        """Where those lie that reach a layer now."""
        number = len(self.calls)
        if number == len(self._found) or self._found[number][0] is not layer:
            raise self.walk.refusal(layer.path, _CONDITIONAL)
        places = self._found[number][1]
        if len(places) != channels:
            raise self.walk.refusal(layer.path, f"what reaches it {_broken(channels, layer.inputs)}")
        return places


class _AsMask(Visit):
    """All channels: what the layers gave in a sub-model, and zeros."""

    def __init__(self, walk: Walk, prefix: Prefix, calls: Sequence[Call]) -> None:
        super().__init__(walk)
        self._prefix, self._calls, self._place = prefix, calls, 0

    def meet(self, layer: StandIn, x: Tensor) -> Tensor:
        if self._place == len(self._calls) or self._calls[self._place].layer is not layer:
            raise self.walk.refusal(layer.path, _CONDITIONAL)
        call, axis = self._calls[self._place], layer.axis
        self._place += 1
        if not _same(call.x, x, axis, call.places):
            raise self.walk.refusal(layer.path, f"what reaches it {_broken(call.x.shape[axis], layer.inputs)}")
        y = torch.zeros(layer.shape(x, everything), device=self.walk.device)
        return y.index_copy_(axis, layer.kept(x, self._prefix, call.places), call.y)

    def beside(self, name: str, whole: Any) -> Any:
        return self.walk.masked(name, whole, self._prefix, 0)

    def check_end(self) -> None:
        """Refuses a layer that ran in the sub-model only."""
        if self._place != len(self._calls):
            raise self.walk.refusal(self._calls[self._place].layer.path, _CONDITIONAL)


def compare(walk: Walk, prefix: Prefix) -> Search:
    """Compares the sub-model that keeps so many outputs of each layer with the whole network.

    Returns:
        Which channels reach its layers.

    Raises:
        ValueError: the path of the first layer that does not meet what it must.
    """
    images, places = walk.images(), Search(walk, prefix)
    walk.run(places, images)
    places.places()
    alone = AsSubModel(walk, prefix, places.found)
    sliced = walk.run(alone, images)
    mask = _AsMask(walk, prefix, alone.calls)
    whole = walk.run(mask, images)
    mask.check_end()
    for one, other in zip(sliced, whole, strict=True):
        if not _same(one, other, 1, torch.arange(one.shape[1], device=one.device)):
            raise walk.refusal("", f"what it gives {_broken(one.shape[1], other.shape[1])}")
    return places


def _same(sliced: Tensor, whole: Tensor, axis: int, places: Tensor) -> bool:
    """Whether a tensor is another one at some places, outside of which there is nothing but constants."""
    shape = list(whole.shape)
    shape[axis] = len(places)
    if list(sliced.shape) != shape:
        return False
    others = torch.ones(whole.shape[axis], dtype=torch.bool, device=whole.device).index_fill_(0, places, False)
    inside, outside = whole.index_select(axis, places), whole.index_select(axis, others.nonzero().flatten())
    pairs = (sliced, inside), (outside[:1].expand_as(outside), outside)
    if all(torch.equal(one, other) for one, other in pairs):  # many times as fast as what follows
        return True
    tolerance = _CLOSE * float(whole.nan_to_num().abs().max())
    return all(torch.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True) for one, other in pairs)


def _broken(channels: int, whole: int) -> str:
    return (
        f"in a sub-model isn't {channels} of {whole} channels in their order: they are split, reordered or mixed "
        "before, outside of layers, and such networks aren't supported yet"
    )
