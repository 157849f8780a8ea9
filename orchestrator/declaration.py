"""What a trainer declares: what it measures, counts and keeps, and how its networks are served.

The engine reads the declaration and knows no metric, file or unit by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.numerals import decimal, scientific

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
