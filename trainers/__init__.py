"""Nested (many-in-one) networks and the one loop that trains them. Knows nothing of schedulers or trackers.

The public names are those in `__all__`, imported where they are first used: torch alone takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.data.images.arrays import ImageArrays
    from trainers.extraction.anytime import Anytime
    from trainers.lattice import Lattice
    from trainers.nested.describing import describe
    from trainers.nested.encoder import NestedEncoder
    from trainers.nested.exchange import nest
    from trainers.nested.layers.layer import FollowingLayer
    from trainers.nested.reordering import Reordering
    from trainers.nested.table import Exchange
    from trainers.sampling.sampler import Moment
    from trainers.submodel import SubModel
else:
    _MODULES = {
        "Anytime": "trainers.extraction.anytime",
        "Exchange": "trainers.nested.table",
        "FollowingLayer": "trainers.nested.layers.layer",
        "ImageArrays": "trainers.data.images.arrays",
        "Lattice": "trainers.lattice",
        "Moment": "trainers.sampling.sampler",
        "NestedEncoder": "trainers.nested.encoder",
        "Reordering": "trainers.nested.reordering",
        "SubModel": "trainers.submodel",
        "describe": "trainers.nested.describing",
        "nest": "trainers.nested.exchange",
    }

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


__all__ = [
    "Anytime",
    "Exchange",
    "FollowingLayer",
    "ImageArrays",
    "Lattice",
    "Moment",
    "NestedEncoder",
    "Reordering",
    "SubModel",
    "describe",
    "nest",
]
