"""What a trial will take, before it starts: updates, passes and multiply-accumulates expected, seconds from a probe."""

import math
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch.utils._pytree import tree_leaves

from trainers.devices.cpu import prepare_cpu
from trainers.sampling.sampler import Moment
from trainers.submodel import SubModel
from trainers.training.graphs import Graphs
from trainers.training.ledger import UpdateLedger
from trainers.training.loop import fit
from trainers.training.recipe import Recipe
from trainers.training.state import TrainingState
from trainers.training.step import Step
from trainers.trials.kind import ConfigT, TrialKind

_REPEATS = 3
_TURNS, _WARMING = 4, 1  # of sub-models whose latency is measured, and passes before those that are
_NODES = 32  # moments of the budget at which a changing distribution is looked at
_WARM, _SYNCHRONISED = 5, 8  # steps
_CONTEXT_BYTES = 600 << 20  # of a process on a GPU, beside what torch reserves
_TIMED = 8  # sub-models at most; the others take the time of their nearest in multiply-accumulates


@dataclass(frozen=True)
class Work:
    """Expected totals of a trial, or of one optimizer step: `macs` are training's, of forward passes."""

    updates: float
    passes: dict[SubModel, float]
    forwards: float
    macs: float

    @property
    def all_passes(self) -> float:
        """Of all sub-models together."""
        return sum(self.passes.values())


def expected_step(kind: TrialKind[ConfigT], config: ConfigT, progress: float = 0.5) -> Work:
    """One optimizer step at a share of the budget. Adaptive sampling is taken as uniform, since it is not known."""
    lattice, macs = config.lattice, _usual_macs(kind, config)
    recipe = Recipe.from_config(config)
    draw, objective = recipe.phase(recipe.extract_at is not None and progress >= recipe.extract_at)
    passes: dict[SubModel, float] = {}
    for sub_model, share in draw.expectation(Moment(lattice, macs, progress=progress)):
        trained = (sub_model,) if draw.draws != 1 else objective((sub_model,), lattice)
        for each in trained:
            passes[each] = passes.get(each, 0.0) + share * config.method.accumulation
    forwards = 0.0
    if config.method.distillation == "in-place":
        forwards = max(0.0, config.method.accumulation - passes.get(lattice.largest, 0.0))
    total = sum(share * macs(sub_model) for sub_model, share in passes.items()) + forwards * macs(lattice.largest) / 3
    return Work(1.0, passes, forwards, total * config.task.batch_size)


def _usual_macs(kind: TrialKind[ConfigT], config: ConfigT) -> Callable[[SubModel], int]:
    count, shape = kind.macs(config), kind.shape(config)
    return lambda sub_model: count(sub_model, shape)


def expected_trial(kind: TrialKind[ConfigT], config: ConfigT) -> Work:
    """The whole trial: its budget cut into parts, each spent at the rate of its middle."""
    updates, passes, forwards, macs = 0.0, dict.fromkeys(config.lattice, 0.0), 0.0, 0.0
    for node in range(_NODES):
        step = expected_step(kind, config, (node + 0.5) / _NODES)
        per_update = {"updates": 1.0, "passes": step.all_passes, "macs": step.macs}[config.budget.unit]
        count = config.budget.amount / _NODES / per_update
        updates, forwards, macs = updates + count, forwards + count * step.forwards, macs + count * step.macs
        for sub_model, share in step.passes.items():
            passes[sub_model] = passes.get(sub_model, 0.0) + count * share
    return Work(updates, passes, forwards, macs)


def seconds_per_pass(kind: TrialKind[ConfigT], config: ConfigT, device: torch.device) -> dict[SubModel, float]:
    """The time of one forward-backward pass of targets from the smallest to the largest, best of three each.

    Passes of the loop's own steps, over data that only look like the config's, at its batch size and precision. Of a
    large lattice some targets stand for all.
    """
    prepare_cpu()
    # Extracted networks take the time of a separate one for most of the budget.
    separate = config.method.model_copy(update={"sharing": "separate"})
    apart = config.model_copy(update={"method": separate}) if config.method.sharing == "extracted" else config
    parts = kind.rehearse(apart, device)
    lattice = parts.recipe.lattice
    state = TrainingState(parts.network, parts.recipe.optimizer, UpdateLedger(lattice))
    state.network.train()
    step = Step(parts.recipe, state, parts.task, device, Graphs.on(device))
    found: dict[SubModel, float] = {}
    every = max(1, -(-len(lattice) // _TIMED))
    for target in {*lattice.targets[::every], lattice.largest}:
        times = []
        for _ in range(_REPEATS + 1):
            started = time.perf_counter()
            for _, loss in step.passes((target,), step.batch(0)):
                loss.item()
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # the loss is there before the gradients
            times.append(time.perf_counter() - started)
        found[target] = min(times[1:])
    return found


def trial_seconds(kind: TrialKind[ConfigT], config: ConfigT, device: torch.device) -> float:
    """Estimated seconds of a whole trial, evaluations included."""
    macs = _usual_macs(kind, config)
    timed = sorted((macs(target), seconds) for target, seconds in seconds_per_pass(kind, config, device).items())

    def seconds(sub_model: SubModel) -> float:
        return min(timed, key=lambda known: abs(known[0] - macs(sub_model)))[1]

    work = expected_trial(kind, config)
    training = sum(count * seconds(sub_model) for sub_model, count in work.passes.items())
    # A forward takes about a third of a pass.
    training += work.forwards * seconds(config.lattice.largest) / 3
    per_epoch = (kind.updates_per_epoch(config) or math.inf) * config.method.accumulation
    calibration = min(config.calibration_examples / config.task.batch_size, per_epoch)

    def evaluation(targets: Iterable[SubModel], examples: int) -> float:
        return sum(map(seconds, targets)) / 3 * (examples / config.task.batch_size + calibration)

    whole, part, targets = kind.test_examples(config), config.task.interim_examples, config.interim_targets
    early = config.evaluations - 1 + config.evaluates_start
    if part is not None:  # at the end the part is evaluated, too
        early += 1
    return training + evaluation(config.lattice, whole) + early * evaluation(targets or config.lattice, part or whole)


def throughput(
    kind: TrialKind[ConfigT], config: ConfigT, folder: Path | None, device: torch.device, starts: float, ends: float
) -> tuple[float, int, int]:
    """Passes per second, and bytes of memory taken and available.

    Trains without evaluations until `ends` and counts from `starts` on (`time.time()`). Of the machine, memory is
    the peak of this process; of a GPU, what torch has reserved and a context besides.
    """
    endless = config.model_copy(
        update={
            "budget": config.budget.model_copy(update={"amount": 1 << 60}),
            "schedule": config.schedule.model_copy(update={"stages": 0}),
            "evaluations": 1,
        }
    )
    counted, since = 0.0, None
    parts = kind.assemble(endless, 0, folder, device)
    for step, snapshot in enumerate(fit(parts.recipe, 0, parts.task, parts.network, parts.macs, device)):
        if step % _SYNCHRONISED == 0 and device.type == "cuda":
            torch.cuda.synchronize(device)  # counts what was done, not what was asked for
        passes = snapshot.passes
        now = time.time()
        if since is None and now >= starts and step >= _WARM:
            since, counted = now, passes
        if since is not None and now >= ends and now > since:
            break
    assert since is not None
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        taken = torch.cuda.max_memory_reserved(device) + _CONTEXT_BYTES
    else:
        free = psutil.virtual_memory().available
        taken = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (passes - counted) / (now - since), taken, free + taken


def latency(kind: TrialKind[ConfigT], config: ConfigT, device: torch.device) -> dict[SubModel, float]:
    """Seconds that each target, extracted, takes for one example in fp32, the median of several.

    The targets take turns, forth and back, so that whatever slows the machine for a while slows all alike.
    """
    shared = config.model_copy(update={"method": config.method.model_copy(update={"sharing": "nested"})})
    parts = kind.rehearse(shared, torch.device("cpu"))
    example = tuple(tensor.to(device) for tensor in parts.task.example(parts.task.shape))
    times: dict[SubModel, list[float]] = {target: [] for target in config.lattice}
    for turn in range(_TURNS):
        for target in config.lattice.targets[:: 1 if turn % 2 == 0 else -1]:
            network = parts.network.extract(target).eval().to(device)  # anew: all at once may be too large
            with torch.inference_mode():
                for repeat in range(-_WARMING, _REPEATS):
                    started = time.perf_counter()
                    tree_leaves(network(*example))[0].sum().item()
                    if repeat >= 0:
                        times[target].append(time.perf_counter() - started)
    return {target: statistics.median(taken) for target, taken in times.items()}
