"""Everything a trial carries from one step to the next, and how it is written down.

Randomness is addressed by index, so the state is small: weights, momentum, the ledger, the running loss. Tensors are
safetensors and the rest JSON: nothing is ever unpickled.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainers.ledger import UpdateLedger

WEIGHTS, MOMENTUM, STATE = "weights.safetensors", "momentum.safetensors", "state.json"


class TrainingState:
    """The mutable part of a trial. `loss_sum` covers the passes since the last evaluation, on the device."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.SGD, ledger: UpdateLedger) -> None:
        self.network, self.optimizer, self.ledger = network, optimizer, ledger
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=next(network.parameters()).device)
        self.losses = 0
        self.diverged = False

    def note_loss(self, loss: Tensor) -> None:
        """Adds a pass's loss without waiting for the device."""
        self.loss_sum += loss.detach().double()
        self.losses += 1

    def take_mean_loss(self) -> float:
        """The mean loss since it was last taken."""
        mean = self.loss_sum.item() / max(1, self.losses)
        self.loss_sum.zero_()
        self.losses = 0
        return mean

    def save(self, directory: Path) -> None:
        """Writes weights, momentum and counters into an existing directory."""
        save_file(_packed(self.network.state_dict()), directory / WEIGHTS)
        momentum = {
            name: self.optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in self.network.named_parameters()
            if self.optimizer.state[parameter].get("momentum_buffer") is not None
        }
        save_file(_packed(momentum), directory / MOMENTUM)
        counters = {
            "ledger": self.ledger.as_dict(),
            "loss_sum": self.loss_sum.item(),
            "losses": self.losses,
            "diverged": self.diverged,
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
            self.network.load_state_dict(weights)
        except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError, RuntimeError) as error:
            raise ValueError(f"{directory} holds no usable training state: {error}") from error
        for name, parameter in self.network.named_parameters():
            if name in momentum:
                buffer = torch.empty_like(parameter, requires_grad=False).copy_(momentum[name])
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        self.ledger = UpdateLedger.from_dict(self.ledger.lattice, counters["ledger"])
        self.loss_sum.fill_(counters["loss_sum"])
        self.losses, self.diverged = counters["losses"], counters["diverged"]


def _packed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
