"""Writes a study's report: Markdown, LaTeX, CSV, the figures' numbers and pictures, and one self-contained page."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orchestrator.report.across import TaskTable, make_task_table
from orchestrator.report.answer import Answer, make_answer
from orchestrator.report.escaping import for_markdown
from orchestrator.report.figure_files import FOLDER, Format, write_data, write_pictures
from orchestrator.report.figures import averages_over_budget, crossings, drawings
from orchestrator.report.latex import as_latex, as_preview
from orchestrator.report.latex_parts import USUAL
from orchestrator.report.page.page import Findings, render_page
from orchestrator.report.page.plot import plots
from orchestrator.report.rendering import answer_as_markdown, as_markdown, tasks_as_markdown
from orchestrator.report.results import Results
from orchestrator.report.selection import pareto
from orchestrator.report.sequential import Looks, asked_for, in_words, judge, not_fixed
from orchestrator.report.settings import shared_settings
from orchestrator.report.tables import AVERAGE, Table, make_table, read_published
from orchestrator.report.words import counted
from orchestrator.study.plan import Plan
from orchestrator.study.study import Factor


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        answer: what stands first in it.
        task_tables: those over tasks.
        tables: one per facet.
        decided: where seeds were added until arms were separated, the rule and what it decided, a line each.
    """

    answer: Answer
    task_tables: tuple[TaskTable, ...]
    tables: tuple[Table, ...]
    decided: tuple[str, ...] = ()


def write_report(
    plan: Plan,
    results: Results,
    folder: Path,
    looks: Looks | None = None,
    latex: Collection[str] = USUAL,
    pictures: Sequence[Format] = (),
) -> Report:
    """Fills `folder` with table.md, table.tex and its preview.tex, results.csv, figures/ and index.html.

    Args:
        looks: when arms were compared, where seeds were added until they were separated.
        latex: the parts of LaTeX's tables, some of `latex_parts.PARTS`.
        pictures: formats in which the figures are written, beside their numbers.

    Raises:
        UserError: there is nothing to draw pictures with.
    """
    study = plan.study
    task_tables = make_task_tables(plan, results, looks)
    tables = make_tables(plan, results, looks)
    verdicts = [] if looks is None else judge(asked_for(results, looks.order), looks)
    decided = [] if looks is None else in_words(verdicts, looks, results.metric)
    answer = make_answer(results, tables, task_tables, study.curve, verdicts)
    notes = _notes(results)
    folder.mkdir(parents=True, exist_ok=True)
    by_looking = "\n".join([*decided[:1], "", *(f"- {for_markdown(line)}" for line in decided[1:])])
    head = [f"# {for_markdown(study.title)}", answer_as_markdown(answer), *([by_looking] if decided else [])]
    parts = [*head, *map(tasks_as_markdown, task_tables), *map(as_markdown, tables)]
    if study.curve:
        parts += [
            "Crossings of the means over budgets:",
            "\n".join(f"- {for_markdown(line)}" for line in _crossings(plan, results)) or "None.",
        ]
    (folder / "table.md").write_text("\n\n".join([*parts, for_markdown(notes)]).rstrip() + "\n")
    for_papers = as_latex(tables, task_tables, latex, study.name)
    (folder / "table.tex").write_text(for_papers)
    (folder / "preview.tex").write_text(as_preview(for_papers, "table.tex"))
    results.frame.to_csv(folder / "results.csv", index=False)
    drawn = drawings(plan, results, tables, task_tables)
    write_data(drawn, folder / FOLDER)
    if pictures:
        write_pictures(drawn, folder / FOLDER, pictures)
    shown = Findings(
        plan=plan,
        results=results,
        answer=answer,
        task_tables=task_tables,
        tables=tables,
        plots=plots(drawn, folder / FOLDER, pictures),
        pareto=_pareto(results),
        decided=decided,
    )
    (folder / "index.html").write_text(render_page(shown), encoding="utf-8")
    return Report(answer, tuple(task_tables), tuple(tables), tuple(decided))


def make_tables(plan: Plan, results: Results, looks: Looks | None = None) -> list[Table]:
    """A table per facet."""
    return [_table(plan, results.of(facet), facet, looks) for facet in results.facets]


def _table(plan: Plan, results: Results, facet: str, looks: Looks | None) -> Table:
    study = plan.study
    printed = _printed(plan) if _comparable(plan, facet) else {}
    names = {arm.label: plan.compared(dict(arm.levels)) for arm in plan.arms}
    published = {(names[arm], row): value for (arm, row), value in printed.items() if arm in names}
    budget = next(t.budget for t in plan.trials if study.facet(dict(t.arm.levels)) == facet)
    what, *how = plan.described.get(facet) or ("",)
    gets = f"preset {plan.preset}: every arm gets {budget.words}{' unless it diverges' if results.diverged else ''}"
    caption = f"{', '.join(filter(None, [what, gets, *how]))}. Final {results.metric.in_words}."
    if published:
        caption += f" {study.published_caption}"
    return make_table(results, published, " ".join(filter(None, [caption, not_fixed(looks)])))


def _comparable(plan: Plan, facet: str) -> bool:
    """Whether published numbers may stand beside those of a facet."""
    shared = shared_settings(plan, facet)
    wanted = plan.study.published_for
    return all(name in shared and str(shared[name]) == value for name, value in wanted.items())


def _printed(plan: Plan) -> dict[tuple[str, str], tuple[float, bool]]:
    if plan.study.published is None:
        return {}
    return read_published(plan.study.published, tuple(factor.name for factor in plan.study.factors))


def make_task_tables(plan: Plan, results: Results, looks: Looks | None = None) -> list[TaskTable]:
    """The tables across tasks: one, or one per further facet; none of a study without tasks."""
    across = next((factor for factor in plan.study.factors if factor.name == plan.study.across), None)
    if across is None:
        return []
    tasks: dict[str, dict[str, str]] = {}  # of every table: its facets by task
    for arm in plan.arms:
        levels = dict(arm.levels)
        tasks.setdefault(plan.study.task_table(levels), {})[levels[across.name]] = plan.study.facet(levels)
    return [
        _task_table(plan, results.of(*facets.values()), across, title, facets, looks)
        for title, facets in tasks.items()
        if not set(results.facets).isdisjoint(facets.values())
    ]


def _task_table(
    plan: Plan, results: Results, across: Factor, title: str, facets: Mapping[str, str], looks: Looks | None
) -> TaskTable:
    published = _published_tasks(plan, across, facets)
    caption = (
        f"Preset {plan.preset}: final {results.metric.in_words} in every task; a task's own table says what is trained "
        "on it and for how long."
    )
    if published:
        caption += f" {plan.study.published_caption}"
    caption = " ".join(filter(None, [caption, not_fixed(looks)]))
    title = " · ".join(filter(None, [title, f"by {across.name}"]))
    headings = {task: across.heading(task) for task in across.levels if task in facets}
    return make_task_table(results, title, across.name, headings, published, caption)


def _published_tasks(
    plan: Plan, across: Factor, facets: Mapping[str, str]
) -> dict[tuple[str, str, str], tuple[float, bool]]:
    """What was printed of tasks and of their average (task `avg.`), by sub-model, arm and task.

    A printed average stands beside ours if both are over the same tasks, and all of these are comparable. It is over
    the tasks that are printed with it or, where it is printed alone, over those that the study usually has.
    """
    printed = _printed(plan)
    comparable = {task for task, facet in facets.items() if _comparable(plan, facet)}
    found: dict[tuple[str, str, str], tuple[float, bool]] = {}
    for arm in plan.arms:
        levels = dict(arm.levels)
        name, task = plan.compared(levels), levels[across.name]
        if facets.get(task) != plan.study.facet(levels):
            continue
        labels = {each: " · ".join((levels | {across.name: each}).values()) for each in (*across.levels, AVERAGE)}
        for row in {row for _, row in printed}:
            there = {each: printed[label, row] for each, label in labels.items() if (label, row) in printed}
            averaged = there.keys() - {AVERAGE} or set(across.usual or across.levels)
            if task in there.keys() & comparable:
                found[row, name, task] = there[task]
            if AVERAGE in there and averaged == comparable == facets.keys():
                found[row, name, AVERAGE] = there[AVERAGE]
    return found


def _crossings(plan: Plan, results: Results) -> list[str]:
    """Where arms cross, if budgets are compared."""
    axis = plan.study.curve
    if axis is None:
        return []
    others = tuple(name for name in plan.study.splits if name != axis)
    return crossings(averages_over_budget(results, axis, others), results.metric)


def _pareto(results: Results) -> pd.DataFrame:
    """Of every table, the sub-models that none beats at no more multiply-accumulates, by their means over seeds."""
    means = results.with_means.groupby(["facet", "arm", "sub_model", "macs", "parameters"], as_index=False, sort=False)
    points = means[results.metric.name].mean()
    found = [pareto(points[points["facet"] == facet], results.metric) for facet in results.facets]
    return pd.concat(found).rename(columns={results.metric.name: "value"})


def _notes(results: Results) -> str:
    """What is missing from the tables, and why; and what diverged."""
    parts = []
    if results.unfinished:
        verb = "is" if results.unfinished == 1 else "are"
        parts.append(f"{counted(results.unfinished, 'trial')} {verb} not finished.")
    if results.failures:
        parts.append(f"{len(results.failures)} failed: {', '.join(failure.trial for failure in results.failures)}.")
    if results.unpaired:
        parts.append(f"Left out, since another arm lacks the seed: {', '.join(results.unpaired)}.")
    incomplete = [f"Incomplete: {' '.join(parts)}"] if parts else []
    diverged = [f"Diverged: {'; '.join(each.line for each in results.diverged)}."] if results.diverged else []
    return " ".join([*incomplete, *diverged])
