"""Layers whose class does in turn what several of torch's do, such as a norm and the activation behind it.

The exchange table has rows for the parts, so that each norm policy and each kernel serves them, and what has no row is
tried like all that lies between layers. The network is changed by it; whoever refuses it puts it together again.
"""

from collections.abc import Mapping

from torch import nn

from trainers.nested.known import PARTS
from trainers.nested.table import Exchanges, class_name, named, refuse_more_than_forward


def decompose(network: nn.Module, exchanges: Exchanges) -> dict[str, nn.Module]:
    """Puts in the place of each such layer the Sequential of its parts, or the part if it is one.

    Args:
        network: plain.
        exchanges: layers of these classes stay whole.

    Returns:
        By path, the layers as they were: see `compose`.

    Raises:
        ValueError: a layer that does more than its class's forward.
    """
    layers: dict[str, nn.Module] = {}
    parts: dict[int, nn.Module] = {}  # by the layer: one of two paths stays one
    for path, layer in network.named_modules(remove_duplicate=False):
        split = PARTS.get(class_name(layer))
        if split is None or type(layer) in exchanges or not path:
            continue
        with named(network, path):
            for module in layer.modules():
                refuse_more_than_forward(module)
        layers[path] = layer
        if id(layer) not in parts:
            each = split(layer)
            parts[id(layer)] = each[0] if len(each) == 1 else nn.Sequential(*each)
            parts[id(layer)].train(layer.training)
    for path, layer in layers.items():
        network.set_submodule(path, parts[id(layer)])
    return layers


def compose(network: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Puts layers back where `decompose` found them."""
    for path, layer in layers.items():
        network.set_submodule(path, layer)
