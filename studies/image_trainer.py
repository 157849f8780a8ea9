"""Binds `trainers` to the engine's contract (`orchestrator.trainer.Trainer`) for image classification."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from orchestrator.errors import UserError
from orchestrator.trainer import Outlook, Place, Probe, Snapshot, SubModelCost, TrialBudget
from studies.declaration import declaration
from trainers.build import target_costs
from trainers.config.names import full_names
from trainers.config.resolution import resolve
from trainers.config.trial import TrialConfig
from trainers.data.datasets import dataset
from trainers.data.images.arrays import ImageArrays
from trainers.errors import ConfigError, DataError
from trainers.extraction.export import export
from trainers.measuring.timing import expected_trial, latency, throughput, trial_seconds
from trainers.tasks.images import ImageClassification
from trainers.training.trial import train

_NO_MEMORY = "can't allocate memory"  # what torch's allocator for the processor says
_READINGS = {"updates": "optimizer steps", "passes": "forward-backward passes", "macs": "training multiply-accumulates"}


class ImageTrainer:
    """Stateless: workers import it by name."""

    declaration = declaration(ImageClassification.metrics, short={"acc": "accuracy"}, decimals={"loss": 3})
    name = "sortednet image classification 5"  # raised whenever the same config gives another result

    def resolve(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return resolve(settings).as_dict()
        except ConfigError as error:
            raise UserError(str(error)) from error

    def budget(self, config: Mapping[str, Any]) -> TrialBudget:
        resolved = TrialConfig.from_dict(config)
        unit, amount = resolved.budget.unit, resolved.budget.amount
        assert amount is not None  # of a resolved config
        shown = f"{amount:.3e}" if unit == "macs" else f"{amount:,}"
        return TrialBudget(unit, amount, f"{shown} {_READINGS[unit]}")

    def describe(self, configs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        resolved = [TrialConfig.from_dict(config) for config in configs]

        def common(read: Callable[[TrialConfig], object]) -> list[str]:
            found = {str(read(config)) for config in resolved}
            return list(found) if len(found) == 1 else []

        what = [*common(lambda config: config.network.name), *common(lambda config: config.task.dataset)]
        batch = [f"batch {size}" for size in common(lambda config: config.task.batch_size)]
        return " on ".join(what), *batch, *common(lambda config: config.precision.activations)

    def versions(self) -> dict[str, str]:
        found = {"cuda": torch.version.cuda or "none", "cudnn": str(torch.backends.cudnn.version() or "none")}
        for package in ("torch", "torchvision", "triton", "scikit-learn"):
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "not installed"
        return found

    def full_names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return full_names(settings)
        except ConfigError as error:
            raise UserError(str(error)) from error

    def identity(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return TrialConfig.from_dict(config).identity()

    def data_checksum(self, config: Mapping[str, Any]) -> str:
        return dataset(config["task"]["dataset"]).checksum()

    def prepare(self, config: Mapping[str, Any], place: Place) -> None:
        try:
            dataset(config["task"]["dataset"]).fetch(place.data)
        except DataError as error:
            raise UserError(str(error)) from error

    def costs(self, config: Mapping[str, Any]) -> list[SubModelCost]:
        resolved = TrialConfig.from_dict(config)
        costs = target_costs(resolved)
        return [
            SubModelCost(target.label, dict(target.dims), costs[target.label].macs, costs[target.label].parameters)
            for target in resolved.lattice
        ]

    def outlook(self, config: Mapping[str, Any]) -> Outlook:
        work = expected_trial(TrialConfig.from_dict(config))
        totals = {"updates": work.updates, "passes": work.all_passes, "macs": work.macs}
        return Outlook(totals, weight=work.macs / work.updates)

    def seconds(self, config: Mapping[str, Any], place: Place) -> float:
        return trial_seconds(TrialConfig.from_dict(config), dataset(config["task"]["dataset"]).test_images, _on(place))

    def probe(self, config: Mapping[str, Any], place: Place, starts: float, ends: float) -> Probe:
        data = _arrays(config["task"]["dataset"], place.data)
        rate, memory, available = throughput(TrialConfig.from_dict(config), data, _on(place), starts, ends)
        return Probe(rate, "passes", memory, available)

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
                TrialConfig.from_dict(config), seed, _arrays(config["task"]["dataset"], place.data), device, resume_from
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
