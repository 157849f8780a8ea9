"""What a study has found, in words: one or two sentences first, then a line for everything that a reader asks next.

Every sentence is made from the tables and is no stronger than they are. An arm *leads* where its table separates it
from all others; else it *has the highest* mean, and what it is not separated from stands beside it. One seed shows an
order of means and nothing else.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.report.across import TaskTable
from orchestrator.report.answer_of_one import first_by_sub_model, headline_of_one, lines_of_arms
from orchestrator.report.answer_of_several import headline_of_several, headline_over, level_on, line_of
from orchestrator.report.comparisons import p_text
from orchestrator.report.more_seeds import seeds_option
from orchestrator.report.power import POWER
from orchestrator.report.ranking import Ranking
from orchestrator.report.results import Results
from orchestrator.report.sequential import Verdict
from orchestrator.report.tables import AVERAGE, Table
from orchestrator.report.words import counted, listed, percentage

_MOST_LINES = 24  # of rankings
_MOST_NAMED = 5  # arms or trials
_ENOUGH_FOR_A_SPREAD = 3  # seeds


@dataclass(frozen=True)
class Answer:
    """A study's finding.

    Attributes:
        headline: one or two sentences, without a line break.
        details: a line each.
    """

    headline: str
    details: tuple[str, ...] = ()


def make_answer(
    results: Results,
    tables: Sequence[Table],
    task_tables: Sequence[TaskTable] = (),
    axis: str | None = None,
    verdicts: Sequence[Verdict] = (),
) -> Answer:
    """The answer of a report.

    Args:
        tables: one per facet of the results.
        axis: the factor whose levels are budgets, along which tables are placed.
        verdicts: of the sequential test, where seeds were added until arms were separated. It alone holds then, so
            nothing is said of separation but by it.
    """
    rankings = _rankings(results, tables, task_tables)
    headline, details = _by_test(results, tables, rankings, axis, verdicts)
    whole = [*details, *_diverged(results), *_incomplete(results)]
    so_far = "So far: " if results.unfinished or results.failures else ""
    return Answer(f"{so_far}{headline}", tuple(whole))


def _rankings(results: Results, tables: Sequence[Table], task_tables: Sequence[TaskTable]) -> list[Ranking]:
    """Of the tables over tasks; where nothing has every task yet, of the tables of one."""
    over_tasks = [
        Ranking.of_tasks(table, row)
        for table in task_tables
        for row in table.rows
        if any((row, arm) in table.cells for arm in table.arms)
    ]
    return over_tasks or [Ranking.of_average(table, results.of(table.title).shared) for table in tables]


def _by_test(
    results: Results,
    tables: Sequence[Table],
    rankings: Sequence[Ranking],
    axis: str | None,
    verdicts: Sequence[Verdict],
) -> tuple[str, list[str]]:
    """Headline and details."""
    first, several = rankings[0], len(rankings) > 1
    if verdicts:
        return _of_verdicts(verdicts, first), []
    if not several and len(results.arms) == 1 and first.row == AVERAGE and first.leader is not None:
        return _of_one_arm(results, tables[0], first)
    if not several:
        by_sub_model = first_by_sub_model(tables[0]) if first.row == AVERAGE else ()
        return headline_of_one(first), [*lines_of_arms(first), *by_sub_model, *_seeds(results, rankings)]
    lines = [line_of(ranking) for ranking in rankings[:_MOST_LINES]]
    if len(rankings) > _MOST_LINES:
        lines.append(f"{len(rankings) - _MOST_LINES} more are in the tables.")
    lines += _seeds(results, rankings)
    along = axis is not None and len({level_on(axis, ranking) for ranking in rankings}) > 1
    return headline_over(axis, rankings) if along and axis else headline_of_several(rankings), lines


def _of_verdicts(verdicts: Sequence[Verdict], ranking: Ranking) -> str:
    """`2 of 3 comparisons are decided after 8 seeds: …`; the report's own list has them all."""

    def ahead(verdict: Verdict) -> str:
        gain = ranking.metric.gain(verdict.difference)
        better, worse = (verdict.arm, verdict.against) if gain > 0 else (verdict.against, verdict.arm)
        where = f" ({verdict.table})" if verdict.table else ""
        return f"{better} is {ranking.by_points(gain)} ahead of {worse}{where}, p {p_text(verdict.p)}"

    separated = [ahead(verdict) for verdict in verdicts if verdict.separated]
    after = f"After {counted(max(verdict.seeds for verdict in verdicts), 'seed')}"
    if len(verdicts) == 1:
        (only,) = verdicts
        if separated:
            return f"{after} {only.arm} and {only.against} are separated: {separated[0]}."
        why = ", since a seed diverged" if only.diverged else ""
        return f"{after} {only.arm} and {only.against} are not {'compared' if why else 'separated'}{why}."
    if not separated:
        return f"{after} none of {len(verdicts)} comparisons is separated."
    verb = "is" if len(separated) == 1 else "are"
    return f"{after} {len(separated)} of {len(verdicts)} comparisons {verb} separated: {listed(separated)}."


def _of_one_arm(results: Results, table: Table, ranking: Ranking) -> tuple[str, list[str]]:
    """Of one network and its sub-models."""
    (arm,), metric, seeds = ranking.cells, results.metric, counted(table.seeds, "seed")
    means = results.with_means.groupby("sub_model")[metric.name].mean()
    ordered = [(label, float(means[label])) for label in results.sub_models]
    (smallest, low), (largest, high) = ordered[0], ordered[-1]
    if len(ordered) == 1:
        return f"{arm}: {metric.with_unit(high)} {metric.title}, {seeds}, and nothing to compare it with.", []
    best, value = max(ordered, key=lambda each: (metric.gain(each[1]), each[0] == largest))
    headline = (
        f"{arm}: {len(ordered)} sub-models, {metric.with_unit(high)} {metric.title} at the largest ({largest}), "
        f"{metric.with_unit(low)} at the smallest ({smallest}), {seeds}."
    )
    if best != largest:
        headline += f" The {metric.best} is {best}, {metric.with_unit(value)}."
    details = [f"On average over all: {table.cells[AVERAGE, arm].text} {metric.unit}".rstrip() + "."]
    if arm in table.sortedness:
        found = table.sortedness[arm]
        short = f"; where it is not, it is {ranking.by_points(found.shortfall)} short" if found.share < 1 else ""
        details.append(
            f"Of every two of which one is nested in the other the larger is at least as good in "
            f"{percentage(found.share)}{short}."
        )
    return headline, details


def _seeds(results: Results, rankings: Sequence[Ranking]) -> Iterator[str]:
    """What would show more, by which option."""
    seen = sorted(int(seed) for seed in results.frame["seed"].unique())
    compared = [ranking for ranking in rankings if ranking.others]
    if not compared:
        return
    if all(ranking.seeds == 1 for ranking in compared):
        option = seeds_option(seen, max(_ENOUGH_FOR_A_SPREAD, len(seen)))
        yield f"The same command with {option} trains the seeds that show a spread; what is finished is not run again."
        return
    if len(rankings) > 1:
        if not all(ranking.decided for ranking in compared):
            yield "The command plan says how many more seeds would separate what is not."
        return
    (ranking,) = compared
    needed = {arm: seeds for arm in ranking.level if (seeds := ranking.lead(arm).seeds) is not None}
    finite = {arm: int(seeds) for arm, seeds in needed.items() if math.isfinite(seeds)}
    if finite:
        said = [f"{arm} {seeds:,}" for arm, seeds in sorted(finite.items(), key=lambda each: each[1])]
        option = seeds_option(seen, min(finite.values()))
        yield (
            f"Seeds that would separate arms from {ranking.leader} with {100 * POWER:.0f} % power, a rough estimate "
            f"from these few: {listed(said, most=_MOST_NAMED)}. The same command with {option} trains those that are "
            "missing."
        )


def _diverged(results: Results) -> Iterator[str]:
    """How many trials of which arms have no mean."""
    if not results.diverged:
        return
    arms = list(dict.fromkeys((each.facet, each.arm) for each in results.diverged))
    named = [" · ".join(filter(None, pair)) for pair in arms]
    seeds = counted(len(results.diverged), "trial")
    yield f"{seeds} diverged, so {listed(named, most=_MOST_NAMED)} {'has' if len(arms) == 1 else 'have'} no mean."


def _incomplete(results: Results) -> Iterator[str]:
    """What is missing from the tables."""
    parts = []
    if results.unfinished:
        parts.append(
            f"{counted(results.unfinished, 'trial')} {'is' if results.unfinished == 1 else 'are'} not finished"
        )
    if results.failures:
        parts.append(f"{counted(len(results.failures), 'trial')} failed")
    if results.unpaired:
        names = listed(results.unpaired, most=_MOST_NAMED)
        parts.append(f"left out, since another arm lacks the seed: {names}")
    if parts:
        yield f"Incomplete: {'; '.join(parts)}."
