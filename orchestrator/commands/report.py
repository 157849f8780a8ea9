"""The command that writes a study's tables and page from the tracker alone, and prints the tables."""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options, writable
from orchestrator.commands.tracking import earlier_trials, experiment_id, find_tracker
from orchestrator.errors import UserError
from orchestrator.secrecy.redaction import shown_address
from orchestrator.study.plan import Plan
from orchestrator.trainer import Trainer

if TYPE_CHECKING:
    from orchestrator.report.across import TaskTable
    from orchestrator.report.tables import Cell
    from orchestrator.report.tables import Table as Accuracies
    from orchestrator.track.tracker import Tracker

_MOST_COLUMNS = 6  # sub-models and their average, on a terminal
_MOST_TASKS = 8  # beside their average, on a terminal


def report_study(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Writes and prints the report from the tracker alone."""
    tracker = find_tracker(options)
    experiment = experiment_id(plan, tracker)
    if tracker is None or experiment is None:
        raise UserError(
            f"nothing of {plan.study.name} is in {shown_address(options.tracking_uri)}: run the study first"
        )
    for line in earlier_trials(plan, trainer, tracker):
        raise UserError(line)
    writable(options.storage, "--storage")
    print_report(plan, options, tracker, experiment)
    return 0


def report_folder(plan: Plan, options: Options) -> Path:
    """Where the plan's report lies."""
    return options.storage / "reports" / plan.study.name / plan.preset


def print_report(plan: Plan, options: Options, tracker: "Tracker", experiment: str) -> None:
    """Writes the report and prints its tables."""
    from orchestrator.report.rendering import as_markdown, tasks_as_markdown
    from orchestrator.report.results import read_results
    from orchestrator.report.sequential import asked_for, in_words, judge, recorded_looks
    from orchestrator.report.writer import make_task_tables, write_report
    from orchestrator.track.view import page_of

    results = read_results(tracker, experiment, plan)
    looks, decided = recorded_looks(tracker, experiment, plan.base_key), list[str]()
    if looks is not None:
        decided = in_words(judge(asked_for(results, looks.order), looks), looks, results.metric)
    folder = report_folder(plan, options)
    tables = write_report(plan, results, folder, decided)
    console = plain_console()
    for over_tasks in make_task_tables(plan, results):
        text = _tasks_for_terminal(over_tasks) if console.is_terminal else tasks_as_markdown(over_tasks)
        console.print(text, markup=False)
    for table in tables:
        console.print(_for_terminal(table) if console.is_terminal else as_markdown(table), markup=False)
    for line in decided:
        console.print(line, markup=False)
    for failure in results.failures:
        console.print(f"failed: {failure.trial}: {failure.error}", markup=False)
    for each in results.diverged:
        console.print(f"diverged: {each.line}", markup=False)
    for trial in results.unpaired:
        console.print(f"left out, since another arm lacks the seed: {trial}", markup=False)
    page = page_of(plan, tracker, experiment)
    for line in (f"Report: {folder / 'index.html'}", f"MLflow: {_interface(options, page)}"):
        console.print(line, markup=False, soft_wrap=True)  # to be copied whole


def _for_terminal(found: "Accuracies") -> Table:
    """A row per arm, so that it fits 80 columns; beneath it SD, published value and difference to the baseline."""
    rows = found.rows if len(found.rows) <= _MOST_COLUMNS else (found.rows[0], *found.rows[-2:])
    shown = _empty(f"{found.metric.heading} {found.title}".rstrip(), rows)
    for arm in found.arms:
        cells = [found.cells.get((row, arm)) for row in rows]
        shown.add_row(arm, *_means(cells, found.metric.text))
        if found.seeds > 1:
            shown.add_row("  ± SD", *_spreads(cells, found.metric.text), style="dim")
        if found.compares:
            shown.add_row("  published", *_printed(cells), style="dim")
        if arm in found.against:
            compared = [found.comparisons.get((row, arm)) for row in rows]
            differences = ("–" if each is None else each.difference for each in compared)
            shown.add_row(f"  − {found.against[arm]}", *differences, style="dim")
            needed = ["" if each is None else each.needed.removesuffix(" seeds") for each in compared]
            if any(needed):
                shown.add_row("  seeds", *needed, style="dim")
    shown.caption = f"{found.caption} {found.seeds_caption}".rstrip()
    shown.caption_justify = "left"
    return shown


def _tasks_for_terminal(found: "TaskTable") -> Table:
    """Per arm a row for every sub-model, so that eight tasks fit 80 columns; beneath it what `_for_terminal` has.

    Of more tasks the average stands alone; they have tables of their own.
    """
    columns = found.columns if len(found.headings) <= _MOST_TASKS else found.columns[-1:]
    shown = _empty(f"{found.metric.heading} {found.title}", [column.replace(" ", "\n") for column in columns])
    for arm in found.arms:
        shown.add_row(arm)
        for row in found.rows:
            if (row, arm) in found.macs:
                _add_line(shown, found, row, arm, len(columns))
    updates = [f"{arm} {updates}" for arm, updates in found.updates.items() if updates]
    epochs = f"By arm: {'; '.join(updates)}." if updates else ""
    shown.caption = " ".join(filter(None, [found.caption, epochs, found.seeds_caption]))
    shown.caption_justify = "left"
    return shown


def _add_line(shown: Table, found: "TaskTable", row: str, arm: str, columns: int) -> None:
    """The rows of one sub-model of an arm: in the tasks that there are columns for, and on average."""
    cells = found.row_cells(row, arm)[-columns:]
    spread, compared = found.spreads.get((row, arm)), found.comparisons.get((row, arm))
    shown.add_row(f" {row}", *_means(cells, found.metric.text))
    if any(_spreads(cells, found.metric.text)):
        shown.add_row("  ± SD", *_spreads(cells, found.metric.text), style="dim")
    on_average = [
        ("SD over tasks", "" if spread is None else found.metric.text(spread)),
        (f"− {found.against.get(arm)}", "" if compared is None else compared.difference),
        ("seeds", "" if compared is None else compared.needed.removesuffix(" seeds")),
    ]
    for name, text in on_average:
        if text:
            shown.add_row(f"  {name}", *[""] * (columns - 1), text, style="dim")
    if found.compares:
        shown.add_row("  published", *_printed(cells), style="dim")


def _empty(title: str, columns: Sequence[str]) -> Table:
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("arm", no_wrap=True)
    for column in columns:
        shown.add_column(column, justify="right", no_wrap=True)
    return shown


def _means(cells: "Sequence[Cell | None]", text: Callable[[float], str]) -> list[Text | str]:
    return [
        "–" if cell is None else cell.short_text or Text(text(cell.mean), "bold" if cell.best else "") for cell in cells
    ]


def _spreads(cells: "Sequence[Cell | None]", text: Callable[[float], str]) -> list[str]:
    return ["" if cell is None or cell.sd is None else text(cell.sd) for cell in cells]


def _printed(cells: "Sequence[Cell | None]") -> list[str]:
    return ["–" if not c or c.published is None else f"{c.published:.2f}{'†' * c.derived}" for c in cells]


def _interface(options: Options, page: str) -> str:
    """Where MLflow shows the study's runs, and by what command first."""
    uri = shown_address(options.tracking_uri)
    if options.artifacts is None:
        return f"{uri.rstrip('/')}/{page}"
    mlflow = Path(sys.executable).parent / "mlflow"
    command = shlex.join([str(mlflow), "ui", "--backend-store-uri", uri])
    return f"{command}\n  then http://127.0.0.1:5000/{page}"
