"""Which figures a study gets, and in which order: what answers its question first, what explains it after."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from orchestrator.report.across import TaskTable
from orchestrator.report.drawing import Drawing
from orchestrator.report.figures.arms import MANY, ranked_arms
from orchestrator.report.figures.budget import averages_over_budget, over_budget
from orchestrator.report.figures.cost import cost
from orchestrator.report.figures.differences import differences
from orchestrator.report.figures.lattice import has_grid, lattice
from orchestrator.report.figures.ledger import ledger
from orchestrator.report.figures.styles import styles_of
from orchestrator.report.figures.training import has_curves, training
from orchestrator.report.results import Results
from orchestrator.report.tables import Table
from orchestrator.study.plan import Plan


def drawings(
    plan: Plan, results: Results, tables: Sequence[Table], task_tables: Sequence[TaskTable]
) -> tuple[Drawing, ...]:
    """The figures of a study.

    `budgets` where budgets are compared, and of every table `differences`, `lattice`, `arms`, `cost`, `training` and
    `ledger`, as far as there is something to draw. Where there are several tables the name of one follows, as in
    `cost-budget-2x`, in the figure's name and in its title.

    Args:
        tables, task_tables: of these results, as a report has them.
    """
    return tuple(_by_their_own_names(_all(plan, results, tables, task_tables)))


def _all(
    plan: Plan, results: Results, tables: Sequence[Table], task_tables: Sequence[TaskTable]
) -> Iterator[tuple[Drawing, str]]:
    """Every figure with what follows its name."""
    styles, axis = styles_of(plan), plan.study.curve
    if axis is not None:
        averages = averages_over_budget(results, axis, tuple(name for name in plan.study.splits if name != axis))
        yield over_budget(averages, results, axis, styles), ""
    yield from ((differences(table, styles), table.title) for table in task_tables if table.comparisons)
    for table in tables:
        part, title = results.of(table.title), table.title
        if has_grid(part):
            yield lattice(part), title
        if len(part.arms) > MANY:
            yield ranked_arms(part, styles), title
        yield cost(part, styles), title
        if table.comparisons:
            yield differences(table, styles), title
        if has_curves(part):
            budget = next(t.budget for t in plan.trials if plan.study.facet(dict(t.arm.levels)) == title)
            yield training(part, styles, budget), title
        yield ledger(table, styles), title


def _by_their_own_names(found: Iterable[tuple[Drawing, str]]) -> Iterator[Drawing]:
    """With the table's name behind theirs, and a number where two would be the same in a folder of files."""
    taken: set[str] = set()
    for drawing, table in found:
        wanted = "-".join(filter(None, [drawing.name, _plain(table)]))
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}-{count}"
        taken.add(name)
        title = f"{drawing.title}: {table}" if table else drawing.title
        yield replace(drawing, name=name, title=title, table=table)


def _plain(text: str) -> str:
    """The text in lower-case ASCII letters, digits and hyphens."""
    known = unicodedata.normalize("NFKD", text.replace("×", "x")).encode("ascii", "replace").decode().lower()
    return re.sub("[^a-z0-9]+", "-", known).strip("-")
