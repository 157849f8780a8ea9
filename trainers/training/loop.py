"""The training loop, the only one: every method, norm and task runs through `fit`.

It is a generator and knows nothing of who listens, nor of what a batch holds, a loss is or a metric means, which is the
task's. It yields after every optimizer step, so whoever drives it decides when to save, report or stop; a step's
snapshot costs nothing unless it is saved or holds an evaluation.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from trainers.devices.cpu import prepare_cpu
from trainers.devices.cuda import prepare_cuda
from trainers.measuring.cost import Macs
from trainers.randomness import stream
from trainers.sampling.sampler import Moment
from trainers.submodel import SubModel
from trainers.tasks.task import Shape, Task, primary
from trainers.training.graphs import Graphs
from trainers.training.ledger import Budget, UpdateLedger
from trainers.training.recipe import Recipe
from trainers.training.state import Network, TrainingState
from trainers.training.step import Step

_FINITE_CHECK_UPDATES = 50


@dataclass(frozen=True)
class Snapshot:
    """Where a trial stands after an optimizer step, or before the first.

    Attributes:
        step: optimizer steps done.
        passes: forward-backward passes done.
        progress: share of the budget spent, 0..1.
        metrics: filled where an evaluation was due, else empty: `test_<metric>/<label>` of the task's metrics, as
            `test_acc/w050`, and the primary one's average `test_acc_average`, always of every target on the whole test
            set; where evaluations before the last leave something out, these and the last have what they are of as
            `interim_acc/w050` and `interim_acc_average`, and only the last has the former; `updates/w050` for every
            target, `train_loss` since the last evaluation, `ledger/…` totals, and on CUDA `replayed_passes`, the share
            of passes that were launched as graphs.
        final: nothing follows.
        diverged: the loss stopped being finite, and training with it.
        save: writes what a resumed trial needs into an existing, empty directory.
    """

    step: int
    passes: int
    progress: float
    metrics: dict[str, float]
    final: bool
    diverged: bool
    save: Callable[[Path], None]


def fit(
    recipe: Recipe,
    seed: int,
    task: Task,
    network: Network,
    macs: Macs,
    device: torch.device,
    resume_from: Path | None = None,
    graphs: Graphs | None = None,
) -> Iterator[Snapshot]:
    """Trains a network for a task to the end of its budget.

    Killed at any moment and resumed from any snapshot's directory, it ends with the same weights and metrics bit for
    bit on CPU, given the same number of threads.

    Args:
        recipe: how.
        seed: decides the sampled sub-models, as it has decided the network's start and the task's batches; arms with
            the same seed are paired.
        task: supplies batches, loss and metrics, on the device.
        network: on the device; it is changed. What of it is frozen stays as it is.
        macs: counts what an example of a shape takes in a sub-model of the network.
        device: where to train.
        resume_from: a directory that `Snapshot.save` filled.
        graphs: how the work on the device is launched; as suits the device unless given.

    Raises:
        ConfigError: nothing to train.
        ValueError: `resume_from` holds the state of another network.
    """
    prepare_cpu()
    prepare_cuda(recipe.deterministic)
    lattice, budget, accumulation = recipe.lattice, recipe.budget, recipe.accumulation
    state = TrainingState(network, recipe.optimizer, UpdateLedger(lattice))
    if resume_from is not None:
        state.restore(resume_from)
    ledger = state.ledger
    if state.diverged or budget.exhausted(ledger):
        yield _snapshot(state, budget, {}, final=True)
        return

    def usual_macs(sub_model: SubModel) -> int:
        return macs(sub_model, task.shape)

    graphs = graphs or Graphs.on(device)
    step = Step(recipe, state, task, device, graphs)
    if recipe.evaluates_start and resume_from is None:
        yield _snapshot(state, budget, _measure(recipe, state, step, task, graphs, final=False), final=False)
    state.network.train()
    while True:
        before = budget.spent(ledger)
        if recipe.extract_at is not None and not state.extracted and before >= recipe.extract_at * budget.amount:
            step.extract_all()
        draw, objective = recipe.phase(state.extracted)
        for micro in range(accumulation):
            index = ledger.total.updates * accumulation + micro
            batch, contents = step.batch(index), task.contents(index)
            moment = Moment(lattice, usual_macs, index, before / budget.amount, state.gaps if draw.needs_gaps else {})
            trained = objective(draw.sample(stream(seed, "sub-models", index), moment), lattice)
            if recipe.distillation == "in-place":
                trained = tuple(sorted(trained, key=lambda sub_model: sub_model != lattice.largest))
                if trained[0] != lattice.largest:
                    step.teach(lattice.largest, batch)
                    ledger.record_forward(lattice.largest, _macs(macs, lattice.largest, contents))
            for sub_model, loss in step.passes(trained, batch):
                if draw.needs_gaps:
                    state.note_gap(sub_model, loss)
                ledger.record_pass(sub_model, sum(contents.values()), _macs(macs, sub_model, contents))
        ledger.record_update()
        after = budget.spent(ledger)
        step.update(recipe.learning_rate((before + after) / 2 / budget.amount))

        done = budget.exhausted(ledger)
        due = done or _evaluation(recipe, after) > _evaluation(recipe, before)
        if due or ledger.total.updates % _FINITE_CHECK_UPDATES == 0:
            state.diverged = not math.isfinite(state.loss_sum.item())
        final = done or state.diverged
        metrics = _measure(recipe, state, step, task, graphs, final) if due or final else {}
        yield _snapshot(state, budget, metrics, final)
        if final:
            return


def _macs(macs: Macs, sub_model: SubModel, contents: Mapping[Shape, int]) -> int:
    """Of the forward pass of a micro-batch, by what is really in it."""
    return sum(examples * macs(sub_model, shape) for shape, examples in contents.items())


def _evaluation(recipe: Recipe, spent: int) -> int:
    """The number of the evaluation that is due once `spent` of the budget is used, in whole numbers."""
    return spent * recipe.evaluations // recipe.budget.amount


def _snapshot(state: TrainingState, budget: Budget, metrics: dict[str, float], final: bool) -> Snapshot:
    ledger = state.ledger
    progress = min(1.0, budget.spent(ledger) / budget.amount)
    return Snapshot(ledger.total.updates, ledger.total.passes, progress, metrics, final, state.diverged, state.save)


def _measure(
    recipe: Recipe, state: TrainingState, step: Step, task: Task, graphs: Graphs, final: bool
) -> dict[str, float]:
    ledger, interim, metrics = state.ledger, recipe.interim, dict[str, float]()
    if interim is None or final:
        whole = step.evaluate(ledger.lattice)
        metrics |= _named("test", whole, task)
    if interim is not None:
        once = final and interim.examples is None  # these were measured just now
        part = (
            {target: whole[target] for target in interim.targets}
            if once
            else step.evaluate(interim.targets, interim.examples)
        )
        metrics |= _named("interim", part, task)
    for target in ledger.lattice:
        metrics[f"updates/{target.label}"] = ledger.per_sub_model[target.label].updates
    if ledger.total.updates:
        metrics["train_loss"] = state.take_mean_loss()
    for unit in ("updates", "passes", "samples", "macs", "forwards"):
        metrics[f"ledger/{unit}"] = getattr(ledger.total, unit)
    if graphs.capturing:  # a sub-model that never comes twice is never captured: seen, not silent
        metrics["replayed_passes"] = graphs.replayed / max(1, graphs.called)
    return metrics


def _named(of: str, found: Mapping[SubModel, Mapping[str, float]], task: Task) -> dict[str, float]:
    """`test_acc/w050` of every metric and target, and the primary one's mean over the targets."""
    main = primary(task).name
    each = {
        f"{of}_{name}/{target.label}": value for target, measured in found.items() for name, value in measured.items()
    }
    return each | {f"{of}_{main}_average": sum(measured[main] for measured in found.values()) / len(found)}
