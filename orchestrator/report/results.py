"""The tidy frame of a study: one row per trial × sub-model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from orchestrator.declaration import Declaration, Metric
from orchestrator.report.divergence import Divergence
from orchestrator.report.latency import Latency
from orchestrator.track.tracker import FACTOR


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish: its label, one line, and its own traceback."""

    trial: str
    error: str
    traceback: str


@dataclass(frozen=True)
class Results:
    """Everything a report shows.

    Attributes:
        frame: a row per finished trial × sub-model: `facet`, `arm`, a column per factor (`factor.updates` where its
            own name is another column's), `seed`, `sub_model`, a column per dimension, `macs`, `flops` if the trainer
            counts them, `parameters`, every metric of the last evaluation, `total_…` per total of the ledger.
        curves: a row per finished trial × evaluation × sub-model: `facet`, `arm`, `seed`, `step`, `spent` of what its
            budget is of (NaN where that was not recorded), `sub_model`, the primary metric, and whether it is
            `interim`, of what evaluations before the last are of where these leave out test examples or sub-models:
            the same ones at every evaluation, the last among them. Names are categories.
        facets: the tables; one nameless without.
        arms, sub_models: in the order of the study, and smallest first. Not every arm need have every sub-model.
        dimensions: of the sub-models of any arm.
        against: the arm that each arm is compared with, by arm; none for a baseline.
        unpaired: trials left out, since some arm of their table lacks their seed.
        failures: trials that raised or were lost.
        unfinished: number of trials that run or were interrupted.
        latency: of the sub-models, if measured.
        about: where the trials come from: checksum, versions, commit, command line.
        declaration: of the trainer.
        updates_per_epoch: optimizer steps of one epoch by facet, arm and seed, as recorded; 0 where it is unknown.
        diverged: trials among the finished ones whose numbers are no results.
    """

    frame: pd.DataFrame
    curves: pd.DataFrame
    facets: tuple[str, ...]
    arms: tuple[str, ...]
    sub_models: tuple[str, ...]
    dimensions: tuple[str, ...]
    against: dict[str, str]
    unpaired: tuple[str, ...]
    failures: tuple[Failure, ...]
    unfinished: int
    latency: Latency | None
    about: dict[str, str]
    declaration: Declaration
    updates_per_epoch: Mapping[tuple[str, str, int], float] = field(default_factory=dict)
    diverged: tuple[Divergence, ...] = ()

    @property
    def metric(self) -> Metric:
        """What tables, figures and tests are of."""
        return self.declaration.primary

    def of(self, *facets: str) -> "Results":
        """The part of one table, or of several."""
        frame = self.frame[self.frame["facet"].isin(facets)]
        present = set(frame["arm"])
        inside = set(frame["sub_model"])
        return replace(
            self,
            frame=frame,
            curves=self.curves[self.curves["facet"].isin(facets)],
            facets=facets,
            arms=tuple(arm for arm in self.arms if arm in present),
            sub_models=tuple(label for label in self.sub_models if label in inside),
            against={arm: other for arm, other in self.against.items() if {arm, other} <= present},
            diverged=tuple(each for each in self.diverged if each.facet in facets),
        )

    def levels_of(self, factor: str) -> "pd.Series[str]":
        """The column of the frame that has a factor's levels."""
        return self.frame[f"{FACTOR}{factor}" if f"{FACTOR}{factor}" in self.frame else factor]

    @property
    def with_means(self) -> pd.DataFrame:
        """The rows of the frame less those of arms with a diverged seed, table by table."""
        without = {(each.facet, each.arm) for each in self.diverged}
        kept = [where not in without for where in zip(self.frame["facet"], self.frame["arm"], strict=True)]
        return self.frame[kept]

    @property
    def seeds(self) -> dict[tuple[str, str], int]:
        """How many seeds every arm has, by facet and arm."""
        trials = self.frame[["facet", "arm", "seed"]].drop_duplicates()
        return dict(Counter(zip(trials["facet"], trials["arm"], strict=True)))

    @property
    def shared_dimensions(self) -> tuple[str, ...]:
        """The dimensions that the sub-models of every arm have."""
        return tuple(name for name in self.dimensions if self.frame[name].notna().all())

    @property
    def shared(self) -> tuple[str, ...]:
        """The sub-models that every arm has, smallest first."""
        has = self.frame.groupby("sub_model")["arm"].nunique()
        return tuple(label for label in self.sub_models if has[label] == len(self.arms))
