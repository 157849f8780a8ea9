"""The answer of a study with one ranking of its arms: who is first, how surely, and what stands behind it."""

import math
from collections.abc import Iterator

from orchestrator.report.power import MOST_SEEDS, POWER
from orchestrator.report.ranking import Ranking
from orchestrator.report.tables import Table
from orchestrator.report.words import ONE_SEED, capital, counted, each, listed

_MOST_MEANS = 8  # that are listed one by one
_MOST_COMPARED = 6  # with one baseline, likewise
_FEW = 3  # names that the headline lists


def headline_of_one(ranking: Ranking) -> str:
    """`SortedNet leads: 47.63 % average test accuracy over 4 sub-models, 1.20 points ahead of NS (…, 5 seeds).`"""
    leader = ranking.leader
    if leader is None:
        return f"No arm has a mean, so nothing can be compared: {_without(ranking)}."
    if not ranking.others:
        beside = f" The other arms have no mean: {_without(ranking)}." if ranking.without else ""
        alone = f"{leader}: {ranking.mean(leader)} {ranking.what}, {counted(ranking.seeds, 'seed')}"
        return f"{alone}, and nothing to compare it with.{beside}"
    if ranking.seeds == 1:
        return _of_one_seed(ranking)
    if ranking.decided:
        return _decided(ranking, leader)
    if ranking.behind:
        return _with_company(ranking, leader)
    return _nothing_separated(ranking, leader)


def _of_one_seed(ranking: Ranking) -> str:
    (mean, first), *rest = ranking.printed
    if not rest:
        return f"{ONE_SEED} {capital(_all_alike(ranking))}."
    said = [each(first, mean), f"then {each(rest[0][1], rest[0][0])}"]
    if len(rest) > 1:
        said.append(f"{ranking.metric.worst} {each(rest[-1][1], rest[-1][0])}")
    return f"{ONE_SEED} {ranking.metric.best.capitalize()} {ranking.what}: {'; '.join(said)}."


def _decided(ranking: Ranking, leader: str) -> str:
    second, others = ranking.others[0], len(ranking.others)
    lead = ranking.lead(second)
    ahead = f"{ranking.by_points(lead.statistics.mean)} ahead of {second}"
    if others > 1:
        ahead += f", the next of {others}"
    sure = ", ".join(filter(None, [lead.certainty, counted(ranking.seeds, "seed")]))
    return f"{leader} leads: {ranking.mean(leader)} {ranking.what}, {ahead} ({sure})."


def _with_company(ranking: Ranking, leader: str) -> str:
    behind = ranking.behind
    rest = listed(behind) if len(behind) <= _FEW else f"The other {len(behind)}"
    verb = "is" if len(behind) == 1 else "are"
    return (
        f"{leader} has the {ranking.metric.best} {ranking.what}, {ranking.mean(leader)}, but is not separated from "
        f"{listed(ranking.level)} at {counted(ranking.seeds, 'seed')}: {_nearest(ranking)}. {rest} {verb} separated "
        "from it."
    )


def _nothing_separated(ranking: Ranking, leader: str) -> str:
    n, best = counted(ranking.seeds, "seed"), f"the {ranking.metric.best} {ranking.what}, {ranking.mean(leader)}"
    two = len(ranking.others) == 1
    last = ranking.others[-1]
    if two:
        nothing = f"{leader} and {last} are not separated at {n}"
    elif ranking.undecided:
        nothing = f"Nothing separates the {len(ranking.cells)} arms at {n}"
    else:  # arms further behind are, from each other
        nothing = f"No arm is separated from the {ranking.metric.best} mean at {n}"
    if ranking.alike(leader, last):
        return f"{nothing}: {_all_alike(ranking)}."
    if two:
        return f"{nothing}: {leader} has {best}; {_nearest(ranking)}.{_more_seeds(ranking, last)}"
    named = f"the first of them, {found[0]}," if (found := ranking.fewest_seeds) else last
    lowest = f"{last} the {ranking.metric.worst}, {ranking.mean(last)}"
    return f"{nothing}: {leader} has {best}, {lowest}.{_more_seeds(ranking, named)}"


def _all_alike(ranking: Ranking) -> str:
    """Of arms whose means all print as one."""
    (mean, arms), *_ = ranking.printed
    whose = listed(arms) if len(arms) <= _FEW else f"all {len(arms)} arms"
    return f"the {ranking.what} of {whose} prints alike, {mean}"


def _nearest(ranking: Ranking) -> str:
    """`NS is 0.83 points behind (unadjusted 95 % interval −0.30 to +1.90, adjusted p .410)`."""
    second = ranking.level[0]
    if ranking.alike(second, str(ranking.leader)):
        return f"the mean of {second} prints alike"
    lead = ranking.lead(second)
    sure = f" ({lead.certainty})" if lead.certainty else ""
    return f"{second} is {ranking.by_points(lead.statistics.mean)} behind{sure}"


def _more_seeds(ranking: Ranking, whom: str) -> str:
    """About how many seeds would separate somebody; empty where that is not known."""
    if (found := ranking.fewest_seeds) is None:
        return ""
    estimate, chance = "By a rough estimate", f"with {100 * POWER:.0f} % power"
    if math.isinf(found[1]):
        whom = f"any of them from {ranking.leader}" if ranking.others[1:] else f"{whom} from {ranking.leader}"
        return f" {estimate} not even {MOST_SEEDS:,} seeds would separate {whom} {chance}."
    return f" {estimate} {found[1]:,.0f} seeds would separate {whom} from {ranking.leader} {chance}."


def _without(ranking: Ranking) -> str:
    return listed([f"{arm} ({why})" for arm, why in ranking.without.items()])


def lines_of_arms(ranking: Ranking) -> Iterator[str]:
    """Who is where, who is separated from the first, and the arms beside their baselines."""
    arms = list(ranking.cells)
    if len(arms) < 3:
        return
    shown = arms if len(arms) <= _MOST_MEANS else arms[: _MOST_MEANS - 1]
    means = [f"{arm} {ranking.cells[arm].text}" for arm in shown]
    if len(arms) > len(shown):
        means.append(f"… {arms[-1]} {ranking.cells[arms[-1]].text}")
    unit = f" ({ranking.metric.unit})" if ranking.metric.unit else ""
    yield f"In order of their means{unit}: {', '.join(means)}."
    if ranking.seeds > 1 and ranking.behind:
        if len(ranking.level) > _FEW:
            yield f"Not separated from {ranking.leader}: {', '.join(ranking.level)}."
        if ranking.level and len(ranking.behind) > _FEW:
            yield f"Separated from {ranking.leader}: {', '.join(ranking.behind)}."
    pairs = [(arm, other) for arm, other in ranking.against.items() if {arm, other} <= ranking.cells.keys()]
    for baseline in dict.fromkeys(other for _, other in pairs):
        compared = [arm for arm, other in pairs if other == baseline]
        if len(compared) <= _MOST_COMPARED:
            yield f"Beside {baseline}: {'; '.join(_beside(ranking, arm, baseline) for arm in compared)}."
        elif ranking.seeds > 1:
            yield _many_beside(ranking, compared, baseline)


def _beside(ranking: Ranking, arm: str, baseline: str) -> str:
    """`SortedNet is 1.20 points better (unadjusted 95 % interval …, adjusted p .031: separated)`."""
    if ranking.alike(arm, baseline):
        return f"{arm} prints alike"
    gain = ranking.lead(baseline, of=arm)
    way = "better" if gain.statistics.mean >= 0 else "worse"
    text = f"{arm} is {ranking.by_points(gain.statistics.mean)} {way}"
    if ranking.seeds == 1:
        return text
    state = "separated" if gain.separated else "not separated"
    return f"{text} ({': '.join(filter(None, [gain.certainty, state]))})"


def _many_beside(ranking: Ranking, arms: list[str], baseline: str) -> str:
    gains = {arm: ranking.lead(baseline, of=arm) for arm in arms}
    better = [arm for arm, gain in gains.items() if gain.separated and gain.statistics.mean > 0]
    worse = [arm for arm, gain in gains.items() if gain.separated and gain.statistics.mean < 0]
    found = [f"{way}: {', '.join(names)}" for way, names in (("better", better), ("worse", worse)) if names]
    if not found:
        return f"None of {len(arms)} arms is separated from {baseline}."
    left = len(arms) - len(better) - len(worse)
    rest = f" Not separated: {left} of {len(arms)}." if left else ""
    return f"Separated from {baseline}, {'; '.join(found)}.{rest}"


def first_by_sub_model(table: Table) -> Iterator[str]:
    """Who has the best mean at which of the sub-models that a table shows, where it has several and several arms."""
    first: dict[str, list[str]] = {}
    for row in table.rows[:-1]:
        means = {arm: cell for arm in table.arms if (cell := table.cells.get((row, arm))) and math.isfinite(cell.mean)}
        if len(means) > 1:
            top = table.metric.text(means[table.family.highest[row]].mean)
            alike = [arm for arm, cell in means.items() if table.metric.text(cell.mean) == top]
            first.setdefault(listed(alike) + " alike" * (len(alike) > 1), []).append(row)
    if len(table.rows) < 3 or not first:
        return
    said = [f"{arm} at {listed(rows, most=4)}" for arm, rows in first.items()]
    everywhere = f"{next(iter(first))} at every one" if len(first) == 1 else "; ".join(said)
    separated = sum(len(table.family.best[row]) == 1 for rows in first.values() for row in rows)
    rows_shown = sum(map(len, first.values()))
    sure = f" (separated from all others at {separated} of {rows_shown})" if table.seeds > 1 else ""
    yield f"{table.metric.best.capitalize()} mean by sub-model: {everywhere}{sure}."
