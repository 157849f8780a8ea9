"""Programs of a launch in another order than the interpreter's, which takes one after the other from the first on."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from unittest.mock import patch

from triton.runtime import interpreter


@contextmanager
def in_disorder(seed: int) -> Iterator[None]:
    """Every launch inside runs its programs in an order of its own."""
    builder, shuffled = interpreter.interpreter_builder, random.Random(seed)
    start, place = builder.set_grid_dim, builder.set_grid_idx
    order: dict[tuple[int, ...], tuple[int, ...]] = {}

    def set_grid_dim(*sides: int) -> None:
        start(*sides)
        places = list(product(*map(range, sides)))
        order.clear()
        order.update(zip(places, shuffled.sample(places, len(places)), strict=True))

    with (
        patch.object(builder, "set_grid_dim", set_grid_dim),
        patch.object(builder, "set_grid_idx", lambda *at: place(*order[at])),
    ):
        yield
