"""A network before anybody has said what it shall be nested in: every layer that can have fewer channels may."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from trainers.lattice import Lattice
from trainers.nested.decompose import compose, decompose
from trainers.nested.dimensions import Dimensions
from trainers.nested.layers.norms import norm_layer
from trainers.nested.table import WIDTH, Exchanges, nested_forms, standard_exchanges
from trainers.nested.tracing.anatomy import anatomise
from trainers.nested.tracing.walk import Walk

_WIDTHS = Lattice.product(**{WIDTH: (0.5, 1.0)})


@contextmanager
def at_any_width(network: nn.Module, input_shape: tuple[int, ...], exchanges: Exchanges) -> Iterator[Walk]:
    """A walk through the network, of which it is known what lies beside layers. The network stays as it is.

    Args:
        network: plain.
        input_shape: of one example.
        exchanges: rows of the exchange table beside or in place of its own.

    Raises:
        ValueError: a layer that has no nested form, with its path; a network that does not run on that shape.
    """
    layers = decompose(network, exchanges)
    try:
        rows = {**standard_exchanges(norm_layer("batch", _WIDTHS, "shared")), **exchanges}
        forms = nested_forms(network, rows, Dimensions(_WIDTHS).of_layer, frozenset())
        walk = Walk(network, forms, input_shape)
        anatomise(walk)
        yield walk
    finally:
        compose(network, layers)
