"""The command that compares two arms, or two levels over all else, seed by seed and from the tracker alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from orchestrator.commands.console import plain_console
from orchestrator.commands.level_choices import chosen_levels
from orchestrator.commands.options import Options
from orchestrator.commands.tracking import experiment_id, find_tracker
from orchestrator.declaration import Metric
from orchestrator.errors import UserError
from orchestrator.numerals import decimal, interval
from orchestrator.secrecy.redaction import shown_address
from orchestrator.study.levels import SEPARATOR
from orchestrator.study.plan import Plan
from orchestrator.study.study import Arm, Study

if TYPE_CHECKING:
    from orchestrator.report.comparisons import Comparison, Family
    from orchestrator.report.results import Results
    from orchestrator.track.tracker import Tracker

Levels = tuple[tuple[str, str], ...]
Sides = tuple[Levels, Levels]
_A, _B, _AVERAGE, _OVER_ALL = "A", "B", "avg.", "over all of these"
Values = dict[str, dict[int, float]]  # by side and seed


@dataclass(frozen=True)
class _Row:
    """One line of the comparison: where (the levels that both sides share), and of what."""

    where: str
    what: str

    @property
    def key(self) -> str:
        return f"{self.where}\0{self.what}"


def parse_sides(study: Study, first: str, second: str) -> Sides:
    """The levels of A and of B.

    Raises:
        UserError: no such levels; not one level each of the same factors; sides that do not differ, or in a factor
            whose levels do not compare.
    """
    sides = (
        tuple(chosen_levels("compare", first, study.factors)),
        tuple(chosen_levels("compare", second, study.factors)),
    )
    for text, side in zip((first, second), sides, strict=True):
        if len({factor for factor, _ in side}) < len(side):
            raise UserError(f"compare {text[:80]}: give one level of a factor")
    one, other = dict(sides[0]), dict(sides[1])
    if lacking := sorted(one.keys() ^ other.keys()):
        raise UserError(f"compare: only one side says which {lacking[0]}: name the same factors on both")
    if one == other:
        raise UserError(f"compare: both sides are {first[:80]}: give two that differ")
    for factor in study.splits:
        if factor in one and one[factor] != other[factor]:
            raise UserError(
                f"compare: levels of {factor} do not compare in this study, which shows each in a table of its own; "
                f"give the same {factor} on both sides"
            )
    return sides


def compare_arms(first: Plan, second: Plan, sides: Sides, options: Options) -> int:
    """Prints B minus A on the seeds that both have, per sub-model and on average, with what it would take to separate.

    Args:
        first, second: the plans of A's arms and of B's.

    Raises:
        UserError: nothing to compare.
    """
    tracker = find_tracker(options)
    experiment = experiment_id(first, tracker)
    if tracker is None or experiment is None:
        raise UserError(
            f"compare: nothing of {first.study.name} is in {shown_address(options.tracking_uri)}: run the study first"
        )
    found, notes = dict[_Row, Values](), list[str]()
    pairs = _pairs(first, second, sides)
    for where, plan in pairs:
        try:
            found |= _measured(tracker, experiment, plan, where)
        except UserError as error:
            if len(pairs) == 1:
                raise
            notes.append(f"{where}: {error}")
    if not found:
        raise UserError(f"compare: nothing can be compared: {notes[0]}")
    from orchestrator.report.comparisons import compare
    from orchestrator.report.sequential import not_fixed, recorded_looks

    metric = first.declaration.primary
    rows, seeds = _on_common_seeds(found, first.study)
    if not seeds:
        raise UserError("compare: no seed is common to all that would be compared: choose levels by which less is")
    family = compare({row.key: values for row, values in rows.items()}, metric.decimals, metric.higher_is_better)
    remark = not_fixed(recorded_looks(tracker, experiment, first.base_key))
    if options.as_json:
        print(json.dumps({**_as_json(first, sides, rows, family, seeds, notes), "remark": remark}))
        return 0
    _show(first, sides, rows, family, seeds, [*filter(None, [remark]), *notes])
    return 0


def _pairs(first: Plan, second: Plan, sides: Sides) -> list[tuple[str, Plan]]:
    """The plans of two arms each, A's first, that are alike but for the sides; with what they share."""
    named = {factor for factor, _ in sides[0]}

    def rest(arm: Arm) -> Levels:
        return tuple((factor, level) for factor, level in arm.levels if factor not in named)

    others = {rest(arm): arm for arm in second.arms}
    pairs = []
    for arm in first.arms:
        if (other := others.get(rest(arm))) is not None:
            whose = {arm.label, other.label}
            trials = [trial for trial in (*first.trials, *second.trials) if trial.arm.label in whose]
            where = SEPARATOR.join(level for _, level in rest(arm))
            pairs.append((where, replace(first, arms=(arm, other), trials=tuple(trials))))
    return pairs


def _measured(tracker: "Tracker", experiment: str, plan: Plan, where: str) -> dict[_Row, Values]:
    """What two arms measured, by sub-model and on the average over those that both have.

    Raises:
        UserError: one has not finished or has diverged, or they share no seed.
    """
    from orchestrator.report.reading import read_results

    results = read_results(tracker, experiment, plan)
    names = {side: plan.compared(dict(arm.levels)) for side, arm in zip((_A, _B), plan.arms, strict=True)}
    for side, arm in zip((_A, _B), plan.arms, strict=True):
        if names[side] not in results.arms:
            raise UserError(f"{arm.label} has not finished yet: run it first")
        if lost := [str(each.seed) for each in results.diverged if each.arm == names[side]]:
            raise UserError(f"{arm.label} diverged with seed {', '.join(lost)}, so it has no mean and is in no test")
    if not results.shared:
        raise UserError(f"{plan.arms[0].label} and {plan.arms[1].label} have no sub-model in common")
    return dict(_rows(results, names, where))


def _rows(results: "Results", names: Mapping[str, str], where: str) -> Iterator[tuple[_Row, Values]]:
    """Largest sub-model first, of very many some; the average over all of them last."""
    from orchestrator.report.tables import some_of

    frame, metric = results.frame, results.metric.name

    def values(wanted: Sequence[str]) -> Values:
        some = frame[frame["sub_model"].isin(wanted)]
        means = some.groupby(["arm", "seed"])[metric].mean()
        return {side: {int(seed): float(value) for seed, value in means[name].items()} for side, name in names.items()}

    for label in reversed(some_of(results.shared)):
        yield _Row(where, label), values([label])
    yield _Row(where, _AVERAGE), values(results.shared)


def _on_common_seeds(found: Mapping[_Row, Values], study: Study) -> tuple[dict[_Row, Values], list[int]]:
    """All rows on the seeds that all of them have; and, over several pairs of arms, their average as a row more."""
    common = sorted(set.intersection(*(set(seeds) for values in found.values() for seeds in values.values())))
    rows = {
        row: {side: {seed: seeds[seed] for seed in common} for side, seeds in values.items()}
        for row, values in found.items()
    }
    averages = [values for row, values in rows.items() if row.what == _AVERAGE]
    if len(averages) > 1 and not study.splits:
        rows[_Row(_OVER_ALL, _AVERAGE)] = {
            side: {seed: sum(values[side][seed] for values in averages) / len(averages) for seed in common}
            for side in (_A, _B)
        }
    return rows, common


def _show(
    plan: Plan,
    sides: Sides,
    rows: Mapping[_Row, Values],
    family: "Family",
    seeds: Sequence[int],
    notes: Sequence[str],
) -> None:
    console, metric = plain_console(), plan.declaration.primary
    names = [SEPARATOR.join(level for _, level in side) for side in sides]
    console.print(f"{metric.heading}: A is {names[0]}, B is {names[1]}. Seeds: {', '.join(map(str, seeds))}.")
    for where in dict.fromkeys(row.where for row in rows):
        table = Table(title=where or None, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in ("", "A", "B", "B − A", "95 % interval", "p", "adj. p", "d", "seeds"):
            table.add_column(column, justify="left" if not column else "right", no_wrap=True)
        for row, values in rows.items():
            if row.where == where:
                table.add_row(row.what, *_cells(values, family.between(row.key, _B, _A), metric))
        console.print(table)
    averages = [row for row in rows if row.what == _AVERAGE]
    for row in averages[-1:] if averages[-1].where == _OVER_ALL else averages:
        console.print(_in_words(family.between(row.key, _B, _A), names, row, _printed_means(rows[row], metric), metric))
    for line in (*_explained(family, metric), *notes):
        console.print(line)


def _cells(values: Values, found: "Comparison", metric: Metric) -> list[str]:
    from orchestrator.report.comparisons import p_text

    statistics = found.statistics
    means = _printed_means(values, metric)
    low, high = statistics.low, statistics.high
    return [
        *means,
        found.difference,
        "–" if low is None or high is None else interval(low, high, metric.decimals),
        "–" if statistics.p is None else p_text(statistics.p),
        "–" if statistics.p is None else p_text(found.adjusted_p),
        "–" if statistics.effect is None else decimal(statistics.effect, 2),
        found.needed.removesuffix(" seeds"),
    ]


def _printed_means(values: Values, metric: Metric) -> list[str]:
    """Of A and of B."""
    from orchestrator.report.statistics import mean_and_sd

    return [metric.text(mean_and_sd(list(values[side].values()))[0]) for side in (_A, _B)]


def _in_words(found: "Comparison", names: Sequence[str], row: _Row, means: Sequence[str], metric: Metric) -> str:
    """`On avg. SortedNet · instance came out 3.10 percentage points better than NS · instance (n = 3): …`"""
    from orchestrator.report.comparisons import p_text
    from orchestrator.report.power import POWER

    where = f"On {row.what}" + (f" ({row.where})" if row.where else "")
    n = found.statistics.n
    gain = metric.gain(found.statistics.mean)
    size = f"{metric.text(abs(gain))} {metric.points}".rstrip()
    if means[0] == means[1]:
        text = f"{where} {names[1]} and {names[0]} print alike (n = {n})"
    else:
        text = f"{where} {names[1]} came out {size} {'better' if gain > 0 else 'worse'} than {names[0]} (n = {n})"
    if n == 1:
        return f"{text}: one seed, so nothing is known of the spread. Add --seeds to the run."
    if found.separated:
        return f"{text}: separated, adjusted p {p_text(found.adjusted_p)}."
    chance = f"with {100 * POWER:.0f} % power if these show the true difference"
    needed = f"; {found.needed} would separate them {chance}" if found.needed else ""
    return f"{text}: not separated{needed}."


def _explained(family: "Family", metric: Metric) -> Iterator[str]:
    """What the columns are."""
    if family.seeds < 2:
        return
    better = "" if metric.higher_is_better else " Lower is better, so below zero B is better."
    points = f" in {metric.points}" if metric.points else ""
    yield (
        f"B − A{points}, paired by seed, with the 95 % t-interval (not adjusted); p: {family.test}, adj. p: after "
        f"Holm's correction over {_rows_shown(len(family))} shown here and no other comparison; d: Cohen's, paired; "
        f"seeds: how many would separate the two with 80 % power.{better}"
    )


def _rows_shown(count: int) -> str:
    return "the row" if count == 1 else f"the {count} rows"


def _as_json(
    plan: Plan,
    sides: Sides,
    rows: Mapping[_Row, Values],
    family: "Family",
    seeds: Sequence[int],
    notes: Sequence[str],
) -> dict[str, Any]:
    def row(each: _Row, values: Values) -> dict[str, Any]:
        found = family.between(each.key, _B, _A)
        statistics = found.statistics
        needed = found.seeds if found.seeds is not None and found.seeds != float("inf") else None
        return {
            "where": each.where,
            "sub_model": each.what,
            "a": list(values[_A].values()),
            "b": list(values[_B].values()),
            "difference": statistics.mean,
            "low": statistics.low,
            "high": statistics.high,
            "p": statistics.p,
            "adjusted_p": None if statistics.p is None else found.adjusted_p,
            "effect": statistics.effect,
            "n": statistics.n,
            "separated": found.separated,
            "seeds_to_separate": needed,
        }

    return {
        "study": plan.study.name,
        "preset": plan.preset,
        "a": dict(sides[0]),
        "b": dict(sides[1]),
        "metric": plan.declaration.primary.name,
        "seeds": list(seeds),
        "test": family.test,
        "rows": [row(each, values) for each, values in rows.items()],
        "left_out": list(notes),
    }
