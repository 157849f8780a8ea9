"""The contract of nesting: a sub-model is the whole network with everything outside of its prefixes zero.

Layers keep it by giving prefixes. What lies between them may break it: behind a concatenation the channels of a
sub-model are the first ones of every branch and not the first of all, behind a split they may be none, and a sub-model
that takes them for others is another network, whose weights were made for something else. Such operations have no end,
so none is listed here. Instead the network is run with stand-ins for its layers, whose outputs are noise:

- with all channels, NaN outside of the prefixes: those that reach a layer as numbers are its places in the sub-model;
- with as many channels as the sub-model has;
- with all channels again, zero outside of the prefixes. At its places each layer must meet what it met in the
  sub-model, and elsewhere nothing but constants.

And nothing may be drawn from the generators of the process: a resumed trial has lost them.
"""

from collections.abc import Mapping

from torch import nn

from trainers.nested.dimensions import Dimensions
from trainers.nested.prefix import prefix_length
from trainers.nested.tracing.anatomy import Anatomy, anatomise, hint, in_multiples, obeyed, prime_prefix
from trainers.nested.tracing.search import alike, search
from trainers.nested.tracing.sub_model import compare
from trainers.nested.tracing.walk import Prefix, Refused, Walk


def check_sub_models(
    network: nn.Module,
    forms: Mapping[str, nn.Module],
    dimensions: Dimensions,
    input_shape: tuple[int, ...],
) -> Anatomy:
    """Refuses a network whose sub-models would not be parts of it. It is neither changed nor are its layers run.

    It is tried at full depth in evaluation mode with prime numbers of channels, near half of each layer's, which
    nothing can split evenly; and at the smallest target in training mode.

    Args:
        network: plain, before the exchange.
        forms: by path, the nested layers that are to be exchanged for its own.
        dimensions: how the lattice is laid over it.
        input_shape: of one example.

    Returns:
        What was found out. The forms have their multiples.

    Raises:
        ValueError: the path of the first layer that does not meet what it must, and why.
    """
    walk = Walk(network, forms, input_shape)
    try:
        multiples = anatomise(walk)
        prefixes = [compare(walk, prime_prefix).prefixes]
    except Refused as error:
        raise Refused(f"{error}{hint(walk)}") from error
    if len(names := obeyed(walk)) > 1:
        prefixes.extend(compare(walk, _prime_in(alone)).prefixes for alone in names)
    least = dimensions.lattice.smallest
    for name, blocks in dimensions.blocks.items():
        walk.leave_out(blocks[int(least[name]) :])

    def smallest(dimension: str, full: int) -> int:
        return prefix_length(full, least[dimension])

    _check_modes(walk, smallest)
    walk.network.train()
    prefixes.append(compare(walk, smallest).prefixes)
    return in_multiples(Anatomy(all(prefixes), multiples, dict(walk.reaches)), forms, dimensions.multiple)


def _check_modes(walk: Walk, prefix: Prefix) -> None:
    """Refuses a layer that other channels of the sub-model reach in training than in evaluation."""
    in_evaluation = search(walk, prefix).places()
    walk.network.train()
    in_training = search(walk, prefix).places()
    walk.network.eval()
    for path, places in in_evaluation.items():
        if path in in_training and not alike(places, in_training[path]):
            raise walk.refusal(path, "other channels of a sub-model reach it in training than in evaluation")


def _prime_in(alone: str) -> Prefix:
    """In one dimension only."""
    return lambda dimension, full: prime_prefix(dimension, full) if dimension == alone else full
