"""The options and arguments that one verb alone has."""

from pathlib import Path

import click

from orchestrator.commands.numbers import Decimal
from orchestrator.commands.sections import Option
from orchestrator.commands.shared_options import share_options, shares, training_options

WHAT = ("unreferenced", "unfinished", "study")


def report_options() -> list[click.Parameter]:
    """What is written beside the page."""
    return [
        Option(
            "--figures",
            metavar="FORMAT,…",
            help="The figures for a paper as well: svg, pdf. A browser of yours draws them.",
            section="For a paper",
        ),
        Option(
            "--latex",
            metavar="PART,…",
            default="macs",
            show_default=True,
            help="What LaTeX's tables have beside accuracies: published, sortedness, macs; or none.",
            section="For a paper",
        ),
    ]


def run_options() -> list[click.Parameter]:
    """Where trials run: on a cluster, here, or in this process."""
    debug = Option(
        "--debug",
        is_flag=True,
        help="One trial after the other in this process, without Ray: a breakpoint in a trial works.",
        section="Where and how trials run",
    )
    address, *given = share_options()
    return [address, debug, *given, *training_options()]


def submit_options() -> list[click.Parameter]:
    """Which job server, and how it is handed over."""
    where = "Where and how trials run"
    return [
        Option("--address", metavar="URL", help="The cluster's job server, http://HEAD:8265.", section=where),
        Option("--no-wait", is_flag=True, help="Leave once the job is there.", section=where),
        Option("--pip", is_flag=True, help="Have the nodes install what the project depends on.", section=where),
        *shares(),
        *training_options(),
    ]


def watch_option() -> Option:
    """Of `status`."""
    return Option(
        "--watch",
        is_flag=True,
        help="Follow it until all has ended: a table on a terminal, else a line for every change. Ctrl-C leaves.",
    )


def sides() -> list[click.Parameter]:
    """Of `compare`."""
    return [click.Argument(["first"], metavar="A"), click.Argument(["second"], metavar="B")]


def word() -> click.Parameter:
    """Of `settings`."""
    return click.Argument(["word"], required=False)


def extract_options() -> list[click.Parameter]:
    """Which sub-model, and where to."""
    which, number = "Which sub-model", Decimal()
    return [
        Option("--sub-model", metavar="LABEL", help="This one.", section=which),
        Option(
            "--max-macs", type=number, metavar="N", help="The largest of at most N multiply-accumulates.", section=which
        ),
        Option("--max-params", type=number, metavar="N", help="The largest of at most N parameters.", section=which),
        Option(
            "--at-least",
            type=number,
            metavar="X",
            help="The smallest that reached X, where higher is better.",
            section=which,
        ),
        Option(
            "--at-most",
            type=number,
            metavar="X",
            help="The smallest that got down to X, where lower is better.",
            section=which,
        ),
        Option("--min-accuracy", type=number, metavar="X", help="As --at-least, in per cent.", section=which),
        Option(
            "--to",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="The folder to write into.",
            section="Where it is kept",
        ),
    ]


def clean_options() -> list[click.Parameter]:
    """What goes, and whether it does."""
    return [
        Option(
            "--what",
            multiple=True,
            type=click.Choice(WHAT),
            help="unreferenced (the default): of what the store has no run, or a deleted one; unfinished: checkpoints "
            "of trials that did not finish; study: all of this study. Repeatable.",
        ),
        Option("--yes", is_flag=True, help="Remove what is shown."),
    ]
