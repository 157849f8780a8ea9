"""The work of a training step on the device, piece by piece, each piece fit to be captured as a CUDA graph.

The loop decides what is done; here it is done. Nothing in a piece waits for the device or depends on anything but
tensors of fixed address and the names under which it is captured.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.utils._pytree import tree_map, tree_map_

from trainers.nested.layers.affine import line_cosine_squared
from trainers.nested.network import NestedNetwork, recalibrated, unchanged
from trainers.submodel import SubModel
from trainers.tasks.task import Batch, Outputs, Task
from trainers.training.graphs import Graphs
from trainers.training.recipe import Recipe
from trainers.training.state import TrainingState

_SIDE_BY_SIDE = 4  # passes at the most: they are a step's of NS and LCS-p


class Step:
    """What a step of a recipe does with the network and the optimizer of `state`.

    Args:
        recipe: the trial's.
        state: holds the network and the optimizer.
        task: supplies batches, loss and metrics.
        device: where all of them are.
        graphs: captures the pieces, or does not.
    """

    def __init__(self, recipe: Recipe, state: TrainingState, task: Task, device: torch.device, graphs: Graphs) -> None:
        self._recipe, self._state, self._task, self._device = recipe, state, task, device
        self._graphs = graphs
        self._selections: dict[torch.Size, Tensor] = {}  # where captured pieces read them
        self._teachers: dict[Hashable, Outputs] = {}  # by the shape of the batch that they have seen

    def batch(self, index: int) -> Batch:
        """The training micro-batch number `index`."""
        selection = self._task.selection(index)
        if self._graphs.capturing:
            if selection.shape not in self._selections:
                self._selections[selection.shape] = selection.clone()
            selection = self._selections[selection.shape].copy_(selection)
        return self._graphs.run(("batch", selection.shape), lambda: self._task.gather(selection), pure=True)

    def passes(self, sub_models: Sequence[SubModel], batch: Batch) -> Iterator[tuple[SubModel, Tensor]]:
        """Adds the gradients of sub-models to the parameters', divided by the number of micro-batches.

        Gives each with its mean loss, which is overwritten by the next; it is added to the sum since the last
        evaluation, too. With in-place distillation, all but the largest learn what `teach` or the largest one's pass
        before theirs has predicted. Gradients are added in the order of the sub-models, however passes are launched.
        """
        if len(sub_models) > 1 and self._apart(batch):
            for first in range(0, len(sub_models), _SIDE_BY_SIDE):
                yield from self._side_by_side(sub_models[first : first + _SIDE_BY_SIDE], batch)
        else:
            for sub_model in sub_models:
                yield sub_model, self._alone(sub_model, batch)

    def _apart(self, batch: Batch) -> bool:
        """Whether passes can run beside one another."""
        network = self._state.network
        if self._recipe.distillation == "in-place" or not isinstance(network, NestedNetwork):
            return False
        with self._precision():
            return network.separable(*self._task.inputs(batch))

    def _alone(self, sub_model: SubModel, batch: Batch) -> Tensor:
        largest = sub_model == self._state.ledger.lattice.largest
        shape = _shape(batch)
        teacher = None if largest or self._recipe.distillation == "none" else self._teachers.get(shape)

        def work() -> tuple[Tensor, Outputs]:
            loss, outputs = self._forward_backward(sub_model, batch, teacher)
            self._state.loss_sum.add_(loss)
            return loss, outputs

        loss, outputs = self._graphs.run(("pass", self._name(sub_model), shape), work, counted=True)
        self._state.losses += 1
        if self._recipe.distillation == "in-place" and largest:
            self._keep(outputs, shape)
        return loss

    def _side_by_side(self, sub_models: Sequence[SubModel], batch: Batch) -> Iterator[tuple[SubModel, Tensor]]:
        network = self._state.network
        assert isinstance(network, NestedNetwork)

        def work(place: int, sub_model: SubModel) -> tuple[Tensor, Callable[[], None]]:
            with network.apart(place) as additions:
                loss, _ = self._forward_backward(sub_model, batch, None)
                return loss, additions.due().add_up

        def add(loss: Tensor, add_up: Callable[[], None]) -> None:
            add_up()
            self._state.loss_sum.add_(loss)

        shape = _shape(batch)
        names: list[Hashable] = [(self._name(sub_model), shape) for sub_model in sub_models]
        places = enumerate(zip(names, sub_models, strict=True))
        done = self._graphs.side_by_side([(name, partial(work, place, sub)) for place, (name, sub) in places])
        for place, (sub_model, name, (loss, add_up)) in enumerate(zip(sub_models, names, done, strict=True)):
            self._graphs.run(("addition", place, name), partial(add, loss, add_up))
            self._state.losses += 1
            yield sub_model, loss

    def _forward_backward(self, sub_model: SubModel, batch: Batch, teacher: Outputs | None) -> tuple[Tensor, Outputs]:
        task, accumulation = self._task, self._recipe.accumulation
        self._state.network.activate(sub_model)
        outputs = self._forward(*task.inputs(batch))
        loss = task.loss(outputs, batch) if teacher is None else task.imitation(outputs, teacher, batch)
        (loss if accumulation == 1 else loss / accumulation).backward()
        return loss.detach(), tree_map(Tensor.detach, outputs)

    def teach(self, sub_model: SubModel, batch: Batch) -> None:
        """Has the others learn what `sub_model` predicts; a forward pass without a backward."""
        shape = _shape(batch)

        def work() -> Outputs:
            self._state.network.activate(sub_model)
            with torch.no_grad():
                return self._forward(*self._task.inputs(batch))

        self._keep(self._graphs.run(("teacher", self._name(sub_model), shape), work), shape)

    def update(self, rate: float) -> None:
        """One optimizer step over the gradients added up, which are zero afterwards."""
        state, penalty, clip_norm = self._state, self._recipe.line_penalty, self._recipe.clip_norm
        state.optimizer.rate.fill_(rate)

        def work() -> None:
            if penalty:
                (penalty * line_cosine_squared(state.network)).backward()
            if clip_norm is not None:
                for network in state.networks:
                    clip_grad_norm_(network.parameters(), clip_norm)
            state.optimizer.step()

        self._graphs.run("update", work)

    def extract_all(self) -> None:
        """Goes on with a network of its own for every target."""
        self._state.extract_all()
        self._graphs.clear()

    def evaluate(self, targets: Iterable[SubModel], examples: int | None = None) -> dict[SubModel, dict[str, float]]:
        """The task's metrics of targets, from so many examples of the test set; None: from all."""
        found: dict[SubModel, dict[str, float]] = {}
        network = self._state.network
        for target in targets:
            network.activate(target)
            recalibration: AbstractContextManager[None] = nullcontext()
            if count := self._recipe.recalibration_batches:
                recalibration = recalibrated(network, self._forward, self._task.calibration(count))
            with recalibration, torch.no_grad(), unchanged(network.eval()):
                found[target] = self._task.evaluate(self._forward, self._graphs, self._name(target), examples)
            network.train()
        return found

    def _forward(self, *inputs: Tensor) -> Outputs:
        with self._precision():
            return self._state.network(*inputs)

    def _keep(self, outputs: Outputs, shape: Hashable) -> None:
        if shape in self._teachers:
            tree_map_(Tensor.copy_, self._teachers[shape], outputs)
        else:
            self._teachers[shape] = tree_map(Tensor.clone, outputs)

    def _precision(self) -> AbstractContextManager[object]:
        if self._recipe.precision == "fp32":
            return nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)

    def _name(self, sub_model: SubModel) -> Hashable:
        """What a graph of it is known by. Widths between the targets that keep the same channels are one network."""
        network = self._state.network
        if (
            not self._graphs.capturing
            or sub_model in network.lattice
            or self._recipe.affine == "line"
            or not isinstance(network, NestedNetwork)
        ):
            return sub_model
        network.activate(sub_model)
        return network.signature()


def _shape(batch: Batch) -> Hashable:
    """What a captured piece that reads a batch is good for."""
    return tuple((name, tensor.shape) for name, tensor in batch.items())
