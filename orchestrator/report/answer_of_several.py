"""Answers of a study with several rankings: of tables that do not compare, of sub-models over tasks, over budgets.

What they have in common is said once, a line each says the rest. Over budgets it is told who overtakes whom, where the
first place changes; not where any two lines cross, which would be dozens of sentences of three methods.
"""

from collections.abc import Sequence
from itertools import pairwise

from orchestrator.report.ranking import Ranking
from orchestrator.report.tables import AVERAGE
from orchestrator.report.words import ONE_SEED, capital, counted, each, listed
from orchestrator.study.levels import SEPARATOR

_MOST_CHANGES = 3  # of the first place, that are told one by one
_MOST_PLACES = 4
_MOST_TOLD = 3  # rankings, each with its first arm


def headline_of_several(rankings: Sequence[Ranking]) -> str:
    """`SortedNet has the highest average test accuracy in 3 of 4 tables (…), NS in 1 (…). …`

    An arm that alone has a mean is ahead of nobody, so it is counted only where there is nothing else.
    """
    counting = [ranking for ranking in rankings if ranking.others] or [
        ranking for ranking in rankings if ranking.leader
    ]
    places: dict[tuple[str, ...], list[str]] = {}
    for ranking in counting:
        places.setdefault(ranking.first, []).append(ranking.place)
    if not places:
        return "No arm has a mean in any table, so nothing can be compared."
    best, total = f"the {rankings[0].metric.best} {_what(rankings)}", len(counting)
    of = "tables" if rankings[0].row == AVERAGE else "rows"
    if total < len(rankings):
        of += " with several means"
    if len(places) == 1:
        (first,) = places
        where = f"in both {of} ({listed(places[first])})" if total == 2 else f"in all {total} {of}"
        return f"{_has(first)} {best} {where if total > 1 else f'at {places[first][0]}'}. {certainty(rankings)}"
    if total <= _MOST_TOLD:
        said = [f"{listed(ranking.first)} at {ranking.place}, {ranking.printed[0][0]}" for ranking in counting]
        return f"{capital(best.removeprefix('the '))}: {'; '.join(said)}. {certainty(rankings)}"
    (first, most), *others = sorted(places.items(), key=lambda item: -len(item[1]))
    rest = [f"{_alike(arms)} in {len(its)} ({listed(its)})" for arms, its in others]
    named = f"{_has(first)} {best} in {len(most)} of {total} {of} ({listed(most)})"
    return f"{', '.join([named, *rest[:2]])}{' and others in the rest' * (len(rest) > 2)}. {certainty(rankings)}"


def _alike(arms: Sequence[str]) -> str:
    """The arms whose means print alike, one or more."""
    return listed(arms) + " alike" * (len(arms) > 1)


def _has(arms: Sequence[str]) -> str:
    """`NS has`, `NS and US alike have`."""
    return f"{_alike(arms)} {'has' if len(arms) == 1 else 'have'}"


def headline_over(axis: str, rankings: Sequence[Ranking]) -> str:
    """`Highest average test accuracy by budget: NS, overtaken by SortedNet between ½× and 1×. …`

    Args:
        axis: the factor whose levels are in order, one of the parts of every ranking's `where`.
    """
    panels: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for ranking in rankings:
        level = level_on(axis, ranking)
        panel = SEPARATOR.join(part for part in ranking.where if part != f"{axis} {level}")
        if ranking.leader is not None:
            panels.setdefault(panel, []).append((level, ranking.first))
    if not panels:
        return "No arm has a mean in any table, so nothing can be compared."
    told: dict[str, list[str]] = {}
    leaders_change: set[str] = set()
    for panel, leaders in panels.items():
        told.setdefault(course := _course(leaders), []).append(panel)
        if len({first for _, first in leaders}) > 1:
            leaders_change.add(course)
    best = f"{rankings[0].metric.best} {_what(rankings)}"
    if len(told) == 1:
        (course,) = told
        names = [panel for panel in panels if panel]
        if course not in leaders_change:
            where = f" ({listed(names)})" if names else ""
            ((_, first), *_), *_ = panels.values()
            return f"{_has(first)} the {best} at every {axis}{where}. {certainty(rankings)}"
        where = f", {listed(names)}{' alike' * (len(names) > 1)}" if names else ""
        return f"{capital(best)} by {axis}{where}: {course}. {certainty(rankings)}"
    courses = "; ".join(f"{listed(where)}: {course}" for course, where in told.items())
    return f"{capital(best)} by {axis}. {capital(courses)}. {certainty(rankings)}"


def level_on(axis: str, ranking: Ranking) -> str:
    """The level of a factor that a ranking is of, as `where` has it; empty if it is of none."""
    before = f"{axis} "
    return next((part.removeprefix(before) for part in ranking.where if part.startswith(before)), "")


def _course(leaders: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """`NS, overtaken by SortedNet between ½× and 1×`, from who is first at every level; `then` of those alike."""
    (begin, first), (end, last) = leaders[0], leaders[-1]
    changes = [
        f"overtaken by {_alike(after)} between {low} and {high}"
        if set(before).isdisjoint(after)
        else f"then {_alike(after)} at {high}"
        for (low, before), (high, after) in pairwise(leaders)
        if before != after
    ]
    if len(changes) > _MOST_CHANGES:
        return f"{_alike(first)} at {begin}, then the lead changes {len(changes)} times, to {_alike(last)} at {end}"
    return ", ".join([_alike(first), *changes])


def certainty(rankings: Sequence[Ranking]) -> str:
    """In how many of them the first is separated from all others."""
    compared = [ranking for ranking in rankings if ranking.others]
    if not compared:
        return "There is nothing to compare it with."
    seeds = sorted({ranking.seeds for ranking in compared})
    if seeds == [1]:
        return ONE_SEED
    n = counted(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    decided = [ranking.place for ranking in compared if ranking.decided]
    if not decided:
        nothing = all(ranking.undecided for ranking in compared)
        return f"Nothing is separated at {n}." if nothing else f"In none is the first separated from all others ({n})."
    if len(decided) == len(compared):
        each_one = "In each" if len(compared) == len(rankings) else "Wherever several arms have a mean"
        return f"{each_one} the first is separated from all others ({n})."
    where = f" ({listed(decided)})" if len(decided) <= _MOST_PLACES else ""
    return f"Separated from all others in {len(decided)} of {len(compared)}{where}, {n}."


def line_of(ranking: Ranking) -> str:
    """`budget 1× · w050: SortedNet 47.63 %, 0.83 points ahead of NS (not separated)`."""
    if ranking.leader is None:
        return f"{ranking.place}: no arm has a mean"
    text = f"{ranking.place}: {ranking.leader} {ranking.mean(ranking.leader)}"
    if not ranking.others:
        return text
    second = ranking.others[0]
    lead = ranking.lead(second)
    if ranking.alike(second, ranking.leader):
        return f"{ranking.place}: {each(ranking.first, ranking.printed[0][0])}"
    text += f", {ranking.by_points(lead.statistics.mean)} ahead of {second}"
    if ranking.seeds == 1:
        return text
    if ranking.decided:
        return f"{text} (separated from all others, {lead.certainty})"
    level = "" if len(ranking.level) == 1 and second in ranking.level else f" from {listed(ranking.level)}"
    return f"{text} (not separated{level}{', ' * bool(lead.certainty)}{lead.certainty})"


def _what(rankings: Sequence[Ranking]) -> str:
    """What all of them are of; less what differs."""
    named = {ranking.what for ranking in rankings}
    return named.pop() if len(named) == 1 else rankings[0].metric.title
