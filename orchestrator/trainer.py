"""The contract between the engine and whatever trains: settings in, snapshots out. No torch on this side of it.

What a trainer measures, keeps and counts it declares; the engine reads the declaration and knows no metric, file or
unit by name. `orchestrator.testing.trainer_contract` holds a trainer to all of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from orchestrator.errors import UserError
from orchestrator.numerals import decimal, scientific
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


LEDGER = "ledger"  # before the names of totals among the metrics


@dataclass(frozen=True)
class Metric:
    """What a trainer measures.

    Attributes:
        name: in MLflow and in results.csv.
        title: `test accuracy`, as it stands in a sentence.
        unit: `%`, or a word; empty for none.
        higher_is_better: which way is better.
        primary: the one that tables, figures and tests are of.
        decimals: as printed; means that print alike count as equal.
        per_sub_model: whether it is measured of every sub-model, as `NAME/LABEL`, or once for a trial, as `NAME`, and
            not necessarily at every evaluation.
        short: `accuracy`, where there is little room; the title if empty.
        interim: its name where it is of those examples and sub-models that evaluations before the last are of, under a
            config by which these leave something out (`Declaration.interim`); empty: that never happens.
    """

    name: str
    title: str
    unit: str = ""
    higher_is_better: bool = True
    primary: bool = False
    decimals: int = 2
    per_sub_model: bool = True
    short: str = ""
    interim: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """That values of it go by."""
        return (self.name, self.interim) if self.interim else (self.name,)

    @property
    def word(self) -> str:
        """`accuracy`."""
        return self.short or self.title

    @property
    def axis(self) -> str:
        """`test accuracy (%)`."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def heading(self) -> str:
        """`Test accuracy (%)`."""
        return self.axis[:1].upper() + self.axis[1:]

    @property
    def best(self) -> str:
        """`highest` or `lowest`."""
        return "highest" if self.higher_is_better else "lowest"

    @property
    def worst(self) -> str:
        """`lowest` or `highest`."""
        return "lowest" if self.higher_is_better else "highest"

    @property
    def in_words(self) -> str:
        """`test accuracy in per cent`."""
        unit = "per cent" if self.unit == "%" else self.unit
        return f"{self.title} in {unit}" if unit else self.title

    @property
    def points(self) -> str:
        """What differences are counted in: `percentage points`, the unit, or nothing."""
        return "percentage points" if self.unit == "%" else self.unit

    def text(self, value: float) -> str:
        """`41.23`; what prints as zero has no sign."""
        return decimal(value, self.decimals)

    def with_unit(self, value: float) -> str:
        """`41.23 %`."""
        return f"{self.text(value)} {self.unit}".rstrip()

    def gain(self, value: float) -> float:
        """The value, turned so that more is better."""
        return value if self.higher_is_better else -value


@dataclass(frozen=True)
class Total:
    """What a trainer counts over a trial, as `ledger/NAME`.

    Attributes:
        title: of its row in the report's ledger; empty: it is recorded and not shown there.
        scientific: whether it is printed as 1.234e+09.
        per_sub_model: whether it is counted of every sub-model as well, as `NAME/LABEL`.
    """

    name: str
    title: str = ""
    scientific: bool = False
    per_sub_model: bool = False

    def text(self, value: float) -> str:
        """`1,234`."""
        return scientific(value, 3) if self.scientific else f"{value:,.0f}"


def no_texts(config: Mapping[str, Any]) -> Mapping[str, str]:
    """Nothing."""
    return {}


def no_labels(config: Mapping[str, Any]) -> Sequence[str]:
    """None."""
    return ()


@dataclass(frozen=True)
class Arrays:
    """Examples that are an array: their type as numpy calls it, `uint8`, and its dimensions, the first their number."""

    type: str
    dimensions: int


@dataclass(frozen=True)
class Texts:
    """Examples that are texts, or several each: how many, by a trial's config."""

    each: Callable[[Mapping[str, Any]], int]


@dataclass(frozen=True)
class ServedModel:
    """How the network of a finished trial answers where models are served: `predict(examples, params)` at any size.

    Attributes:
        loader: a module whose `_load_pyfunc(folder)` gives what answers; the folder has the artifacts and the config.
        examples: what it is asked.
        packages: that it needs besides this one.
        kept: what else it needs of a trial, by its config: texts by their paths in the folder.
        options: that may be given as it is loaded, each with what holds otherwise.
    """

    loader: str
    examples: Arrays | Texts
    packages: tuple[str, ...]
    kept: Callable[[Mapping[str, Any]], Mapping[str, str]] = no_texts
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Declaration:
    """What a trainer measures, counts and keeps.

    Attributes:
        metrics: one of them, measured of every sub-model, is primary.
        totals: of the ledger.
        artifacts: files of the last snapshot that are kept with a finished trial.
        weights: the one of them that `Trainer.export` reads; empty: nothing can be extracted.
        interim: the labels, smallest first, of the sub-models that evaluations before the last are of, under a config
            by which these leave out examples or sub-models; none where they leave out nothing. The largest one is among
            them. What they measure goes by `Metric.interim`, at the last evaluation too, which has the usual names
            besides: a name is of one set of examples and sub-models.
        flops: how floating-point operations of sub-models are counted, where they are shown beside MACs.
        dataset: the setting, by its full name, that names what is trained on; empty: it has no name.
        served: how a finished trial's network is served; None: it is not.

    Raises:
        ValueError: no primary metric or several; weights that are no artifact.
    """

    metrics: tuple[Metric, ...]
    totals: tuple[Total, ...] = ()
    artifacts: tuple[str, ...] = ()
    weights: str = ""
    flops: str = ""
    dataset: str = ""
    served: ServedModel | None = None
    interim: Callable[[Mapping[str, Any]], Sequence[str]] = no_labels

    def __post_init__(self) -> None:
        if sum(metric.primary for metric in self.metrics) != 1 or not self.primary.per_sub_model:
            raise ValueError("a trainer declares one primary metric, which is measured of every sub-model")
        if self.weights and self.weights not in self.artifacts:
            raise ValueError(f"the weights, {self.weights}, are none of the artifacts")

    @property
    def primary(self) -> Metric:
        """What tables, figures and tests are of."""
        return next(metric for metric in self.metrics if metric.primary)

    @property
    def counted(self) -> str:
        """The total that is counted of every sub-model too; empty without."""
        return next((total.name for total in self.totals if total.per_sub_model), "")

    def expected(self, labels: Sequence[str], interim: Sequence[str] = (), last: bool = True) -> set[str]:
        """The names that the metrics of an evaluation hold.

        Args:
            labels: of the sub-models.
            interim: of those that evaluations before the last are of, where these leave something out.
            last: whether it is the last one.
        """
        measured = [metric for metric in self.metrics if metric.per_sub_model]
        groups = [metric.name for metric in measured if last or not interim]
        groups += [total.name for total in self.totals if total.per_sub_model]
        each = {f"{group}/{label}" for group in groups for label in labels}
        each |= {f"{metric.interim}/{label}" for metric in measured if metric.interim for label in interim}
        return each | {f"{LEDGER}/{total.name}" for total in self.totals}

    def possible(self, interim: Sequence[str] = (), last: bool = True) -> set[str]:
        """The names of what is measured once for a trial that the metrics of an evaluation may hold; as `expected`."""
        single = [metric for metric in self.metrics if not metric.per_sub_model]
        names = {metric.name for metric in single if last or not interim or not metric.interim}
        return names | {metric.interim for metric in single if metric.interim and interim}


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
