"""Everything a trial carries from one step to the next, and how it is written down.

Randomness is addressed by index, so the state is small: weights, what the optimizer remembers, the ledger, the running
loss. Tensors are safetensors and the rest JSON: nothing is ever unpickled.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainers.nested.encoder import NestedEncoder
from trainers.nested.network import NestedNetwork
from trainers.nested.separate import SeparateNetworks
from trainers.optimizers.optimizer import Optimizer
from trainers.submodel import SubModel
from trainers.training.ledger import UpdateLedger
from trainers.weights import load_weights, named_weights

WEIGHTS, MOMENTUM, STATE = "weights.safetensors", "momentum.safetensors", "state.json"
Network = NestedNetwork | NestedEncoder | SeparateNetworks
_MEMORY = 0.9  # of the running loss per target


class TrainingState:
    """The mutable part of a trial. `loss_sum` covers the passes since the last evaluation, on the device.

    Args:
        network: as training starts.
        optimize: makes the optimizer of a network.
        ledger: empty.
    """

    def __init__(self, network: Network, optimize: Callable[[nn.Module], Optimizer], ledger: UpdateLedger) -> None:
        self.network, self.ledger = network, ledger
        self._optimize = optimize
        self.optimizer = optimize(network)
        self.extracted = False
        self._recent: dict[str, float] = {}
        self._best: dict[str, float] = {}
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=next(network.parameters()).device)
        self.losses = 0
        self.diverged = False

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Those that share nothing: each target's own, or the one that all are parts of."""
        return tuple(self.network.networks.values()) if isinstance(self.network, SeparateNetworks) else (self.network,)

    def note_gap(self, sub_model: SubModel, loss: Tensor) -> None:
        """Follows the recent loss of a target; waits for the device."""
        if sub_model in self.ledger.lattice:
            label, now = sub_model.label, float(loss.detach())
            self._recent[label] = _MEMORY * self._recent.get(label, now) + (1 - _MEMORY) * now
            self._best[label] = min(self._best.get(label, now), self._recent[label])

    @property
    def gaps(self) -> dict[str, float]:
        """Per target that has had a pass, how far its recent loss lies above the lowest it has been."""
        return {label: recent - self._best[label] for label, recent in self._recent.items()}

    def extract_all(self) -> None:
        """Goes on with a network of its own for every target, cut out of the nested one, and a fresh optimizer."""
        assert not isinstance(self.network, SeparateNetworks)
        self.network = SeparateNetworks.cut_out(self.network)
        self.optimizer = self._optimize(self.network)
        self.extracted = True

    def take_mean_loss(self) -> float:
        """The mean loss since it was last taken."""
        mean = self.loss_sum.item() / max(1, self.losses)
        self.loss_sum.zero_()
        self.losses = 0
        return mean

    def save(self, directory: Path) -> None:
        """Writes weights, the optimizer's state and counters into an existing directory."""
        save_file(_packed(named_weights(self.network)), directory / WEIGHTS)
        save_file(_packed(self.optimizer.state()), directory / MOMENTUM)
        counters = {
            "ledger": self.ledger.as_dict(),
            "loss_sum": self.loss_sum.item(),
            "losses": self.losses,
            "diverged": self.diverged,
            "extracted": self.extracted,
            "recent": self._recent,
            "best": self._best,
        }
        (directory / STATE).write_text(json.dumps(counters))

    def restore(self, directory: Path) -> None:
        """Takes over what `save` wrote.

        Raises:
            ValueError: a file that is not what it should be, or belongs to another network.
        """
        try:
            weights, momentum = load_file(directory / WEIGHTS), load_file(directory / MOMENTUM)
            counters = json.loads((directory / STATE).read_text())
            ledger = UpdateLedger.from_dict(self.ledger.lattice, counters["ledger"])
            loss_sum, losses = float(counters["loss_sum"]), int(counters["losses"])
            flags = counters["extracted"], counters["diverged"]
            recent, best = counters["recent"], counters["best"]
            if not all(type(flag) is bool for flag in flags):
                raise ValueError("a flag is neither true nor false")
            if not all(type(value) is float for known in (recent, best) for value in known.values()):
                raise ValueError("a loss is no number")
            if counters["extracted"] and not self.extracted:
                self.extract_all()
            momenta = self.optimizer.state()
            if _shapes(momentum) != _shapes(momenta):
                raise ValueError("the momentum of another network or optimizer")
            load_weights(self.network, weights)
        except (
            SafetensorError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RuntimeError
        ) as error:  # fmt: skip
            raise ValueError(f"{directory} holds no usable training state: {error}") from error
        for name, tensor in momenta.items():
            tensor.copy_(momentum[name])
        self.ledger = ledger
        self.loss_sum.fill_(loss_sum)
        self.losses, self.diverged = losses, counters["diverged"]
        self._recent, self._best = recent, best


def _packed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
