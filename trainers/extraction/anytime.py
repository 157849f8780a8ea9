"""One network that answers at any size: the sub-model is chosen per call, and nothing is copied."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from trainers.errors import ConfigError, unknown
from trainers.measuring.cost import MacCounter
from trainers.nested.encoder import NestedEncoder
from trainers.nested.network import NestedNetwork
from trainers.tasks.task import Inputs
from trainers.training.state import Network

_PARAMETERS = ("sub_model", "max_macs")


class Anytime:
    """Runs a trained nested network at a size chosen call by call.

    Switching changes how many channels and blocks the layers read; weights stay where they are. Calls from several
    threads take turns, since the active sub-model belongs to the network.

    Args:
        network: trained; put into evaluation mode.
        macs: of every target by its label; counted unless given.

    Raises:
        ValueError: an encoder, or separate networks, without them.
    """

    def __init__(self, network: Network, macs: Mapping[str, int] | None = None) -> None:
        self._network = network.eval()
        self._lock = Lock()
        self._targets = {target.label: target for target in network.lattice}
        self.macs = _counted(network) if macs is None else dict(macs)

    def __call__(self, x: Tensor | Inputs, sub_model: str | None = None, max_macs: float | None = None) -> Tensor:
        """Logits of `x: (N, C, H, W)`, normalised as in training, or of what an encoder is called with.

        Args:
            sub_model: a target by its label; the largest unless given.
            max_macs: take the largest target with at most so many multiply-accumulates per example instead.

        Raises:
            ConfigError: no such target.
            ValueError: none is so small, or both are given.
        """
        label = self.choose(sub_model, max_macs)
        with self._lock, torch.inference_mode():
            self._network.activate(self._targets[label])
            out = self._network(*((x,) if isinstance(x, Tensor) else x))
        logits: Tensor = out if isinstance(out, Tensor) else out.logits
        return logits

    def choose(self, sub_model: str | None = None, max_macs: float | None = None) -> str:
        """The label of the target that would answer; as `__call__`."""
        if max_macs is None:
            label = sub_model or self._network.lattice.largest.label
            if label not in self._targets:
                raise unknown("target", label, self._targets)
            return label
        if sub_model is not None:
            raise ValueError("give a sub-model or a bound on its multiply-accumulates, not both")
        fitting = [label for label, macs in self.macs.items() if macs <= max_macs]
        if not fitting:
            raise ValueError(
                f"no target has {max_macs:,.0f} MACs or fewer; the smallest has {min(self.macs.values()):,}"
            )
        return max(fitting, key=self.macs.__getitem__)


def chosen_by(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """What of a request's parameters `Anytime` is called with.

    Raises:
        ConfigError: one that it does not have.
    """
    chosen = {name: value for name, value in (params or {}).items() if value is not None}
    if foreign := chosen.keys() - set(_PARAMETERS):
        raise ConfigError(f"unknown parameter {min(foreign)!r}: choose from {', '.join(_PARAMETERS)}")
    return chosen


def _counted(network: Network) -> dict[str, int]:
    if not isinstance(network, NestedNetwork):
        kind = "encoders" if isinstance(network, NestedEncoder) else "separate networks"
        raise ValueError(f"{kind} do not say what they take: give the multiply-accumulates of each")
    macs = MacCounter(network)
    return {target.label: macs(target) for target in network.lattice}
