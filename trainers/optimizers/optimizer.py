"""What the loop asks of an optimizer."""

from typing import Protocol

from torch import Tensor


class Optimizer(Protocol):
    """Moves the trained parameters of a network by gradients that stay where they are.

    It is captured on CUDA: a step waits for nothing and reads and writes tensors of fixed address.

    Attributes:
        rate: the learning rate, a scalar on the parameters' device, to be filled before a step.
    """

    rate: Tensor

    def step(self) -> None:
        """Moves the parameters; the gradients are zero afterwards."""

    def state(self) -> dict[str, Tensor]:
        """All that a step depends on besides parameters and gradients, by name; to be saved, and copied into."""
