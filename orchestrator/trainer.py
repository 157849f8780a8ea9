"""The contract between the engine and whatever trains: settings in, snapshots out. No torch on this side of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Snapshot(Protocol):
    """Where a trial stands; see `trainers.training.loop.Snapshot`."""

    @property
    def step(self) -> int: ...
    @property
    def progress(self) -> float: ...
    @property
    def metrics(self) -> dict[str, float]: ...
    @property
    def final(self) -> bool: ...
    @property
    def diverged(self) -> bool: ...
    def save(self, directory: Path, /) -> None: ...


@dataclass(frozen=True)
class SubModelCost:
    """A target sub-model: its label, what it keeps of every dimension, forward multiply-accumulates per example."""

    label: str
    dimensions: Mapping[str, float]
    macs: int
    parameters: int


@dataclass(frozen=True)
class Outlook:
    """What a trial will use, before it starts: expected totals in all three units."""

    updates: float
    passes: float
    macs: float


@dataclass(frozen=True)
class Probe:
    """What some seconds of training showed.

    Attributes:
        passes_per_second: forward-backward passes.
        memory: bytes that the process takes, of the machine or of the GPU, whichever is scarcer.
        memory_available: bytes of it that were free before, or used by this process.
    """

    passes_per_second: float
    memory: int
    memory_available: int


@dataclass(frozen=True)
class Place:
    """Where a trial runs; never part of its identity. Threads for CPU work, whether a GPU is its own, the data."""

    threads: int
    gpu: bool
    data: Path | None


class Trainer(Protocol):
    """What a study binds to the engine. Must be importable by name on every node."""

    @property
    def name(self) -> str:
        """Name and version; part of every trial's identity."""

    def full_names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The same settings under one name each, whatever short names they were given by. Raises `UserError`."""

    def resolve(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Every setting explicit, as JSON values; `budget` among them, of `unit` and `amount`. Raises `UserError`."""

    def identity(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Of a resolved config what its trial is known by, as JSON values: all that is not at its default."""

    def data_checksum(self, config: Mapping[str, Any]) -> str:
        """Identifies the data without fetching it."""

    def prepare(self, config: Mapping[str, Any], place: Place) -> None:
        """Makes the data ready where this runs. Raises `UserError`."""

    def costs(self, config: Mapping[str, Any]) -> list[SubModelCost]:
        """The targets, smallest first."""

    def outlook(self, config: Mapping[str, Any]) -> Outlook:
        """Expected totals."""

    def seconds(self, config: Mapping[str, Any], place: Place) -> float:
        """Estimated duration of the trial alone, from steps measured here and now."""

    def probe(self, config: Mapping[str, Any], place: Place, starts: float, ends: float) -> Probe:
        """Trains until `ends` and measures from `starts` on, both in seconds since the epoch; keeps nothing.

        Called in a process of its own.
        """

    def latencies(self, config: Mapping[str, Any], place: Place) -> dict[str, float]:
        """Milliseconds that each target takes for one example, measured here and now, by label."""

    def export(self, config: Mapping[str, Any], weights: Path, label: str, folder: Path) -> None:
        """Writes the sub-model `label` of a finished trial's weights into `folder`, to be used on its own."""

    def device_name(self, place: Place) -> str:
        """For the record."""

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Snapshot]:
        """Trains to the end of the budget. Raises `MemoryError` where memory, of whatever device, does not suffice."""
