"""How many trials share a machine: measured, not guessed.

Two trials of one thread may do more work than one of two threads, or less; several on one GPU may overlap or merely
take turns, and each needs its memory. So one arm is trained for some seconds in every packing that comes into
question, all its trials at once, and the one that gets most done in the memory there is, is used.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray

from orchestrator.study.plan import Trial
from orchestrator.trainer import Place, Probe, Trainer

_START_SECONDS, _SECONDS = 15.0, 8.0  # to import and warm up, and then of measuring
_BETTER = 1.1  # how much more work must get done for more trials on one GPU
_MEMORY_SHARE = 0.85  # of a machine's memory that trials may take
_MOST_PER_GPU = 4
_EPSILON = 1e-3
_BALLAST_SECONDS = 60.0  # GPUs that others use never take any


@dataclass(frozen=True)
class Packing:
    """Trials that share one machine, or one GPU where they use one, with what each gets; and what was measured.

    Attributes:
        passes_per_second: of all of them together.
        memory: bytes of all of them, of the machine or of the GPU, whichever is scarcer.
        available: bytes there are of it.
    """

    trials: int
    cpus: float
    gpus: float
    passes_per_second: float = 0.0
    memory: int = 0
    available: int = 0

    @property
    def fits(self) -> bool:
        """Whether the memory suffices."""
        return self.memory <= _MEMORY_SHARE * self.available

    @property
    def text(self) -> str:
        """`2 at once, 1 CPU each: 25.1 passes/s in 2.1 of 24.0 GB`."""
        each = f"{self.gpus:.2g} GPUs" if self.gpus else f"{self.cpus:g} CPUs"
        short = "" if self.fits else ", too much"
        return (
            f"{self.trials} at once, {each} each: {self.passes_per_second:.1f} passes/s in {self.memory / 1e9:.1f} of "
            f"{self.available / 1e9:.1f} GB{short}"
        )


def choose(
    trainer: Trainer, config: Mapping[str, Any], place: Place, cpus: float, say: Callable[[str], None]
) -> Packing:
    """The packing to use on the connected cluster, as measured on one of its nodes.

    Args:
        trainer: its `probe` trains.
        config: of the trial that stands for all: the heaviest, since what fits with it fits with every other.
        place: where the data is; the rest of it follows from the packing.
        cpus: of a trial that has a GPU.
        say: told of every packing measured.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpu = any(node.get("GPU", 0) >= 1 for node in nodes)
    cores = max(int(node.get("CPU", 1)) for node in nodes)
    best: Packing | None = None
    for candidate in _on_gpu(cpus) if gpu else _on_cpu(cores):
        found = _measure(trainer, config, place, candidate)
        say(found.text)
        if best is None or (found.fits and found.passes_per_second > best.passes_per_second * (_BETTER if gpu else 1)):
            best = found
        elif gpu or not found.fits:
            break
    assert best is not None
    return best


def heaviest(trainer: Trainer, trials: Sequence[Trial]) -> Trial:
    """The trial whose optimizer steps take the most multiply-accumulates."""

    def per_step(trial: Trial) -> float:
        outlook = trainer.outlook(trial.config)
        return outlook.macs / outlook.updates

    return max({trial.arm.label: trial for trial in trials}.values(), key=per_step)


def _on_cpu(cores: int) -> Iterator[Packing]:
    """One trial on all cores, two on half of them each, and so on down to one core each."""
    trials = 1
    while trials <= cores:
        yield Packing(trials, cpus=float(cores // trials), gpus=0.0)
        trials *= 2


def _on_gpu(cpus: float) -> Iterator[Packing]:
    for trials in range(1, _MOST_PER_GPU + 1):
        yield Packing(trials, cpus=cpus, gpus=1 / trials)


def _measure(trainer: Trainer, config: Mapping[str, Any], place: Place, packing: Packing) -> Packing:
    starts = time.time() + _START_SECONDS
    there = replace(place, threads=max(1, int(packing.cpus)), gpu=bool(packing.gpus))
    task = ray.remote(num_cpus=packing.cpus, num_gpus=gpu_request(packing.gpus), max_calls=1)(_probe)
    probes: list[Probe] = ray.get(
        [task.remote(trainer, dict(config), there, starts, starts + _SECONDS) for _ in range(packing.trials)]
    )
    scarce = max(probes, key=lambda probe: probe.memory / probe.memory_available)
    return replace(
        packing,
        passes_per_second=sum(probe.passes_per_second for probe in probes),
        memory=packing.trials * scarce.memory,
        available=scarce.memory_available,
    )


def _probe(trainer: Trainer, config: dict[str, Any], place: Place, starts: float, ends: float) -> Probe:
    return trainer.probe(config, place, starts, ends)


def gpu_request(gpus: float) -> float:
    """What a trial asks Ray for: of a fraction a little less, so that beside one trial more than half is left."""
    return gpus if gpus in (0, 1) or gpus > 1 else round(gpus - _EPSILON, 4)


class _Ballast:
    """Holds most of a GPU, so that a trial beside it finds room for one only."""

    def ready(self) -> None:
        """Returns once it has its GPU."""


@contextmanager
def spread_over_gpus(share: float) -> Iterator[Callable[[int], None]]:
    """Lets the first trials with a fraction of a GPU take a GPU each before two share one.

    Ray fills its first GPU with fractions before it looks at the next. So ballast lies on every GPU that leaves room
    for one trial, until as many trials have started as there are GPUs.

    Args:
        share: of a GPU, what a trial asks for: as `gpu_request` says.

    Yields:
        To be told how many trials have started.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0))
    ballast: list[Any] = []
    if 0 < share < 0.5 and gpus > 1:
        kind = ray.remote(num_cpus=0, num_gpus=1 - share)(_Ballast)  # more than half: two never lie on one GPU
        ballast = [kind.remote() for _ in range(gpus)]
        ray.wait([actor.ready.remote() for actor in ballast], num_returns=gpus, timeout=_BALLAST_SECONDS)

    def started(trials: int) -> None:
        if trials >= gpus:
            _drop(ballast)

    try:
        yield started
    finally:
        _drop(ballast)


def _drop(ballast: list[Any]) -> None:
    while ballast:
        ray.kill(ballast.pop())
