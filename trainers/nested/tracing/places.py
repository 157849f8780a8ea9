"""Which channels reach every layer of a sub-model, where branches are concatenated."""

import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainers.nested.beside import Reach
from trainers.nested.prefix import prefix_length
from trainers.nested.tracing.search import search
from trainers.nested.tracing.walk import Walk
from trainers.submodel import SubModel


class PlacesFinder:
    """Finds the places of sub-models by running the network on noise with stand-ins for its layers; each once.

    Args:
        network: plain, before the exchange; nothing of it is kept but what lies between its layers.
        forms: by path, the nested layers that are exchanged for its own.
        input_shape: of one example.
        reaches: by full name, of what lies beside its layers.
    """

    def __init__(
        self,
        network: nn.Module,
        forms: Mapping[str, nn.Module],
        input_shape: tuple[int, ...],
        reaches: Mapping[str, Reach],
    ) -> None:
        self._walk = Walk(network, forms, input_shape, reaches)
        self._known: dict[tuple[SubModel, torch.device], Mapping[str, Tensor | None]] = {}
        self._lock = threading.Lock()

    def of(self, sub_model: SubModel, device: torch.device) -> Mapping[str, Tensor | None]:
        """By the path of a layer, `(c,)` int64 on the device: which channels of its whole input arrive.

        None where they are the first ones.
        """
        with self._lock:
            if (sub_model, device) not in self._known:
                found = search(self._walk, lambda dimension, full: prefix_length(full, sub_model[dimension])).places()
                self._known[sub_model, device] = {
                    path: None if places is None else places.to(device) for path, places in found.items()
                }
            return self._known[sub_model, device]

    def __deepcopy__(self, memo: dict[int, Any]) -> "PlacesFinder":
        """Itself: what it finds does not depend on weights."""
        return self
