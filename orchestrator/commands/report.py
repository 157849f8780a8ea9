"""The command that writes a study's tables and page from the tracker alone, and prints the tables."""

import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options, writable
from orchestrator.commands.report_folder import mark, report_folder
from orchestrator.commands.tracking import earlier_trials, experiment_id, find_tracker
from orchestrator.errors import UserError, unknown
from orchestrator.report.latex_parts import USUAL
from orchestrator.secrecy.redaction import shown_address
from orchestrator.study.plan import Plan
from orchestrator.trainer import Trainer

if TYPE_CHECKING:
    from orchestrator.report.figure_files import Format
    from orchestrator.report.writer import Report
    from orchestrator.track.tracker import Tracker


def parse_pictures(parameters: Mapping[str, Any]) -> tuple["Format", ...]:
    """The formats that --figures asks for.

    Raises:
        UserError: one that there is not, or nothing to draw them with.
    """
    from orchestrator.report.figure_files import FORMATS, require_browser

    asked = list(filter(None, (parameters["figures"] or "").split(",")))
    for name in asked:
        if name not in FORMATS:
            raise unknown("format of figures", name, FORMATS)
    if asked:
        require_browser()
    return tuple(kind for kind in FORMATS if kind in asked)


def report_study(
    plan: Plan,
    trainer: Trainer,
    options: Options,
    latex: Collection[str] = USUAL,
    pictures: Sequence["Format"] = (),
) -> int:
    """Writes and prints the report from the tracker alone."""
    tracker = find_tracker(options)
    experiment = experiment_id(plan, tracker)
    if tracker is None or experiment is None:
        raise UserError(
            f"nothing of {plan.study.name} is in {shown_address(options.tracking_uri)}: run the study first"
        )
    for line in earlier_trials(plan, trainer, tracker):
        raise UserError(line)
    from orchestrator.track.namesakes import refuse_namesake

    refuse_namesake(tracker, experiment, plan, Path(sys.argv[0]).resolve())
    writable(options.storage, "--storage")
    print_headline(print_report(plan, options, tracker, experiment, latex, pictures))
    return 0


def print_report(
    plan: Plan,
    options: Options,
    tracker: "Tracker",
    experiment: str,
    latex: Collection[str] = USUAL,
    pictures: Sequence["Format"] = (),
) -> "Report":
    """Writes the report and prints it, the answer before its tables."""
    from orchestrator.report.reading import read_results
    from orchestrator.report.rendering import answer_as_markdown, as_markdown, tasks_as_markdown
    from orchestrator.report.sequential import recorded_looks
    from orchestrator.report.writer import write_report
    from orchestrator.track.view import page_of

    results = read_results(tracker, experiment, plan)
    folder, looks = report_folder(plan, options.storage), recorded_looks(tracker, experiment, plan.base_key)
    report = write_report(plan, results, folder, looks, latex, pictures)
    mark(folder, plan)
    console = plain_console()

    def say(line: str) -> None:
        console.print(line, markup=False)

    if console.is_terminal:
        from orchestrator.commands.terminal_tables import on_terminal

        for part in on_terminal(report):
            console.print(part)
    else:
        say(answer_as_markdown(report.answer) + "\n")
        for text in (*map(tasks_as_markdown, report.task_tables), *map(as_markdown, report.tables)):
            say(text)
    for line in report.decided:
        say(line)
    for failure in results.failures:
        say(f"failed: {failure.trial}: {failure.error}")
    for each in results.diverged:
        say(f"diverged: {each.line}")
    for trial in results.unpaired:
        say(f"left out, since another arm lacks the seed: {trial}")
    page = page_of(plan, tracker, experiment)
    for line in (f"Report: {folder / 'index.html'}", f"MLflow: {_interface(options, page)}"):
        console.print(line, markup=False, soft_wrap=True)  # to be copied whole
    return report


def print_headline(report: "Report") -> None:
    """The answer again, where a reader looks once everything has run: at the end."""
    plain_console().print(report.answer.headline, markup=False)


def _interface(options: Options, page: str) -> str:
    """Where MLflow shows the study's runs, and by what command first."""
    uri = shown_address(options.tracking_uri)
    if options.artifacts is None:
        return f"{uri.rstrip('/')}/{page}"
    mlflow = Path(sys.executable).parent / "mlflow"
    command = shlex.join([str(mlflow), "ui", "--backend-store-uri", uri])
    return f"{command}\n  then http://127.0.0.1:5000/{page}"
