"""The command that writes a study's tables and page from the tracker alone, and prints the tables."""

import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options, writable
from orchestrator.commands.tracking import earlier_trials, experiment_id, find_tracker
from orchestrator.errors import UserError
from orchestrator.report.latex_parts import USUAL
from orchestrator.secrecy.redaction import shown_address
from orchestrator.study.plan import Plan
from orchestrator.trainer import Trainer

if TYPE_CHECKING:
    from orchestrator.report.writer import Report
    from orchestrator.track.tracker import Tracker


def report_study(plan: Plan, trainer: Trainer, options: Options, latex: Collection[str] = USUAL) -> int:
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
    print_headline(print_report(plan, options, tracker, experiment, latex))
    return 0


def report_folder(plan: Plan, options: Options) -> Path:
    """Where the plan's report lies."""
    return options.storage / "reports" / plan.study.name / plan.preset


def print_report(
    plan: Plan, options: Options, tracker: "Tracker", experiment: str, latex: Collection[str] = USUAL
) -> "Report":
    """Writes the report and prints it, the answer before its tables."""
    from orchestrator.report.rendering import answer_as_markdown, as_markdown, tasks_as_markdown
    from orchestrator.report.results import read_results
    from orchestrator.report.sequential import recorded_looks
    from orchestrator.report.writer import write_report

    results = read_results(tracker, experiment, plan)
    folder, looks = report_folder(plan, options), recorded_looks(tracker, experiment, plan.base_key)
    report = write_report(plan, results, folder, looks, latex)
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
    for line in (f"Report: {folder / 'index.html'}", f"MLflow: {_interface(options, experiment)}"):
        console.print(line, markup=False, soft_wrap=True)  # to be copied whole
    return report


def print_headline(report: "Report") -> None:
    """The answer again, where a reader looks once everything has run: at the end."""
    plain_console().print(report.answer.headline, markup=False)


def _interface(options: Options, experiment: str) -> str:
    """Where MLflow shows the study's runs, and by what command first; its pages for generative AI come up otherwise."""
    page, uri = f"#/experiments/{experiment}?workflowType=machine_learning", shown_address(options.tracking_uri)
    if options.artifacts is None:
        return f"{uri.rstrip('/')}/{page}"
    mlflow = Path(sys.executable).parent / "mlflow"
    command = shlex.join([str(mlflow), "ui", "--backend-store-uri", uri])
    return f"{command}\n  then http://127.0.0.1:5000/{page}"
