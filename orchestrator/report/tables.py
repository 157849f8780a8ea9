"""Paper-style tables: mean ± SD over seeds with n, per sub-model and averaged, the published numbers beside them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orchestrator.declaration import Metric, Total
from orchestrator.numerals import decimal, signed
from orchestrator.report.comparisons import (
    Comparison,
    Family,
    bold_rule,
    compare,
    differences_caption,
    seeds_caption,
)
from orchestrator.report.divergence import diverged_seeds, divergence_rule, in_place
from orchestrator.report.results import Results
from orchestrator.report.statistics import Sortedness, mean_and_sd, sortedness
from orchestrator.report.words import percentage
from orchestrator.study.levels import SEPARATOR

AVERAGE = "avg."
APART = "This table is corrected by itself, not together with the others."
_SECONDS = Total("seconds", "seconds")
_MOST_ROWS = 12  # sub-models; of larger lattices some stand for all


@dataclass(frozen=True)
class Cell:
    """The primary metric over n seeds. With one seed no spread is known: `sd` is None.

    Where some of the seeds diverged there is no mean, and no number is shown.
    """

    mean: float
    sd: float | None
    n: int
    best: bool
    published: float | None = None
    derived: bool = False
    decimals: int = 2
    diverged: int = 0

    @classmethod
    def of(
        cls,
        values: Iterable[float],
        metric: Metric,
        best: bool = False,
        published: tuple[float, bool] | None = None,
        diverged: int = 0,
    ) -> "Cell":
        """Of one value per seed, what was published with whether it is derived, and how many of the seeds diverged."""
        per_seed = list(values)
        mean, sd = (math.nan, None) if diverged else mean_and_sd(per_seed)
        printed, derived = published or (None, False)
        return cls(mean, sd, len(per_seed), best, printed, derived, metric.decimals, diverged)

    @property
    def text(self) -> str:
        """`41.23 ± 0.35`, or the mean alone; `2 of 5 diverged`."""
        if self.diverged:
            return in_place(self.diverged, self.n)
        mean = decimal(self.mean, self.decimals)
        return mean if self.sd is None else f"{mean} ± {decimal(self.sd, self.decimals)}"

    @property
    def short_text(self) -> str:
        """What stands in the place of a mean that is none, where there is little room: `2/5 div.`; else empty."""
        if not self.diverged:
            return ""
        return "diverged" if self.diverged == self.n else f"{self.diverged}/{self.n} div."

    @property
    def published_text(self) -> str:
        """The published value as printed, `†` if derived, and how far ours lies from it."""
        if self.published is None:
            return "–"
        printed = f"{decimal(self.published, self.decimals)}{'†' * self.derived}"
        return printed if self.diverged else f"{printed} ({signed(self.mean - self.published, self.decimals)})"


@dataclass(frozen=True)
class Table:
    """Rows are sub-models (largest first) and the average; columns are arms.

    Attributes:
        title: of one of several tables; else empty.
        metric: what it is of.
        macs, flops, milliseconds: of one example, by row and arm; the second if counted, the third if measured.
        cells: by row and arm; none where the arm has no such sub-model.
        comparisons: by row and arm, for arms that have a baseline.
        behind: by row and arm, the arm minus the highest mean of the row; none for the highest.
        against: the baseline of each such arm.
        diverged: by arm with a diverged seed, what stands in the place of its numbers.
        sorted: by arm, the share of nested pairs in order and the mean shortfall of the others, as text.
        sortedness: the same as means over seeds, of arms that have nested pairs and a mean.
        counted: what `updates` counts, of every sub-model; empty if nothing is.
        totals: by arm and name; `ledger` says which, and how they are printed.
        timing: what is to be said of the milliseconds, where they are shown; empty if nothing is.
        family: what decides bold and the comparisons.
    """

    title: str
    metric: Metric
    arms: tuple[str, ...]
    rows: tuple[str, ...]
    macs: Mapping[tuple[str, str], int]
    flops: Mapping[tuple[str, str], int]
    milliseconds: Mapping[tuple[str, str], float]
    cells: Mapping[tuple[str, str], Cell]
    comparisons: Mapping[tuple[str, str], Comparison]
    behind: Mapping[tuple[str, str], Comparison]
    against: Mapping[str, str]
    diverged: Mapping[str, str]
    sorted: Mapping[str, str]
    sortedness: Mapping[str, Sortedness]
    counted: str
    updates: Mapping[tuple[str, str], float]
    ledger: tuple[Total, ...]
    totals: Mapping[str, Mapping[str, float]]
    seeds: int
    caption: str
    timing: str
    compares: bool
    family: Family

    @property
    def one_network(self) -> bool:
        """Whether every arm that has a sub-model takes as many multiply-accumulates for it."""
        return all(
            len({self.macs[row, arm] for arm in self.arms if (row, arm) in self.macs}) == 1 for row in self.rows[:-1]
        )

    @property
    def comparison_caption(self) -> str:
        """What the comparisons are and how they were corrected."""
        return differences_caption(self.family, self.against, self.metric)

    @property
    def seeds_caption(self) -> str:
        """How the numbers of seeds were estimated; empty where none is shown."""
        return seeds_caption(self.family, (*self.comparisons.values(), *self.behind.values()))

    @property
    def crowded(self) -> bool:
        """Whether a row has an arm that is not separated from the highest, which the differences do not show."""
        return self.family.crowded(self.against)


def read_published(path: Path, factors: Sequence[str]) -> dict[tuple[str, str], tuple[float, bool]]:
    """Published accuracies by (arm label, sub-model), and whether derived; averages as printed."""
    frame = pd.read_csv(path, dtype=dict.fromkeys(factors, str), keep_default_na=False)  # a level may be called null
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    for levels, rows in frame.groupby(list(factors), sort=False):
        arm = SEPARATOR.join(str(level) for level in levels)
        for row in rows.itertuples():
            found[arm, str(row.sub_model)] = (float(str(row.accuracy)), str(row.source) == "derived")
    return found


def make_table(results: Results, published: Mapping[tuple[str, str], tuple[float, bool]], caption: str) -> Table:
    """The table of the primary metric's final values of one facet's results."""
    metric, declaration = results.metric, results.declaration
    totals = (*(total for total in declaration.totals if total.title), _SECONDS)
    frame = results.frame
    shown = some_of(results.sub_models)
    rows = (*reversed(shown), AVERAGE)
    wide = _by_sub_model(results)
    shared = results.shared
    costs = frame.drop_duplicates(["arm", "sub_model"]).set_index(["sub_model", "arm"])
    has = {row: [arm for arm in results.arms if row == AVERAGE or (row, arm) in costs.index] for row in rows}
    by_seed: dict[str, dict[str, dict[int, float]]] = {row: {arm: {} for arm in has[row]} for row in rows}
    for arm, accuracies in wide.groupby("arm"):
        seeds = accuracies.index.get_level_values("seed").astype(int)
        for row in rows:
            if arm in has[row]:
                by_seed[row][str(arm)] = dict(zip(seeds, accuracies[row], strict=True))
    lost = diverged_seeds(results.diverged)
    whole = {row: {arm: seeds for arm, seeds in by_arm.items() if arm not in lost} for row, by_arm in by_seed.items()}
    family = compare(whole, metric.decimals, metric.higher_is_better)
    cells = {
        (row, arm): Cell.of(
            by_seed[row][arm].values(),
            metric,
            arm in family.best[row],
            published.get((arm, row)),
            len(lost.get(arm, ())),
        )
        for row in rows
        for arm in has[row]
    }
    against = {arm: other for arm, other in results.against.items() if not lost.keys() & {arm, other}}
    remarks = [
        divergence_rule(results.diverged, results.seeds),
        _spread(family),
        bold_rule(family, metric),
        APART if results.facets[0] else "",
        _left_out(results.sub_models, shown),
        _not_shared(results.sub_models, shared),
        flops_rule(results),
    ]
    diverged = {arm: in_place(len(gone), results.seeds[results.facets[0], arm]) for arm, gone in lost.items()}
    measured = {} if results.latency is None else results.latency.milliseconds
    milliseconds = {arm: measured.get((results.facets[0], arm), {}) for arm in results.arms}
    in_order = {
        arm: found
        for arm in results.arms
        if arm not in diverged
        and (found := _sortedness(frame[frame["arm"] == arm], results.dimensions, metric)) is not None
    }
    return Table(
        title=results.facets[0],
        metric=metric,
        arms=results.arms,
        rows=rows,
        macs=_costs(costs, "macs"),
        flops=_costs(costs, "flops"),
        milliseconds={
            (row, arm): milliseconds[arm][row] for row in shown for arm in has[row] if row in milliseconds.get(arm, {})
        },
        cells=cells,
        comparisons=family.differences(against),
        behind=family.behind,
        against=against,
        diverged=diverged,
        sorted={
            arm: diverged.get(arm) or (_in_order(in_order[arm], metric) if arm in in_order else "–")
            for arm in results.arms
        },
        sortedness=in_order,
        counted=declaration.counted,
        updates={
            (row, arm): float(frame[(frame["arm"] == arm) & (frame["sub_model"] == row)][declaration.counted].mean())
            for row in shown
            for arm in has[row]
            if declaration.counted
        },
        ledger=totals,
        totals={
            arm: {total.name: float(frame[frame["arm"] == arm][_column(total)].mean()) for total in totals}
            for arm in results.arms
        },
        seeds=family.seeds,
        caption=" ".join(filter(None, [caption, *remarks])),
        timing="" if results.latency is None else results.latency.remark,
        compares=any(cell.published is not None for cell in cells.values()),
        family=family,
    )


def averages(results: Results) -> dict[str, dict[int, float]]:
    """Of one facet's results the averages over the sub-models that every arm has, by arm and seed."""
    found: dict[str, dict[int, float]] = {arm: {} for arm in results.arms}
    rows = _by_sub_model(results)[AVERAGE].reset_index()
    for arm, seed, value in zip(rows["arm"], rows["seed"], rows[AVERAGE], strict=True):
        found[str(arm)][int(seed)] = float(value)
    return found


def _by_sub_model(results: Results) -> pd.DataFrame:
    """The final values by arm and seed; a column per sub-model, and their average."""
    wide = results.frame.pivot(index=["arm", "seed"], columns="sub_model", values=results.metric.name).astype(float)
    wide[AVERAGE] = wide[[label for label in wide if label in results.shared]].mean(axis="columns", skipna=False)
    return wide


def flops_rule(results: Results) -> str:
    """How FLOPs are counted; empty where none are."""
    return f"FLOPs: {results.declaration.flops}." if "flops" in results.frame else ""


def _costs(costs: pd.DataFrame, name: str) -> dict[tuple[str, str], int]:
    """By sub-model and arm; empty where nothing is known."""
    if name not in costs:
        return {}
    known = costs[name].dropna().reset_index()
    columns = (known[column] for column in ("sub_model", "arm", name))
    return {(str(row), str(arm)): int(value) for row, arm, value in zip(*columns, strict=True)}


def _column(total: Total) -> str:
    return total.name if total is _SECONDS else f"total_{total.name}"


def some_of(sub_models: tuple[str, ...]) -> tuple[str, ...]:
    """All of them, or of very many some, the smallest and the largest among them."""
    if len(sub_models) <= _MOST_ROWS:
        return sub_models
    last = len(sub_models) - 1
    return tuple(sub_models[round(place * last / (_MOST_ROWS - 1))] for place in range(_MOST_ROWS))


def _left_out(sub_models: tuple[str, ...], shown: tuple[str, ...]) -> str:
    if len(shown) == len(sub_models):
        return ""
    return f"{len(shown)} of {len(sub_models)} sub-models are shown, avg. is over all; results.csv has every one."


def _not_shared(sub_models: tuple[str, ...], shared: tuple[str, ...]) -> str:
    """What stands in the place of a sub-model that some arm lacks."""
    if len(shared) == len(sub_models):
        return ""
    return (
        f"–: the arm has no such sub-model; avg., and what is compared on it, is over those that every arm has "
        f"({', '.join(reversed(shared))})."
    )


def _spread(family: Family) -> str:
    return "" if family.seeds < 2 else f"Mean ± SD over n = {family.seeds} seeds."


def _sortedness(frame: pd.DataFrame, dimensions: tuple[str, ...], metric: Metric) -> Sortedness | None:
    """Of one arm, means over seeds; None without a nested pair."""
    trials: dict[int, list[tuple[tuple[float, ...], float]]] = {}
    own = [name for name in dimensions if frame[name].notna().all()]  # another arm's network may have others
    sizes = frame[own].astype(float).to_numpy().tolist()
    for seed, size, value in zip(frame["seed"], sizes, frame[metric.name].astype(float), strict=True):
        trials.setdefault(seed, []).append((tuple(size), metric.gain(value)))
    known = [each for _, trial in sorted(trials.items()) if (each := sortedness(trial)) is not None]
    if not known:
        return None
    count = len(known)
    return Sortedness(sum(each.share for each in known) / count, sum(each.shortfall for each in known) / count)


def _in_order(found: Sortedness, metric: Metric) -> str:
    return f"{percentage(found.share)} ({metric.text(found.shortfall)})"
