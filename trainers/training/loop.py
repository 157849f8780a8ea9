"""The training loop, the only one: every method, norm and task runs through `fit`.

It is a generator and knows nothing of who listens. It yields after every optimizer step, so whoever drives it
decides when to save, report or stop; a step's snapshot costs nothing unless it is saved or holds an evaluation.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from trainers.build import accelerator, build, mac_counter, multiply, prefers_channels_last
from trainers.config.trial import TrialConfig
from trainers.data.images.arrays import ImageArrays
from trainers.devices.cpu import prepare_cpu
from trainers.devices.cuda import prepare_cuda
from trainers.objectives import OBJECTIVES, Objective
from trainers.optimizers.sgd import Sgd
from trainers.randomness import stream
from trainers.sampling.discrete import All
from trainers.sampling.names import sampler
from trainers.sampling.sampler import Moment, Sampler
from trainers.tasks.images import ImageClassification
from trainers.training.graphs import Graphs
from trainers.training.ledger import Budget, UpdateLedger
from trainers.training.schedule import learning_rate
from trainers.training.state import TrainingState
from trainers.training.step import Step

_FINITE_CHECK_UPDATES = 50


@dataclass(frozen=True)
class Snapshot:
    """Where a trial stands after an optimizer step.

    Attributes:
        step: optimizer steps done.
        passes: forward-backward passes done.
        progress: share of the budget spent, 0..1.
        metrics: filled where an evaluation was due, else empty: `test_acc/w050`, `test_loss/w050`, `updates/w050`
            for every target, their average `test_acc_average`, `train_loss` since the last evaluation, `ledger/…`
            totals, and on CUDA `replayed_passes`, the share of passes that were launched as graphs.
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
    config: TrialConfig,
    seed: int,
    data: ImageArrays,
    device: torch.device,
    resume_from: Path | None = None,
    graphs: Graphs | None = None,
) -> Iterator[Snapshot]:
    """Trains a trial to the end of its budget.

    Killed at any moment and resumed from any snapshot's directory, it ends with the same weights and metrics bit for
    bit on CPU, given the same number of threads.

    Args:
        config: resolved.
        seed: decides init, data order, augmentation and sampled sub-models; arms with the same seed are paired.
        data: the arrays of `config.task.dataset`.
        device: where to train.
        resume_from: a directory that `Snapshot.save` filled.
        graphs: how the work on the device is launched; as suits the device unless given.

    Raises:
        ValueError: `resume_from` holds the state of another network.
    """
    prepare_cpu()
    prepare_cuda(config.precision.deterministic)
    lattice = config.lattice
    channels_last = prefers_channels_last(config.norm.policy, config.precision.activations, device)
    kernels = accelerator(device)
    images, method = config.task, config.method
    augmentation = images.crop_padding, images.flip
    task = ImageClassification(
        data, images.batch_size, seed, device, *augmentation, channels_last, kernels.classification
    )
    nested = build(config, seed)
    macs = mac_counter(config)
    network = multiply(nested, seed) if method.sharing == "separate" else nested
    network.to(device)
    if channels_last:
        network.to(memory_format=torch.channels_last)
    budget = Budget(config.budget.unit, config.budget.amount)

    recipe = config.optimizer
    optimize = partial(Sgd, momentum=recipe.momentum, weight_decay=recipe.weight_decay, make_kernel=kernels.sgd)
    state = TrainingState(network, optimize, UpdateLedger(lattice))
    if resume_from is not None:
        state.restore(resume_from)
    ledger = state.ledger
    if state.diverged or budget.exhausted(ledger):
        yield _snapshot(state, budget, {}, final=True)
        return

    graphs = graphs or Graphs.on(device)
    step = Step(config, state, task, device, graphs)
    state.network.train()
    while True:
        before = budget.spent(ledger)
        if method.sharing == "extracted" and not state.extracted and before >= method.extract_at * budget.amount:
            step.extract()
        draw, objective = phase(config, state.extracted)
        for micro in range(method.accumulation):
            index = ledger.total.updates * method.accumulation + micro
            batch = step.batch(index)
            moment = Moment(lattice, macs, index, before / budget.amount, state.gaps if draw.needs_gaps else {})
            trained = objective(draw.sample(stream(seed, "sub-models", index), moment), lattice)
            if method.distillation == "in-place":
                trained = tuple(sorted(trained, key=lambda sub_model: sub_model != lattice.largest))
                if trained[0] != lattice.largest:
                    step.teach(lattice.largest, batch)
                    ledger.record_forward(lattice.largest, macs(lattice.largest) * images.batch_size)
            for sub_model, loss in step.passes(trained, batch):
                if draw.needs_gaps:
                    state.note_gap(sub_model, loss)
                ledger.record_pass(sub_model, images.batch_size, macs(sub_model) * images.batch_size)
        ledger.record_update()
        after = budget.spent(ledger)
        step.update(learning_rate(config, (before + after) / 2 / budget.amount))

        done = budget.exhausted(ledger)
        due = done or _evaluation(config, after) > _evaluation(config, before)
        if due or ledger.total.updates % _FINITE_CHECK_UPDATES == 0:
            state.diverged = not math.isfinite(state.loss_sum.item())
        metrics = _measure(state, step, graphs) if due or state.diverged else {}
        final = done or state.diverged
        yield _snapshot(state, budget, metrics, final)
        if final:
            return


def phase(config: TrialConfig, extracted: bool) -> tuple[Sampler, Objective]:
    """What is sampled and summed: as configured, or every network once they are extracted."""
    if extracted:
        return All(), OBJECTIVES["sum"]
    return sampler(config.method.sampler), OBJECTIVES[config.method.objective]


def _evaluation(config: TrialConfig, spent: int) -> int:
    """The number of the evaluation that is due once `spent` of the budget is used, in whole numbers."""
    return spent * config.evaluations // config.budget.amount


def _snapshot(state: TrainingState, budget: Budget, metrics: dict[str, float], final: bool) -> Snapshot:
    ledger = state.ledger
    progress = min(1.0, budget.spent(ledger) / budget.amount)
    return Snapshot(ledger.total.updates, ledger.total.passes, progress, metrics, final, state.diverged, state.save)


def _measure(state: TrainingState, step: Step, graphs: Graphs) -> dict[str, float]:
    metrics = step.evaluate()
    ledger = state.ledger
    for target in ledger.lattice:
        metrics[f"updates/{target.label}"] = ledger.per_sub_model[target.label].updates
    metrics["test_acc_average"] = sum(metrics[f"test_acc/{t.label}"] for t in ledger.lattice) / len(ledger.lattice)
    metrics["train_loss"] = state.take_mean_loss()
    for unit in ("updates", "passes", "samples", "macs", "forwards"):
        metrics[f"ledger/{unit}"] = getattr(ledger.total, unit)
    if graphs.capturing:  # a sub-model that never comes twice is never captured: seen, not silent
        metrics["replayed_passes"] = graphs.replayed / max(1, graphs.called)
    return metrics
