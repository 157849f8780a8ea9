"""How long a trial will take, from a few passes timed here and now."""

import time

import torch

from trainers.build import build
from trainers.config import TrialConfig
from trainers.cpu import prepare_cpu
from trainers.data import dataset
from trainers.nested.norms import prefers_channels_last
from trainers.objectives import OBJECTIVES
from trainers.samplers import sampler
from trainers.submodel import SubModel

_REPEATS = 3


def expected_passes(config: TrialConfig) -> tuple[tuple[SubModel, float], ...]:
    """How often each sub-model runs in one optimizer step, on average (a quadrature for continuous samplers)."""
    lattice, objective = config.lattice, OBJECTIVES[config.objective]
    drawn = sampler(config.sampler).expectation(lattice)
    if config.objective == "sum":
        return tuple((sub_model, share * config.accumulation) for sub_model, share in drawn)
    return tuple(
        (trained, share * config.accumulation)
        for sub_model, share in drawn
        for trained in objective((sub_model,), lattice)
    )


def seconds_per_pass(config: TrialConfig, device: torch.device) -> dict[SubModel, float]:
    """The time of one forward-backward pass of each target at the config's batch size and precision, best of three."""
    prepare_cpu()
    lattice = config.lattice
    network = build(config.network, config.dataset, lattice, config.norm, config.sharing, seed=0).to(device)
    if prefers_channels_last(config.norm):
        network.to(memory_format=torch.channels_last)
    source = dataset(config.dataset)
    inputs = torch.zeros(config.batch_size, *source.shape, device=device)
    found: dict[SubModel, float] = {}
    for target in lattice:
        network.activate(target)
        times = []
        for _ in range(_REPEATS + 1):
            started = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                outputs = network(inputs)
            float(outputs.float().sum().detach())
            outputs.float().sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started)
        found[target] = min(times[1:])
    return found


def trial_seconds(config: TrialConfig, updates: float, test_images: int, device: torch.device) -> float:
    """Estimated seconds of a whole trial of so many optimizer steps, evaluations included."""
    timed = seconds_per_pass(config, device)
    training = updates * sum(share * timed[_nearest(sub_model, timed)] for sub_model, share in expected_passes(config))
    # A forward takes about a third of a pass.
    evaluation = sum(timed.values()) / 3 * test_images / config.batch_size
    return training + config.evaluations * evaluation


def _nearest(sub_model: SubModel, timed: dict[SubModel, float]) -> SubModel:
    return min(timed, key=lambda target: sum(abs(a - b) for a, b in zip(target.values, sub_model.values, strict=True)))
