"""The table that a report over several tasks begins with: arms × sub-models as rows, tasks and average as columns.

It has the form of Table 2 of the SortedNet paper. What can be compared over tasks is the average, seed by seed: the
mean over tasks of one seed is one number, and arms are tested by its spread over seeds. The spread over tasks says how
unlike tasks are, and nothing of arms; the paper's ± on its averages is that one, so both are shown by their names.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from orchestrator.declaration import Metric
from orchestrator.report.comparisons import (
    Comparison,
    Family,
    bold_rule,
    compare,
    differences_caption,
    seeds_caption,
)
from orchestrator.report.divergence import divergence_rule
from orchestrator.report.epochs import TrialUpdates, update_notation
from orchestrator.report.results import Results
from orchestrator.report.statistics import mean_and_sd
from orchestrator.report.tables import APART, AVERAGE, Cell, flops_rule, some_of

SPREAD = "SD over tasks"
Line = tuple[str, str]
"""A row of the table: a sub-model and an arm."""
Values = dict[Line, dict[str, dict[int, float]]]
"""Final values by line, task and seed."""


@dataclass(frozen=True)
class TaskTable:
    """Rows are arms × sub-models (largest first); columns are tasks and their average.

    Attributes:
        title: `by task`, after the facet if there are several such tables.
        metric: what it is of.
        headings: of every task of the study by its level, whether anything of it is finished or not.
        arms, rows: arms, and sub-models. Not every arm has every sub-model.
        macs: of one example, by sub-model and arm, which are the table's rows; None where tasks differ.
        flops: likewise; empty where they are not counted.
        updates: by arm, as `update_notation` gives them; empty where unknown. `counted` says of what.
        task_cells: by sub-model, arm and task; none where nothing is finished.
        cells: the averages, by sub-model and arm; none where a task is missing. One diverged if a task's trial did.
        spreads: SD over the tasks' means, by sub-model and arm of an average; None of one task and without a mean.
        comparisons: of averages, for arms that have a baseline, by sub-model and arm.
        behind: the arm's average minus the best one of the sub-model; none for the best.
        against: the baseline of each such arm.
        family: what decides bold and the comparisons.
    """

    title: str
    metric: Metric
    headings: Mapping[str, str]
    arms: tuple[str, ...]
    rows: tuple[str, ...]
    macs: Mapping[Line, int | None]
    flops: Mapping[Line, int | None]
    counted: str
    updates: Mapping[str, str]
    task_cells: Mapping[tuple[str, str, str], Cell]
    cells: Mapping[Line, Cell]
    spreads: Mapping[Line, float | None]
    comparisons: Mapping[Line, Comparison]
    behind: Mapping[Line, Comparison]
    against: Mapping[str, str]
    caption: str
    family: Family

    @property
    def lines(self) -> list[Line]:
        """The table's rows, as sub-model and arm, an arm's together."""
        return [(row, arm) for arm in self.arms for row in self.rows if (row, arm) in self.macs]

    @property
    def columns(self) -> tuple[str, ...]:
        """The headings of the tasks and of their average."""
        return (*self.headings.values(), AVERAGE)

    def row_cells(self, row: str, arm: str) -> list[Cell | None]:
        """The cells of the tasks and of their average; None for what is not there."""
        return [*(self.task_cells.get((row, arm, task)) for task in self.headings), self.cells.get((row, arm))]

    @property
    def compares(self) -> bool:
        """Whether anything published stands beside it."""
        return any(cell.published is not None for cell in (*self.task_cells.values(), *self.cells.values()))

    @property
    def comparison_caption(self) -> str:
        """What the comparisons are and how they were corrected."""
        return f"Of {AVERAGE} over tasks. {differences_caption(self.family, self.against, self.metric)}"

    @property
    def seeds_caption(self) -> str:
        """How the numbers of seeds were estimated; empty where none is shown."""
        return seeds_caption(self.family, (*self.comparisons.values(), *self.behind.values()))

    @property
    def crowded(self) -> bool:
        """Whether a sub-model has an arm that is not separated from the best, which the differences do not show."""
        return self.family.crowded(self.against)


def make_task_table(
    results: Results,
    title: str,
    factor: str,
    headings: Mapping[str, str],
    published: Mapping[tuple[str, str, str], tuple[float, bool]],
    caption: str,
) -> TaskTable:
    """The table of the primary metric's final values over tasks.

    Args:
        results: of facets that differ in the task alone.
        factor: its levels are the tasks.
        headings: of every task that an average needs, in the order of the columns.
        published: by sub-model, arm and task, or `avg.` for the average; and whether it is derived.
    """
    metric, shown = results.metric, some_of(results.sub_models)
    values = _by_task(results, factor, shown)
    whole = _whole(values, headings)
    averages = _averages(whole)
    lost = _diverged_seeds(results, factor)
    over = {seed for by_arm in averages.values() for means in by_arm.values() for seed in means}
    lost_averages = _diverged_averages(lost, over)
    with_means = {
        row: {arm: means for arm, means in by_arm.items() if arm not in lost_averages}
        for row, by_arm in averages.items()
    }
    family = compare(with_means, metric.decimals, metric.higher_is_better)
    task_cells = {
        (row, arm, task): Cell.of(
            by_seed.values(),
            metric,
            published=published.get((row, arm, task)),
            diverged=len(lost.get((arm, task), ())),
        )
        for (row, arm), by_task in values.items()
        for task, by_seed in by_task.items()
    }
    seeds = {task: cell.n for (_, _, task), cell in task_cells.items()}  # every arm of a task has as many
    spreads = {(row, arm): None if arm in lost_averages else _spread(whole[row, arm]) for row, arm in whole}
    against = {arm: other for arm, other in results.against.items() if not lost_averages.keys() & {arm, other}}
    macs, flops = _costs(results, values, "macs"), _costs(results, values, "flops")
    unsteady = {arm for arm, _ in lost}
    updates = {arm: "" if arm in unsteady else _updates(results, factor, arm) for arm in results.arms}
    remarks = [
        divergence_rule(results.diverged, results.seeds),
        _over_seeds(seeds, headings),
        _average_rule(len(over), seeds, len(headings)),
        "" if set(spreads.values()) <= {None} else _spread_rule(len(over)),
        f"Only {AVERAGE} is tested and marked. {bold} {APART}" if (bold := bold_rule(family, metric)) else "",
        _lacking(values, headings),
        "MACs, of one example, are given where every task has the same." if None in macs.values() else "",
        flops_rule(results),
        _update_rule(results.declaration.counted) if any(updates.values()) else "",
        "" if shown == results.sub_models else f"{len(shown)} of {len(results.sub_models)} sub-models are shown.",
    ]
    return TaskTable(
        title=title,
        metric=metric,
        headings=headings,
        arms=results.arms,
        rows=shown[::-1],
        macs=macs,
        flops=flops,
        counted=results.declaration.counted,
        updates=updates,
        task_cells=task_cells,
        cells={
            (row, arm): Cell.of(
                means.values(),
                metric,
                arm in family.best[row],
                published.get((row, arm, AVERAGE)),
                lost_averages.get(arm, 0),
            )
            for row, by_arm in averages.items()
            for arm, means in by_arm.items()
        },
        spreads=spreads,
        comparisons=family.differences(against),
        behind=family.behind,
        against=against,
        caption=" ".join(filter(None, [caption, *remarks])),
        family=family,
    )


def _by_task(results: Results, factor: str, shown: Collection[str]) -> Values:
    frame = results.frame.assign(task=results.levels_of(factor))
    frame = frame[frame["sub_model"].isin(shown)]
    values: Values = {}
    columns = (frame[name] for name in ("sub_model", "arm", "task", "seed", results.metric.name))
    for row, arm, task, seed, value in zip(*columns, strict=True):
        values.setdefault((row, arm), {}).setdefault(task, {})[int(seed)] = float(value)
    return values


def _diverged_seeds(results: Results, factor: str) -> dict[tuple[str, str], set[int]]:
    """The seeds that diverged, by arm and task."""
    tasks = dict(zip(results.frame["facet"], results.levels_of(factor), strict=True))
    found: dict[tuple[str, str], set[int]] = {}
    for each in results.diverged:
        found.setdefault((each.arm, tasks[each.facet]), set()).add(each.seed)
    return found


def _diverged_averages(lost: Mapping[tuple[str, str], set[int]], over: Collection[int]) -> dict[str, int]:
    """Of how many of these seeds an arm's average is none, since a task's diverged; of arms that have such a seed."""
    seeds: dict[str, set[int]] = {}
    for (arm, _), gone in lost.items():
        seeds.setdefault(arm, set()).update(gone.intersection(over))
    return {arm: len(gone) for arm, gone in seeds.items() if gone}


def _whole(values: Values, tasks: Collection[str]) -> Values:
    """What has every task, in the seeds that all of it has in every task; nothing without such a seed."""
    whole = {line: by_task for line, by_task in values.items() if by_task.keys() >= set(tasks)}
    has = [set(by_seed) for by_task in whole.values() for by_seed in by_task.values()]
    seeds = sorted(set.intersection(*has)) if has else []
    if not seeds:
        return {}
    return {
        line: {task: {seed: by_task[task][seed] for seed in seeds} for task in tasks} for line, by_task in whole.items()
    }


def _averages(whole: Values) -> dict[str, dict[str, dict[int, float]]]:
    """Means over tasks, by sub-model, arm and seed."""
    averages: dict[str, dict[str, dict[int, float]]] = {}
    for (row, arm), by_task in whole.items():
        seeds = next(iter(by_task.values()))
        means = {seed: mean_and_sd([by_seed[seed] for by_seed in by_task.values()])[0] for seed in seeds}
        averages.setdefault(row, {})[arm] = means
    return averages


def _spread(by_task: Mapping[str, Mapping[int, float]]) -> float | None:
    """SD over tasks of their means over seeds."""
    return mean_and_sd([mean_and_sd(list(by_seed.values()))[0] for by_seed in by_task.values()])[1]


def _costs(results: Results, lines: Collection[Line], name: str) -> dict[Line, int | None]:
    """Of one example; None where tasks differ, whose examples may be of different lengths. Empty where unknown."""
    if name not in results.frame:
        return {}
    found = results.frame.groupby(["sub_model", "arm"])[name].unique()
    return {line: int(found[line][0]) if len(found[line]) == 1 else None for line in lines}


def _updates(results: Results, factor: str, arm: str) -> str:
    counted, frame = results.declaration.counted, results.frame.assign(task=results.levels_of(factor))
    frame = frame[frame["arm"] == arm]
    if not counted:
        return ""
    trials = []
    for (facet, task, seed), rows in frame.groupby(["facet", "task", "seed"], sort=False):
        counts = dict(zip(rows["sub_model"], rows[counted].astype(float), strict=True))
        per_epoch = results.updates_per_epoch.get((str(facet), arm, int(str(seed))), 0.0)
        trials.append(TrialUpdates(str(task), per_epoch, counts))
    return update_notation(trials)


def _over_seeds(seeds: Mapping[str, int], headings: Mapping[str, str]) -> str:
    """Over how many seeds the tasks are; `seeds` of every task."""
    numbers = set(seeds.values())
    if numbers == {1}:
        return "Of every task one seed, so no spread is known."
    if len(numbers) == 1:
        return f"Tasks: mean ± SD over n = {numbers.pop()} seeds."
    each = ", ".join(f"{seeds[task]} in {heading}" for task, heading in headings.items() if task in seeds)
    return f"Tasks: mean ± SD over seeds, n = {each}{'; of one no SD is known' * (1 in numbers)}."


def _average_rule(seeds_of_it: int, seeds: Mapping[str, int], tasks: int) -> str:
    """What the average is, and over which seeds; `seeds` of every task."""
    if seeds_of_it == 0:
        return f"{AVERAGE} needs every task in one seed, and nothing has that yet."
    which = " that every task has" if set(seeds.values()) != {seeds_of_it} else ""
    over = f"the mean over {tasks} task{'s' * (tasks > 1)}"
    if seeds_of_it == 1:
        return f"{AVERAGE}: {over}, of the one seed{which}, so no SD over seeds is known."
    return f"{AVERAGE}: {over} in every seed{which}; mean ± SD of that over n = {seeds_of_it} seeds."


def _spread_rule(seeds: int) -> str:
    """What the spread over tasks is, which the paper prints in the place of one over seeds."""
    ours = "" if seeds == 1 else f"; the ± of {AVERAGE} here is over seeds"
    return (
        f"{SPREAD}: of the tasks' means. The ± of an average in Table 2 of the SortedNet paper is this SD, over its "
        f"eight tasks, not one over seeds{ours}."
    )


def _lacking(values: Values, headings: Mapping[str, str]) -> str:
    """Which arms have no average, and for want of what."""
    arms: dict[str, dict[str, str]] = {}
    for (row, arm), by_task in values.items():
        arms.setdefault(arm, {})[row] = ", ".join(head for task, head in headings.items() if task not in by_task)
    lacking = []
    for arm, missing in arms.items():
        tasks = set(missing.values())
        named = {"": tasks.pop()} if len(tasks) == 1 else missing  # sub-models only where they differ
        lacking += [f"{f'{arm} {row}'.rstrip()} lacks {what}" for row, what in named.items() if what]
    return f"–: not there. What lacks a task has no {AVERAGE}: {'; '.join(lacking)}." if lacking else ""


def _update_rule(counted: str) -> str:
    return (
        f"{counted.capitalize()} in epochs: of every sub-model, by the ledger, over the optimizer steps in which every "
        f"training example is seen once; means over seeds and tasks. ~: tasks differ in the tenth, or a trial is a "
        f"step or more away from it."
    )
