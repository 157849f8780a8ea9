"""Binds a kind of trials of `trainers` to the engine's contract (`orchestrator.trainer.Trainer`).

torch takes seconds to import, so it is imported by what computes. What a setting is called and may be needs none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from orchestrator.declaration import Declaration, ServedModel
from orchestrator.errors import UserError
from orchestrator.setting import Setting
from orchestrator.trainer import Outlook, Place, Probe, Snapshot, SubModelCost, TrialBudget
from trainers.config.describing import described
from trainers.config.names import full_names
from trainers.config.resolution import ConfigT, said
from trainers.errors import ConfigError, DataError
from trainers.own.parts import code
from trainers.own.travelling import OwnParts

if TYPE_CHECKING:
    import torch

    from trainers.tasks.task import Metric
    from trainers.trials.kind import TrialKind

_NO_MEMORY = "can't allocate memory"  # what torch's allocator for the processor says
_READINGS = {"updates": "optimizer steps", "passes": "forward-backward passes", "macs": "training multiply-accumulates"}
_Made = TypeVar("_Made")


class Later(Generic[_Made]):
    """What a class has, made when it is first asked for."""

    def __init__(self, make: Callable[[], _Made]) -> None:
        self._make = make
        self._made: list[_Made] = []

    def __get__(self, instance: object, owner: type | None = None) -> _Made:
        if not self._made:
            self._made.append(self._make())
        return self._made[0]


class LoopTrainer(Generic[ConfigT]):
    """Trains by `trainers.training.loop.fit`, whatever the kind of trials. To workers it brings the study's own parts.

    Args:
        task: a task that the study's file registers, whose metrics are declared in the place of the usual ones.
        metrics: those that it registers and that are measured beside the task's own, by name.
        primary: the one of all of them that the report is about, if not the task's own.

    Attributes:
        config: the class of its trials' configs.
        kind: of its trials, which torch is imported for.
        flops: how they are counted, where they are.
        served: how finished networks are served, where they are.
        beside: files that are kept beside the weights.

    Raises:
        UserError: one that is not registered.
    """

    config: type[ConfigT]
    kind: "Later[TrialKind[ConfigT]]"
    declaration: Later[Declaration]
    name: str
    flops: str = ""
    served: ServedModel | None = None
    beside: tuple[str, ...] = ()
    _said: Mapping[str, Any] = MappingProxyType({})  # of the task, as a study would say it
    _brought: OwnParts | None = None  # of the process that it came from

    def __init__(self, task: str | None = None, metrics: Sequence[str] = (), primary: str | None = None) -> None:
        said = {"task.name": task, "task.metrics": list(metrics) or None, "task.primary": primary}
        self._said = {name: value for name, value in said.items() if value is not None}
        if self._said:
            from studies.declaration import declaration

            with _for_the_user():
                measured = self._measured(task, metrics, primary)
                vars(self)["declaration"] = declaration(measured, self.config, self.flops, self.served, self.beside)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_brought": OwnParts.here()}

    @property
    def _declared(self) -> "tuple[Metric, ...]":
        said = self._said
        return self._measured(said.get("task.name"), said.get("task.metrics", ()), said.get("task.primary"))

    def _measured(self, task: str | None, metrics: Sequence[str], primary: str | None) -> "tuple[Metric, ...]":
        from trainers.tasks.measures import measures, with_measures
        from trainers.tasks.names import task_class

        return with_measures(task_class(task, self.kind.task).metrics, measures(metrics), primary)

    def settings(self) -> tuple[Setting, ...]:
        return tuple(Setting(**vars(each)) for each in described(self.config))

    def resolve(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        with _for_the_user():
            said(settings, self.config)  # first: what cannot be is said before torch is imported
            config = self.kind.resolve({**self._said, **full_names(settings, self.config)})
            task = config.task
            if self._measured(task.name, task.metrics or (), task.primary) != self._declared:
                raise ConfigError(
                    "another task, or other metrics, than the study's trainer declares: name them where it is named, "
                    "main(STUDY, lambda: image_trainer(task=…, metrics=[…], primary=…))"
                )
            return config.as_dict()

    def budget(self, config: Mapping[str, Any]) -> TrialBudget:
        resolved = self._read(config)
        unit, amount = resolved.budget.unit, resolved.budget.amount
        shown = f"{amount:.3e}" if unit == "macs" else f"{amount:,}"
        per_epoch = self.kind.updates_per_epoch(resolved) or 0.0
        return TrialBudget(unit, amount, f"{shown} {_READINGS[unit]}", per_epoch)

    def describe(self, configs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        resolved = [self._read(config) for config in configs]

        def common(read: Callable[[ConfigT], object]) -> list[str]:
            found = {str(read(config)) for config in resolved}
            return list(found) if len(found) == 1 else []

        what = [*common(lambda config: config.network.name), *common(lambda config: config.task.dataset)]
        batch = [f"batch {size}" for size in common(lambda config: config.task.batch_size)]
        return " on ".join(what), *batch, *common(lambda config: config.precision.activations)

    def versions(self) -> dict[str, str]:
        import torch

        found = {"cuda": torch.version.cuda or "none", "cudnn": str(torch.backends.cudnn.version() or "none")}
        for package in ("torch", "triton", *self.kind.packages):
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "not installed"
        return found

    def full_names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        with _for_the_user():
            return full_names(settings, self.config)

    def code(self, config: Mapping[str, Any]) -> dict[str, str]:
        with _for_the_user():
            return code(self._read(config).names)

    def identity(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return self._read(config).identity()

    def data_checksum(self, config: Mapping[str, Any], data: Path | None) -> str:
        with _for_the_user():
            return self.kind.checksum(self._read(config), data)

    def prepare(self, config: Mapping[str, Any], place: Place) -> None:
        with _for_the_user():
            self.kind.fetch(self._read(config), place.data)

    def costs(self, config: Mapping[str, Any]) -> list[SubModelCost]:
        resolved = self._read(config)
        with _for_the_user():
            costs = self.kind.costs(resolved)
        return [
            SubModelCost(target.label, dict(target.dims), cost.macs, cost.parameters, cost.flops)
            for target in resolved.lattice
            for cost in [costs[target.label]]
        ]

    def outlook(self, config: Mapping[str, Any]) -> Outlook:
        from trainers.measuring.timing import expected_trial

        work = expected_trial(self.kind, self._read(config))
        totals = {"updates": work.updates, "passes": work.all_passes, "macs": work.macs}
        return Outlook(totals, weight=work.macs / work.updates)

    def seconds(self, config: Mapping[str, Any], place: Place) -> float:
        from trainers.measuring.timing import trial_seconds

        return trial_seconds(self.kind, self._read(config), _on(place))

    def probe(self, config: Mapping[str, Any], place: Place, starts: float, ends: float) -> Probe:
        from trainers.measuring.timing import throughput

        rate, memory, available = throughput(self.kind, self._read(config), place.data, _on(place), starts, ends)
        return Probe(rate, "passes", memory, available)

    def latencies(self, config: Mapping[str, Any], place: Place) -> dict[str, float]:
        from trainers.measuring.timing import latency

        found = latency(self.kind, self._read(config), _on(place))
        return {target.label: 1000 * seconds for target, seconds in found.items()}

    def export(self, config: Mapping[str, Any], weights: Path, label: str, folder: Path) -> None:
        with _for_the_user("extract: "):
            self.kind.export(self._read(config), weights, label, folder)

    def device_name(self, place: Place) -> str:
        import torch

        device = _on(place)
        if device.type == "cuda":
            return torch.cuda.get_device_name(device)
        return f"CPU, {place.threads} thread{'s' * (place.threads > 1)}, {torch.backends.cpu.get_cpu_capability()}"

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Snapshot]:
        import torch

        from trainers.training.loop import fit

        device = _on(place)
        try:
            parts = self.kind.assemble(self._read(config), seed, place.data, device)
            for snapshot in fit(parts.recipe, seed, parts.task, parts.network, parts.macs, device, resume_from):
                yield replace(snapshot, save=partial(_save, snapshot.save, parts.beside))
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY in str(error):
                raise MemoryError(str(error)) from error
            raise

    def _read(self, config: Mapping[str, Any]) -> ConfigT:
        if self._brought is not None:
            self._brought.install()
            self._brought = None
        return self.config.from_dict(config)


@contextmanager
def _for_the_user(before: str = "") -> Iterator[None]:
    """Says what cannot be used or had in the engine's words."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise UserError(f"{before}{error}") from error


def _save(save: Callable[[Path], None], beside: Mapping[str, str], directory: Path) -> None:
    save(directory)
    for name, text in beside.items():
        (directory / name).write_text(text, encoding="utf-8")


def _on(place: Place) -> "torch.device":
    """The device of a place; sets the number of threads, which a reused worker may have from another trial."""
    import torch

    torch.set_num_threads(place.threads)
    return torch.device("cuda" if place.gpu else "cpu")
