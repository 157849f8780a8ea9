"""What lies beside layers and is as long as channels are many: layer scales, class tokens, positions, sizes.

A network's own forward reads them as attributes of its modules, and goes on doing so: the attribute gives the prefix.
Parameters keep their names.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainers.nested.prefix import LeafViews, copied, prefix_length, whole_multiple
from trainers.submodel import SubModel


@dataclass(frozen=True)
class Reach:
    """How far along channels an attribute goes.

    Attributes:
        dimension: the lattice's that decides how many a sub-model has.
        full: in the whole network.
        axis: of a tensor, along which they lie; None for a number that says how many they are.
        multiple: of which a sub-model's number is one.
    """

    dimension: str
    full: int
    axis: int | None = None
    multiple: int = 1

    def kept(self, prefix: Callable[[str, int], int]) -> int:
        """How many a sub-model has, `prefix` being (dimension, all of them) → how many of them it keeps."""
        return whole_multiple(prefix(self.dimension, self.full), self.multiple)


@dataclass
class NestedAttribute:
    """An attribute of which sub-models have a prefix: called with the whole of it, gives the active one's."""

    reach: Reach
    _active: int = field(init=False)
    _views: LeafViews = field(init=False, default_factory=LeafViews)

    def __post_init__(self) -> None:
        self._active = self.reach.full

    def activate(self, sub_model: SubModel) -> None:
        self._active = self.reach.kept(lambda dimension, full: prefix_length(full, sub_model[dimension]))

    def __call__(self, whole: Any) -> Any:
        if self.reach.axis is None:
            return self._active
        sizes = list(whole.shape)
        sizes[self.reach.axis] = self._active
        if isinstance(whole, nn.Parameter):
            return self._views.prefix(whole, tuple(sizes))
        return whole.narrow(self.reach.axis, 0, self._active)

    def plain(self, whole: Any) -> Any:
        """The active prefix on its own."""
        with torch.no_grad():
            read = self(whole)
        if isinstance(whole, nn.Parameter):
            return copied(read, whole)
        return read.clone() if isinstance(read, Tensor) else read


_READERS = "_attributes_read"


def read_by(module: nn.Module, name: str, reader: Any) -> None:
    """Has an attribute of one module, be it parameter, buffer or number, read through `reader(whole)` from now on."""
    readers = vars(module).setdefault(_READERS, {})
    readers[name] = reader
    kind = type(module) if len(readers) == 1 else type(module).__mro__[1]
    properties = {each: property(_reading(each), _writing(each)) for each in readers}
    module.__class__ = type(kind.__name__, (kind,), {"__module__": kind.__module__, **properties})


def attributes_of(network: nn.Module) -> Iterator[NestedAttribute]:
    """All nested attributes of a network's modules."""
    for module in network.modules():
        yield from vars(module).get(_READERS, {}).values()


def settle(network: nn.Module) -> None:
    """Leaves of nested attributes the active prefixes, each as what the whole of it is."""
    for module in network.modules():
        readers: dict[str, NestedAttribute] = vars(module).pop(_READERS, {})
        if readers:
            module.__class__ = type(module).__mro__[1]
        for name, attribute in readers.items():
            values = _holder(module, name)
            values[name] = attribute.plain(values[name])


def tensor_beside(network: nn.Module, name: str) -> Tensor:
    """The whole of a parameter or buffer by its full name, whatever is read in its place."""
    path, _, local = name.rpartition(".")
    whole = _holder(network.get_submodule(path), local)[local]
    assert isinstance(whole, Tensor)
    return whole


def _holder(module: nn.Module, name: str) -> dict[str, Any]:
    """What a module keeps an attribute in."""
    return next(values for values in (module._parameters, module._buffers, vars(module)) if name in values)


def _reading(name: str) -> Callable[[nn.Module], Any]:
    return lambda module: vars(module)[_READERS][name](_holder(module, name)[name])


def _writing(name: str) -> Callable[[nn.Module, Any], None]:
    return lambda module, value: _holder(module, name).update({name: value})


def install(network: nn.Module, reaches: Mapping[str, Reach]) -> None:
    """Has the attributes with these full names read as prefixes."""
    for name, reach in reaches.items():
        path, _, local = name.rpartition(".")
        read_by(network.get_submodule(path), local, NestedAttribute(reach))
