"""What a task is: where batches come from, what is minimised, what is measured.

The loop, the step, the state and the ledger know a task by this protocol alone. `trainers.tasks.images` is one;
`tests/trainers/sequences.py` another, of sequences of any length, with two outputs and an error that should be small.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from trainers.training.graphs import Graphs

Batch: TypeAlias = Mapping[str, Tensor]
"""One micro-batch on the device, by the task's own names: {"inputs", "targets"}; {"input_ids", "labels"}."""
Inputs: TypeAlias = tuple[Tensor, ...]
"""What a network is called with, one argument after the other, examples first in each."""
Outputs: TypeAlias = Any
"""What a network gives: a tensor, or a mapping or tuple of tensors. Only its task reads it."""
Shape: TypeAlias = Hashable
"""What decides how many multiply-accumulates an example takes: an image's shape, the number of a text's tokens."""


@dataclass(frozen=True)
class Metric:
    """What is measured of every target.

    Attributes:
        name: the loop reports it as `test_<name>/<sub-model>`.
        title: as a reader calls it.
        unit: e.g. `%`; empty where it has none.
        higher_is_better: which way is better.
        primary: its average over the targets is reported as `test_<name>_average`.
        decimals: as printed.
        short: what it is called where there is little room; the title if empty.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    primary: bool = False
    decimals: int = 2
    short: str = ""


class Task(Protocol):
    """Supplies batches by index, so that a resumed trial and a paired arm see the same ones.

    Attributes:
        metrics: all that `evaluate` gives, one of them primary.
    """

    metrics: tuple[Metric, ...]

    @property
    def shape(self) -> Shape:
        """Of a usual example, by which sub-models are compared and budgets reckoned."""

    def contents(self, index: int) -> Mapping[Shape, int]:
        """How many examples of each shape training micro-batch number `index` holds, without asking the device."""

    def example(self, shape: Shape) -> Inputs:
        """One example of a shape on the CPU, whatever it holds, for multiply-accumulates to be counted."""

    def selection(self, index: int) -> Tensor:
        """What training micro-batch number `index` holds, as numbers on the device: a function of (seed, index)."""

    def gather(self, selection: Tensor) -> Batch:
        """The micro-batch that a selection stands for.

        On CUDA it is captured per shape of the selection, on which alone the shapes of the batch may depend.
        """

    def inputs(self, batch: Batch) -> Inputs:
        """What of a batch the network is called with."""

    def calibration(self, count: int) -> Iterator[Inputs]:
        """Inputs of `count` training batches without augmentation, to recompute normalisation statistics."""

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The mean loss over the batch, a scalar."""

    def imitation(self, outputs: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The mean loss against another sub-model's outputs in the labels' place, a scalar (distillation)."""

    def evaluate(
        self, forward: Callable[..., Outputs], graphs: Graphs, name: Hashable, examples: int | None = None
    ) -> dict[str, float]:
        """Metrics over the test set, by name.

        Args:
            forward: the network in evaluation mode, called with inputs.
            graphs: run the batches.
            name: of the network at hand among all that are evaluated.
            examples: of the test set, evenly spread over it, on which to measure; None: on all.
        """


def precise(outputs: Tensor) -> Tensor:
    """What losses are computed of: in fp32 where it is of less; double stays double."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def primary(task: Task) -> Metric:
    """The metric that a task is about.

    Raises:
        ValueError: there is none, or there are two.
    """
    chosen = [metric for metric in task.metrics if metric.primary]
    if len(chosen) != 1:
        raise ValueError(f"a task has one primary metric, {type(task).__name__} has {len(chosen)}")
    return chosen[0]
