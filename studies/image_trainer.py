"""Binds `trainers` to the engine's contract (`orchestrator.trainer.Trainer`) for image classification."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from orchestrator.errors import UserError
from orchestrator.trainer import Outlook, Place, Probe, Snapshot, SubModelCost
from trainers.build import target_costs
from trainers.config.trial import TrialConfig, resolve
from trainers.data.datasets import dataset
from trainers.data.images.arrays import ImageArrays
from trainers.errors import ConfigError, DataError
from trainers.extraction.export import export
from trainers.measuring.timing import expected_trial, latency, throughput, trial_seconds
from trainers.training.trial import train

_NO_MEMORY = "can't allocate memory"  # what torch's allocator for the processor says
_TEST_IMAGES = {"cifar10": 10_000, "digits": 360}


class ImageTrainer:
    """Stateless: workers import it by name."""

    name = "sortednet image classification 4"  # raised whenever the same config gives another result

    def resolve(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return asdict(resolve(settings))
        except ConfigError as error:
            raise UserError(str(error)) from error

    def data_checksum(self, config: Mapping[str, Any]) -> str:
        return dataset(config["dataset"]).checksum()

    def prepare(self, config: Mapping[str, Any], place: Place) -> None:
        try:
            dataset(config["dataset"]).fetch(place.data)
        except DataError as error:
            raise UserError(str(error)) from error

    def costs(self, config: Mapping[str, Any]) -> list[SubModelCost]:
        resolved = TrialConfig.from_dict(config)
        costs = target_costs(resolved.network, resolved.dataset, resolved.lattice)
        return [
            SubModelCost(target.label, dict(target.dims), costs[target.label].macs, costs[target.label].parameters)
            for target in resolved.lattice
        ]

    def outlook(self, config: Mapping[str, Any]) -> Outlook:
        work = expected_trial(TrialConfig.from_dict(config))
        return Outlook(work.updates, work.all_passes, work.macs)

    def seconds(self, config: Mapping[str, Any], place: Place) -> float:
        return trial_seconds(TrialConfig.from_dict(config), _TEST_IMAGES[config["dataset"]], _on(place))

    def probe(self, config: Mapping[str, Any], place: Place, starts: float, ends: float) -> Probe:
        data = _arrays(config["dataset"], place.data)
        return Probe(*throughput(TrialConfig.from_dict(config), data, _on(place), starts, ends))

    def latencies(self, config: Mapping[str, Any], place: Place) -> dict[str, float]:
        found = latency(TrialConfig.from_dict(config), _on(place))
        return {target.label: 1000 * seconds for target, seconds in found.items()}

    def export(self, config: Mapping[str, Any], weights: Path, label: str, folder: Path) -> None:
        try:
            export(TrialConfig.from_dict(config), weights, label, folder)
        except DataError as error:
            raise UserError(f"extract: {error}") from error

    def device_name(self, place: Place) -> str:
        device = _on(place)
        if device.type == "cuda":
            return torch.cuda.get_device_name(device)
        return f"CPU, {place.threads} thread{'s' * (place.threads > 1)}, {torch.backends.cpu.get_cpu_capability()}"

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Snapshot]:
        device = _on(place)
        try:
            yield from train(
                TrialConfig.from_dict(config), seed, _arrays(config["dataset"], place.data), device, resume_from
            )
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY in str(error):
                raise MemoryError(str(error)) from error
            raise


def _on(place: Place) -> torch.device:
    """The device of a place; sets the number of threads, which a reused worker may have from another trial."""
    torch.set_num_threads(place.threads)
    return torch.device("cuda" if place.gpu else "cpu")


@lru_cache(maxsize=1)
def _arrays(name: str, folder: Path | None) -> ImageArrays:
    return dataset(name).load(folder)
