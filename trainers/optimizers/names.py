"""Optimizers by name. A config says SGD alone so far; whoever makes a `Recipe` chooses."""

from collections.abc import Callable

from trainers.optimizers.adamw import AdamW
from trainers.optimizers.optimizer import Optimizer
from trainers.optimizers.sgd import Sgd

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": Sgd, "adamw": AdamW}
"""Each is called with a network, and with what it alone needs by name."""
