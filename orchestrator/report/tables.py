"""Paper-style tables: mean ± SD over seeds with n, per sub-model and averaged, the published numbers beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import pandas as pd

from orchestrator.report.results import Results
from orchestrator.report.statistics import LEVEL, Paired, holm, inseparable_from_best, paired, sortedness

AVERAGE = "avg."
LEDGER_ROWS = (
    ("total_updates", "all updates"),
    ("total_passes", "all passes"),
    ("total_macs", "training MACs (forward)"),
    ("seconds", "seconds"),
)
_MOST_ROWS = 12  # sub-models; of larger lattices some stand for all


@dataclass(frozen=True)
class Cell:
    """Accuracy in per cent over n seeds. With one seed no spread is known: `sd` is None."""

    mean: float
    sd: float | None
    n: int
    best: bool
    published: float | None = None
    derived: bool = False

    @property
    def text(self) -> str:
        """`41.23 ± 0.35`, or the mean alone."""
        return f"{self.mean:.2f}" if self.sd is None else f"{self.mean:.2f} ± {self.sd:.2f}"

    @property
    def published_text(self) -> str:
        """The published value as printed, `†` if derived, and how far ours lies from it."""
        if self.published is None:
            return "–"
        return f"{self.published:.2f}{'†' if self.derived else ''} ({self.mean - self.published:+.2f})"


@dataclass(frozen=True)
class Comparison:
    """An arm minus its baseline on one row, and the p adjusted over all comparisons of the table."""

    statistics: Paired
    adjusted_p: float | None

    @property
    def difference(self) -> str:
        """`+1.20`."""
        return f"{self.statistics.mean:+.2f}".replace("-0.00", "+0.00")

    @property
    def text(self) -> str:
        """`+1.20 [+0.40, +2.00], p .031 → .124, d 1.90`, or the difference alone."""
        found, text = self.statistics, self.difference
        if found.low is not None and found.high is not None:
            text += f" [{found.low:+.2f}, {found.high:+.2f}]"
        if found.p is not None and self.adjusted_p is not None:
            text += f", p {_p(found.p)} → {_p(self.adjusted_p)}"
        return text if found.effect is None else f"{text}, d {found.effect:.2f}"


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


@dataclass(frozen=True)
class Table:
    """Rows are sub-models (largest first) and the average; columns are arms.

    Attributes:
        title: of one of several tables; else empty.
        comparisons: by row and arm, for arms that have a baseline.
        against: the baseline of each such arm.
        sorted: by arm, the share of nested pairs in order and the mean shortfall of the others, as text.
        milliseconds: by row, if measured.
    """

    title: str
    arms: tuple[str, ...]
    rows: tuple[str, ...]
    macs: Mapping[str, int]
    milliseconds: Mapping[str, float]
    cells: Mapping[tuple[str, str], Cell]
    comparisons: Mapping[tuple[str, str], Comparison]
    against: Mapping[str, str]
    sorted: Mapping[str, str]
    updates: Mapping[tuple[str, str], float]
    totals: Mapping[str, Mapping[str, float]]
    seeds: int
    caption: str
    compares: bool

    @property
    def comparison_caption(self) -> str:
        """What the comparisons are and how they were corrected."""
        baselines = ", ".join(dict.fromkeys(self.against.values()))
        text = f"Differences to the baseline ({baselines}) in percentage points, paired by seed"
        if self.seeds == 1:
            return f"{text}; one seed, so nothing is known of their spread."
        flipped = any(found.statistics.flip_p is not None for found in self.comparisons.values())
        test = "exact sign-flip test" if flipped else "paired t-test"
        return (
            f"{text}, with the 95 % t-interval, the p of the {test} and after Holm's correction over the "
            f"{len(self.comparisons)} comparisons of this table, and Cohen's d for paired samples; n = {self.seeds}. "
            "Where all differences are the same, no spread is known."
        )


def read_published(path: Path, factors: Sequence[str]) -> dict[tuple[str, str], tuple[float, bool]]:
    """Published accuracies by (arm label, sub-model), and whether derived; averages as printed."""
    frame = pd.read_csv(path, dtype=dict.fromkeys(factors, str))
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    for levels, rows in frame.groupby(list(factors), sort=False):
        arm = " · ".join(str(level) for level in levels)
        for row in rows.itertuples():
            found[arm, str(row.sub_model)] = (float(str(row.accuracy)), str(row.source) == "derived")
    return found


def make_table(results: Results, published: Mapping[tuple[str, str], tuple[float, bool]], caption: str) -> Table:
    """The table of final test accuracies of one facet's results."""
    frame = results.frame
    shown = _shown(results.sub_models)
    rows = (*reversed(shown), AVERAGE)
    averages = frame.groupby(["arm", "seed"], as_index=False)["test_acc"].mean().assign(sub_model=AVERAGE)
    values = pd.concat([frame[["arm", "seed", "sub_model", "test_acc"]], averages])
    by_seed = {
        (row, arm): dict(zip(part["seed"].astype(int), part["test_acc"].astype(float), strict=True))
        for (row, arm), part in values.groupby(["sub_model", "arm"])
    }
    cells: dict[tuple[str, str], Cell] = {}
    for row in rows:
        best = inseparable_from_best({arm: by_seed[row, arm] for arm in results.arms})
        for arm in results.arms:
            accuracies = list(by_seed[row, arm].values())
            sd = stdev(accuracies) if len(accuracies) > 1 else None
            printed, derived = published.get((arm, row), (None, False))
            cells[row, arm] = Cell(mean(accuracies), sd, len(accuracies), arm in best, printed, derived)
    found = {
        (row, arm): paired([value - by_seed[row, other][seed] for seed, value in by_seed[row, arm].items()])
        for row in rows
        for arm, other in results.against.items()
    }
    adjusted = holm({key: each.p for key, each in found.items() if each.p is not None})
    costs = frame.groupby("sub_model")["macs"].first()
    first = cells[rows[0], results.arms[0]].n
    return Table(
        title=results.facets[0],
        arms=results.arms,
        rows=rows,
        macs={row: int(costs[row]) for row in shown},
        milliseconds={} if results.latency is None else results.latency.milliseconds,
        cells=cells,
        comparisons={key: Comparison(each, adjusted.get(key)) for key, each in found.items()},
        against=results.against,
        sorted={arm: _sorted(frame[frame["arm"] == arm], results.dimensions) for arm in results.arms},
        updates={
            (row, arm): float(frame[(frame["arm"] == arm) & (frame["sub_model"] == row)]["updates"].mean())
            for arm in results.arms
            for row in shown
        },
        totals={
            arm: {name: float(frame[frame["arm"] == arm][name].mean()) for name, _ in LEDGER_ROWS}
            for arm in results.arms
        },
        seeds=first,
        caption=f"{caption} {_bold_rule(first)}{_left_out(results.sub_models, shown)}",
        compares=any(cell.published is not None for cell in cells.values()),
    )


def _shown(sub_models: tuple[str, ...]) -> tuple[str, ...]:
    if len(sub_models) <= _MOST_ROWS:
        return sub_models
    last = len(sub_models) - 1
    return tuple(sub_models[round(place * last / (_MOST_ROWS - 1))] for place in range(_MOST_ROWS))


def _left_out(sub_models: tuple[str, ...], shown: tuple[str, ...]) -> str:
    if len(shown) == len(sub_models):
        return ""
    return f" {len(shown)} of {len(sub_models)} sub-models are shown, avg. is over all; results.csv has every one."


def _bold_rule(seeds: int) -> str:
    if seeds == 1:
        return "Bold: the highest per sub-model; one seed, so no spread is known and nothing is separated."
    return (
        f"Mean ± SD over n = {seeds} seeds. Bold: the highest mean per sub-model and every arm not separated from it "
        f"by paired t-tests (Holm over the arms, level {LEVEL})."
    )


def _sorted(frame: pd.DataFrame, dimensions: tuple[str, ...]) -> str:
    trials: dict[int, list[tuple[tuple[float, ...], float]]] = {}
    sizes = frame[list(dimensions)].astype(float).to_numpy().tolist()
    for seed, size, accuracy in zip(frame["seed"], sizes, frame["test_acc"].astype(float), strict=True):
        trials.setdefault(seed, []).append((tuple(size), accuracy))
    known = [each for _, trial in sorted(trials.items()) if (each := sortedness(trial)) is not None]
    if not known:
        return "–"
    share, shortfall = (
        sum(values) / len(known) for values in zip(*((k.share, k.shortfall) for k in known), strict=True)
    )
    return f"{100 * share:.0f} % ({shortfall:.2f})"
