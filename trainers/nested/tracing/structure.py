"""Residual blocks and stages, found in a network by running it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from trainers.nested.dimensions import Stage
from trainers.nested.layers.attention import NestedSelfAttention
from trainers.nested.layers.convolution import NestedConv2d
from trainers.nested.tracing.channels import ChannelMap
from trainers.nested.tracing.walk import StandIn, Visit, Walk, everything

_FILTERS = (NestedConv2d, NestedSelfAttention)  # that may follow, and give zeros as weights of zero would


class _Without(Visit):
    """The whole network on noise, the layers inside of a module giving zeros. Norms give what they meet."""

    watched = False

    def __init__(self, walk: Walk, module: str) -> None:
        super().__init__(walk)
        self._module = module

    def meet(self, layer: StandIn, x: Tensor) -> Tensor:
        shape = layer.shape(x, everything)
        if layer.follows(x) and not isinstance(layer.nested, _FILTERS):
            return x.clone()
        if layer.path.startswith(f"{self._module}."):
            return torch.zeros(shape, device=self.walk.device)
        return self.walk.random(*shape)


def find_blocks(walk: Walk) -> tuple[str, ...]:
    """Paths of the residual blocks whose output is as their input, in the order in which they run.

    Such a block gives what it is given wherever all of its layers give zero, so the network goes on without it. Where
    one is inside of another, it is the inner one; norms are passed by in trying, so blocks that end with one are found,
    too.
    """
    images = walk.images(1)
    shapes = dict[str, bool]()
    with _watching(walk, lambda path, x, out: shapes.setdefault(path, _alike(x, out))):
        walk.run(_Without(walk, ""), images)
    blocks = []
    for path, alike in shapes.items():
        if not alike or not any(inside.startswith(f"{path}.") for inside in walk.forms):
            continue
        same: list[bool] = []
        with _watching(walk, lambda _, x, out, same=same: same.append(torch.equal(x, out)), path):
            walk.run(_Without(walk, path), images)
        if same and all(same):
            blocks.append(path)
    return tuple(path for path in blocks if not any(other.startswith(f"{path}.") for other in blocks))


def _alike(x: Any, out: Any) -> bool:
    return isinstance(x, Tensor) and isinstance(out, Tensor) and x.shape == out.shape


@contextmanager
def _watching(walk: Walk, note: Any, only: str | None = None) -> Iterator[None]:
    """Notes (path, input, output) of modules that are called with one tensor, or of one of them."""
    given: dict[str, Any] = {}
    handles = []

    def before(path: str, inputs: tuple[Any, ...]) -> None:
        given[path] = inputs[0].clone() if len(inputs) == 1 and isinstance(inputs[0], Tensor) else None

    def after(path: str, out: Any) -> None:
        note(path, given[path], out)

    for path, module in walk.network.named_modules():
        if only is None or path == only:
            handles.append(module.register_forward_pre_hook(lambda _, inputs, path=path: before(path, inputs)))
            handles.append(module.register_forward_hook(lambda _, inputs, out, path=path: after(path, out)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def find_stages(channels: ChannelMap, blocks: tuple[str, ...]) -> tuple[Stage, ...]:
    """The stages of a network, in the order in which they run.

    A stage is what its residual blocks add to, with the layers that run before it and after the one before. Where there
    are no such blocks, it is all that gives images of one size. Heads are in none.
    """
    place = _by_stream(channels, blocks) or _by_size(channels)
    count = max(place.values(), default=-1) + 1
    layers: list[set[str]] = [set() for _ in range(count)]
    for number, stream in enumerate(channels.streams):
        names = {source.name for source in stream.sources}
        if not names & channels.heads:
            layers[place[number]] |= {source.name for source in stream.sources if not source.beside}
    for path, read in channels.read.items():
        read_from = [number for number in read[0].unique().tolist() if number >= 0]
        if not any(path in names for names in layers) and path not in channels.heads and read_from:
            layers[place[max(read_from)]].add(path)
    found = [Stage(frozenset(names), tuple(b for b in blocks if _inside(b, names))) for names in layers]
    return tuple(found)


def _inside(block: str, layers: set[str]) -> bool:
    return any(layer.startswith(f"{block}.") for layer in layers)


def _by_stream(channels: ChannelMap, blocks: tuple[str, ...]) -> Mapping[int, int]:
    """By number of a stream, its stage: that of the blocks which add to it, of the one it is in, or of the next.

    Nothing, if blocks add to none.
    """
    added: list[int] = []  # streams that blocks add to
    homes: dict[int, str] = {}  # the block that all of a stream is in
    for number, stream in enumerate(channels.streams):
        names = [source.name for source in stream.sources if not source.beside]
        around = {next((block for block in blocks if name.startswith(f"{block}.")), "") for name in names}
        if len(around) > 1:
            added.append(number)
        elif around and around != {""}:
            homes[number] = around.pop()
    if not added:
        return {}
    stages = {number: place for place, number in enumerate(added)}
    of_block: dict[str, int] = {}
    for number in added:
        for source in channels.streams[number].sources:
            block = next((block for block in blocks if source.name.startswith(f"{block}.")), None)
            if block is not None:
                of_block[block] = stages[number]
    place, coming = {}, len(added) - 1
    for number in reversed(range(len(channels.streams))):
        if number in stages:
            coming = stages[number]
            place[number] = coming
        else:
            place[number] = of_block.get(homes.get(number, ""), coming)
    return place


def _by_size(channels: ChannelMap) -> Mapping[int, int]:
    """By number of a stream, which size of images it is of, in the order in which they come."""
    sizes: list[tuple[int, ...]] = []
    place = {}
    for number, stream in enumerate(channels.streams):
        size = stream.sources[0].size
        if len(size) > 1 and size not in sizes:
            sizes.append(size)
        place[number] = sizes.index(size) if size in sizes else max(0, len(sizes) - 1)
    return place
