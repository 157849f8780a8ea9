"""How many trials share a machine: measured, not guessed.

Two trials of one thread may do more work than one of two threads, or less; several on one GPU may overlap or merely
take turns, and each needs its memory. So one arm is trained for some seconds in every packing that comes into
question, all its trials at once, and the one that gets most done in the memory there is, is used.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from orchestrator.run.cluster import nodes
from orchestrator.run.gpu_spreading import gpu_request
from orchestrator.study.plan import Trial
from orchestrator.trainer import Place, Probe, Trainer

_START_SECONDS, _SECONDS = 15.0, 8.0  # to import and warm up, and then of measuring
_BETTER = 1.1  # how much more work must get done for more trials on one GPU
_MEMORY_SHARE = 0.85  # of a machine's memory that trials may take
_MOST_PER_GPU = 4


@dataclass(frozen=True)
class Packing:
    """Trials that share one machine, or one GPU where they use one, with what each gets; and what was measured.

    Attributes:
        rate: of all of them together, in the trainer's unit of work per second.
        memory: bytes of all of them, of the machine or of the GPU, whichever is scarcer.
        available: bytes there are of it.
    """

    trials: int
    cpus: float
    gpus: float
    rate: float = 0.0
    unit: str = ""
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
            f"{self.trials} at once, {each} each: {self.rate:.1f} {self.unit}/s in {self.memory / 1e9:.1f} of "
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
    there = nodes()
    gpu = any(node.get("GPU", 0) >= 1 for node in there)
    cores = max(int(node.get("CPU", 1)) for node in there)
    best: Packing | None = None
    for candidate in _gpu_packings(cpus) if gpu else _cpu_packings(cores):
        found = _measure(trainer, config, place, candidate)
        say(found.text)
        if best is None or (found.fits and found.rate > best.rate * (_BETTER if gpu else 1)):
            best = found
        elif gpu or not found.fits:
            break
    assert best is not None
    return best


def heaviest(trainer: Trainer, trials: Sequence[Trial]) -> Trial:
    """The trial whose steps weigh most."""
    return max(
        {trial.arm.label: trial for trial in trials}.values(), key=lambda trial: trainer.outlook(trial.config).weight
    )


def _cpu_packings(cores: int) -> Iterator[Packing]:
    """One trial on all cores, two on half of them each, and so on down to one core each."""
    trials = 1
    while trials <= cores:
        yield Packing(trials, cpus=float(cores // trials), gpus=0.0)
        trials *= 2


def _gpu_packings(cpus: float) -> Iterator[Packing]:
    for trials in range(1, _MOST_PER_GPU + 1):
        yield Packing(trials, cpus=cpus, gpus=1 / trials)


def _measure(trainer: Trainer, config: Mapping[str, Any], place: Place, packing: Packing) -> Packing:
    starts = time.time() + _START_SECONDS
    there = replace(place, threads=max(1, int(packing.cpus)), gpu=bool(packing.gpus))
    probe = ray.remote(num_cpus=packing.cpus, num_gpus=gpu_request(packing.gpus), max_calls=1)(_probe)
    probes: list[Probe] = ray.get(
        [probe.remote(trainer, dict(config), there, starts, starts + _SECONDS) for _ in range(packing.trials)]
    )
    scarce = max(probes, key=lambda found: found.memory / found.memory_available)
    return replace(
        packing,
        rate=sum(found.rate for found in probes),
        unit=scarce.unit,
        memory=packing.trials * scarce.memory,
        available=scarce.memory_available,
    )


def _probe(trainer: Trainer, config: dict[str, Any], place: Place, starts: float, ends: float) -> Probe:
    return trainer.probe(config, place, starts, ends)
