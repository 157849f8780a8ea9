"""The contract between the engine and whatever trains: settings in, snapshots out. No torch on this side of it.

What a trainer measures, keeps and counts it declares (`orchestrator.declaration`).
`orchestrator.testing.trainer_contract` holds a trainer to all of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.declaration import Declaration
from orchestrator.errors import UserError
from orchestrator.setting import Setting


class Snapshot(Protocol):
    """Where a trial stands; see `trainers.training.loop.Snapshot`."""

    @property
    def step(self) -> int: ...
    @property
    def progress(self) -> float: ...
    @property
    def metrics(self) -> dict[str, float]:
        """Empty between evaluations; else `METRIC/LABEL` for every metric that is one per sub-model, `ledger/TOTAL`
        for every total, and other metrics by their names."""

    @property
    def final(self) -> bool: ...
    @property
    def diverged(self) -> bool: ...
    def save(self, directory: Path, /) -> None: ...


@dataclass(frozen=True)
class TrialBudget:
    """What ends a trial: an amount of a unit, and both in words (`78,200 optimizer steps`).

    Attributes:
        updates_per_epoch: optimizer steps in which every training example is seen once, need not be whole; 0: unknown.
    """

    unit: str
    amount: int
    words: str
    updates_per_epoch: float = 0.0


@dataclass(frozen=True)
class SubModelCost:
    """A target sub-model: its label, what it keeps of every dimension, forward multiply-accumulates per example.

    Attributes:
        flops: of one example forward, as `Declaration.flops` says they are counted; None: they are not.
    """

    label: str
    dimensions: Mapping[str, float]
    macs: int
    parameters: int
    flops: int | None = None


@dataclass(frozen=True)
class Outlook:
    """What a trial will take, before it starts.

    Attributes:
        totals: as far as they can be foreseen, by the names that the trainer declares.
        weight: of one of its steps beside those of other trials, in any unit: what weighs most needs most memory.
    """

    totals: Mapping[str, float]
    weight: float


@dataclass(frozen=True)
class Probe:
    """What some seconds of training showed.

    Attributes:
        rate: what it does per second, in the trainer's own unit of work.
        unit: of work, `passes`.
        memory: bytes that the process takes, of the machine or of the GPU, whichever is scarcer.
        memory_available: bytes of it that were free before, or used by this process.
    """

    rate: float
    unit: str
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

    @property
    def declaration(self) -> Declaration:
        """What it measures, counts and keeps, whatever the config."""

    def budget(self, config: Mapping[str, Any]) -> TrialBudget:
        """What ends a trial. Trials of one table have the same."""

    def describe(self, configs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        """What trials of these configs have in common, in a few words each: first what is trained on what, or ""."""

    def versions(self) -> dict[str, str]:
        """What results may depend on and the engine does not know, with versions: libraries, drivers."""

    def settings(self) -> Sequence[Setting]:
        """What may be set, in the order in which it is listed; by full names, which `full_names` leaves alone."""

    def full_names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The same settings under one name each, whatever short names they were given by. Raises `UserError`."""

    def resolve(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Every setting explicit, as JSON values. Raises `UserError`."""

    def identity(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Of a resolved config what its trial is known by, as JSON values: all that is not at its default."""

    def code(self, config: Mapping[str, Any]) -> dict[str, str]:
        """What the study's own file defines of a resolved config, by what it is, a digest each. Part of its identity.

        Raises `UserError` where that cannot be told.
        """

    def data_checksum(self, config: Mapping[str, Any], data: Path | None) -> str:
        """Identifies all that is read from outside without fetching it: what is known by its content alone, in `data`.

        Raises `UserError` where that is not there.
        """

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


MakesTrainer = Trainer | Callable[[], Trainer]
"""What trains, or what makes it, called once a command is known to need it."""


def made_trainer(trainer: MakesTrainer) -> Trainer:
    """What trains.

    Raises:
        UserError: nothing, or something else, is made.
    """
    made = trainer() if callable(trainer) else trainer
    if not hasattr(made, "fit"):
        name = getattr(trainer, "__name__", type(trainer).__name__)
        raise UserError(
            f"{name}, which the study gives to main(…), makes no trainer ({type(made).__name__}): "
            "return image_trainer(…) from it"
        )
    return made
