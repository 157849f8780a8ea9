"""A second task: two numbers foretold of sequences of 2 to 6 tokens, whose error should be small.

Nothing of it is known to `trainers`: a batch holds tokens, a mask and two labels, the network gives two outputs, and
what an example costs depends on its length.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainers.lattice import Lattice
from trainers.measuring.cost import MacCounter
from trainers.nested.exchange import nest
from trainers.nested.network import NestedNetwork
from trainers.optimizers.adamw import AdamW
from trainers.optimizers.groups import GroupRules
from trainers.randomness import stream
from trainers.tasks.task import Batch, Inputs, Metric, Shape
from trainers.training.graphs import Graphs
from trainers.training.ledger import Budget
from trainers.training.recipe import Recipe
from trainers.training.schedule import Schedule

FEATURES, HIDDEN, SEQUENCES = 3, 8, 40
WIDTHS = Lattice.product(width=(0.25, 0.5, 1.0))


class Regressor(nn.Module):
    """`tokens: (N, L, 3)`, `mask: (N, L)`, 1 where there is a token; gives `mean` and `spread`, each `(N, 1)`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.mean, self.spread = nn.Linear(HIDDEN, 1), nn.Linear(HIDDEN, 1)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        hidden = self.second(self.first(tokens).relu()).relu()
        mask = hidden.new_ones(hidden.shape[:2]) if mask is None else mask
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return {"mean": self.mean(pooled), "spread": self.spread(pooled)}


class Sequences:
    """Mean and spread of a sequence's first feature."""

    metrics: tuple[Metric, ...] = (Metric("error", "squared error", "", higher_is_better=False, primary=True),)

    def __init__(self, seed: int, batch_size: int, device: torch.device) -> None:
        self._seed, self._batch_size, self._device = seed, batch_size, device
        data = stream(0, "sequences")
        self.lengths = [int(length) for length in data.integers(2, 7, size=SEQUENCES)]
        self._starts = [sum(self.lengths[:row]) for row in range(SEQUENCES)]
        self._tokens = torch.from_numpy(data.standard_normal((sum(self.lengths), FEATURES))).float().to(device)
        parts = self._tokens[:, 0].split(self.lengths)
        rows = [torch.stack([part.mean(), part.std()]) for part in parts]
        self._labels = torch.stack([row for row, length in zip(rows, self.lengths, strict=True) for _ in range(length)])

    @property
    def shape(self) -> int:
        return 6

    def rows(self, index: int) -> list[int]:
        return [int(row) for row in stream(self._seed, "order", index).integers(SEQUENCES, size=self._batch_size)]

    def contents(self, index: int) -> Mapping[Shape, int]:
        return Counter(self.lengths[row] for row in self.rows(index))

    def example(self, shape: Shape) -> Inputs:
        assert isinstance(shape, int)
        return torch.zeros(1, shape, FEATURES), torch.ones(1, shape)

    def selection(self, index: int) -> Tensor:
        """`(N, L)` int64: where each token lies; −1 beyond a sequence's end."""
        return self._places(self.rows(index))

    def _places(self, rows: list[int]) -> Tensor:
        longest = max(self.lengths[row] for row in rows)
        places = torch.full((len(rows), longest), -1)
        for place, row in enumerate(rows):
            places[place, : self.lengths[row]] = torch.arange(self.lengths[row]) + self._starts[row]
        return places.to(self._device)

    def gather(self, selection: Tensor) -> Batch:
        labels = self._labels[selection[:, 0]]
        tokens = self._tokens[selection.clamp(min=0)]
        return {"tokens": tokens, "mask": (selection >= 0).float(), "labels": labels}

    def inputs(self, batch: Batch) -> Inputs:
        return batch["tokens"], batch["mask"]

    def calibration(self, count: int) -> Iterator[Inputs]:
        for index in range(count):
            yield self.inputs(self.gather(self.selection(index)))

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        return (torch.cat([outputs["mean"], outputs["spread"]], 1) - batch["labels"]).square().mean()

    def imitation(self, outputs: Any, teacher: Any, batch: Batch) -> Tensor:
        return sum((outputs[name] - teacher[name]).square().mean() for name in outputs)

    def evaluate(
        self, forward: Callable[..., Any], graphs: Graphs, name: Hashable, examples: int | None = None
    ) -> dict[str, float]:
        batch = self.gather(self._places(list(range(examples or SEQUENCES))))
        return {"error": self.loss(forward(*self.inputs(batch)), batch).item()}


def regressor(frozen: tuple[str, ...] = ()) -> NestedNetwork:
    """A nested network, always the same at its start, of which some parameters are frozen."""
    plain = Regressor()
    for name, parameter in plain.named_parameters():
        values = stream(1, name).standard_normal(tuple(parameter.shape)) / 2
        parameter.data.copy_(torch.from_numpy(values))
        parameter.requires_grad_(name not in frozen)
    return nest(plain, WIDTHS, "instance", (6, FEATURES), frozenset({"mean", "spread"}))


def counter(network: NestedNetwork, task: Sequences) -> MacCounter:
    return MacCounter(network, task.example)


def recipe(**parts: Any) -> Recipe:
    """AdamW under a linear schedule, clipped."""
    schedule, rules = Schedule("linear", warmup=0.1), GroupRules("matrices", (("mean.*", 2.0),))
    usual: dict[str, Any] = {
        "lattice": WIDTHS,
        "budget": Budget("updates", 24),
        "optimizer": lambda network: AdamW(network, weight_decay=0.01, rules=rules),
        "learning_rate": lambda progress: 0.02 * schedule.share(progress),
        "clip_norm": 0.5,
        "evaluations": 4,
    }
    return Recipe(**{**usual, **parts})
