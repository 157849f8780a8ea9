"""The command line that every study file shares: run, plan, report, status, extract, list, clean, submit.

What a command needs is imported once it is known and its options are good: `--help` and a typo are answered at once.
"""

import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import click

from orchestrator.commands.numbers import LONGEST_SECONDS, SHARES, Decimal, WholeNumber
from orchestrator.commands.options import Options, parse_options
from orchestrator.commands.streams import outlive_streams, unshown
from orchestrator.errors import Stopped, UserError, reason, unknown
from orchestrator.run.environment import keep_files_in_utf_8, silence_mlflow
from orchestrator.run.patience import is_store_error
from orchestrator.secrecy.redaction import remember, without_passwords
from orchestrator.study.plan import Plan, make_plan
from orchestrator.study.study import DESIGNS, Study
from orchestrator.trainer import Trainer

COMMANDS = {
    "run": "train what is missing, then report (the default)",
    "plan": "show arms, budgets, what is finished and how long the rest may take; start nothing",
    "report": "write the tables and the page from the tracker alone",
    "status": "show where every trial stands, from the tracker alone",
    "extract": "write one sub-model of one finished trial as a network of its own",
    "list": "show what is in the storage: studies, trials by where they stand, sizes",
    "clean": "show what could go from the storage, with sizes; with --yes, remove it",
    "submit": "run it as a job of the cluster whose job server is at --address",
}
_TRAINING = ("run", "submit")  # what the others are there for is what they show
_HELP = frozenset({"-h", "--help"})


WHAT = ("unreferenced", "unfinished", "study")


def main(study: Study, trainer: Trainer | Callable[[], Trainer]) -> NoReturn:
    """Runs a study file's command line and exits: 0 done, 1 a trial failed, 2 bad input, 130 interrupted.

    Args:
        trainer: what trains, or what makes it, called once a command is known to need it.
    """
    sys.excepthook = _show_fault
    outlive_streams()
    keep_files_in_utf_8()
    sys.exit(run(study, trainer, sys.argv[1:]))


def run(study: Study, trainer: Trainer | Callable[[], Trainer], arguments: list[str]) -> int:
    """As `main`, for given arguments; gives the exit status."""
    try:
        for argument in arguments:
            remember(argument)
            if not argument.isprintable():
                raise UserError(f"{ascii(argument)[:80]}: an argument of characters that cannot be printed")
        result = _command(study, trainer).main(
            arguments, prog_name=f"{study.name}.py", standalone_mode=False, obj=(f"{study.name}.py", *arguments)
        )
        status = result if isinstance(result, int) else 0
        return _shown(status) if _HELP.intersection(arguments) else status
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        print(f"error: {without_passwords(' '.join(error.format_message().split()))}", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {without_passwords(str(error))}", file=sys.stderr)
        return 2
    except Stopped as error:
        print(f"stopped: {without_passwords(str(error))}", file=sys.stderr)
        return 1
    except Exception as error:  # MLflow's and SQLAlchemy's, which are not imported where nothing goes wrong
        if not is_store_error(error):
            raise
        print(f"stopped: {reason(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def _shown(status: int) -> int:
    """The exit status of what is there to show something: 1, said in a line, if not all of it could be shown."""
    if why := unshown():
        print(f"stopped: not all of it could be shown: {why}", file=sys.stderr)
        return 1
    return status


def _show_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A fault of ours as Python shows it, but for passwords: libraries quote the addresses that they were given."""
    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(without_passwords("".join(lines)))


def _command(study: Study, trainer: Trainer | Callable[[], Trainer]) -> click.Command:
    default = next(iter(study.presets))
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in study.presets.items())
    commands = "; ".join(f"{name}: {about}" for name, about in COMMANDS.items())

    @click.command(
        help=f"{study.title}.\n\nCOMMAND is one of: {commands}.",
        context_settings={"help_option_names": sorted(_HELP), "max_content_width": 110},
    )
    @click.argument("command", default="run")
    @click.option("--preset", default=default, show_default=True, help=presets)
    @click.option("--dataset", help="Another data set for the preset: cifar10, digits.")
    @click.option("--data", type=click.Path(path_type=Path), help="Where the data lies or is put (default: a cache).")
    @click.option("--seeds", help="A number of seeds (3) or a list (0,1,2).")
    @click.option("--equalize", help="What every arm gets the same amount of: updates, passes or macs.")
    @click.option("--only", multiple=True, metavar="FACTOR=LEVEL,…", help="Keep these levels only; repeatable.")
    @click.option(
        "--design", default="factorial", show_default=True, help=f"How factors combine: {', '.join(DESIGNS)}."
    )
    @click.option(
        "--baseline", multiple=True, metavar="FACTOR=LEVEL,…", help="What arms are compared with; repeatable."
    )
    @click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any base setting; repeatable.")
    @click.option("--storage", default="./runs", show_default=True, type=click.Path(path_type=Path))
    @click.option("--tracking-uri", help="MLflow store (default: $MLFLOW_TRACKING_URI, else SQLite in the storage).")
    @click.option(
        "--address",
        help="A Ray cluster, auto or HOST:PORT (default: start one here); of submit: its job server, http://HEAD:8265.",
    )
    @click.option(
        "--debug",
        is_flag=True,
        help="Run trials one after the other in this process, without Ray: a breakpoint in a trial works.",
    )
    @click.option("--max-concurrent", type=WholeNumber(1, 1_000_000), help="Trials at once, at most.")
    @click.option("--cpus-per-trial", type=Decimal(*SHARES), default=1.0, show_default=True)
    @click.option("--gpus-per-trial", type=Decimal(*SHARES, or_zero=True), help="Default: 1 where there is a GPU.")
    @click.option(
        "--until-separated",
        is_flag=True,
        help="Train seeds until every comparison is decided by a sequential test, at most --seeds (20 unless given).",
    )
    @click.option("--pack", is_flag=True, help="Measure first how many trials at once do most work, and run so many.")
    @click.option(
        "--patience",
        type=Decimal(0, LONGEST_SECONDS),
        default=600.0,
        show_default=True,
        help="Seconds that the tracking store may fail, while training goes on, before the study stops.",
    )
    @click.option(
        "--stall",
        type=Decimal(1, LONGEST_SECONDS),
        default=1800.0,
        show_default=True,
        help="Seconds without a step after which a trial hangs: it is ended and goes on from its checkpoint.",
    )
    @click.option("--no-wait", is_flag=True, help="submit: leave once the job is there.")
    @click.option("--pip", is_flag=True, help="submit: have the nodes install what the project depends on.")
    @click.option(
        "--include",
        multiple=True,
        metavar="NAME",
        help="A file or pattern, from the top of the tree, to send though it looks secret; repeatable.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Machine-readable plan and status.")
    @click.option("--sub-model", help="extract: this one, by its label.")
    @click.option("--max-macs", type=Decimal(), help="extract: the largest with at most so many multiply-accumulates.")
    @click.option("--max-params", type=Decimal(), help="extract: the largest with at most so many parameters.")
    @click.option("--min-accuracy", type=Decimal(), help="extract: as --at-least, of an accuracy in per cent.")
    @click.option(
        "--at-least", type=Decimal(), help="extract: the smallest that reached so much, where higher is better."
    )
    @click.option("--at-most", type=Decimal(), help="extract: the smallest that got so low, where lower is better.")
    @click.option(
        "--what",
        multiple=True,
        type=click.Choice(WHAT),
        help="clean: unreferenced (the default): of what the store has no run of, or a deleted one; unfinished: "
        "checkpoints of trials that did not finish; study: all of this study. Repeatable.",
    )
    @click.option("--yes", is_flag=True, help="clean: remove what is shown.")
    @click.option("--to", type=click.Path(path_type=Path), help="extract: the folder to write into.")
    def command(**parameters: Any) -> int:
        name = parameters["command"]
        if name not in COMMANDS:
            raise unknown("command", name, COMMANDS)
        _require_home()
        silence_mlflow()
        options = parse_options(study, parameters)
        if name == "list":
            from orchestrator.commands.listing import show_storage

            return _shown(show_storage(options))
        if name == "clean":
            from orchestrator.commands.clean import clean_storage

            return _shown(clean_storage(study, options, parameters["what"] or WHAT[:1], parameters["yes"]))
        act = _action(name, parameters)
        base = {**study.presets[options.preset].settings, **options.overrides}
        study.arms(base, options.layout)  # says which level is misspelt, before the trainer is imported
        made = trainer() if callable(trainer) else trainer
        plan = make_plan(study, made, options.preset, options.overrides, options.seeds, options.layout, options.data)
        status = act(plan, made, options)
        return status if name in _TRAINING else _shown(status)

    return command


def _require_home() -> None:
    """Ray and MLflow end in a traceback where there is none, as for a container's user without a name."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise UserError("the user has no home folder, which Ray and MLflow need: set HOME to one (HOME=/tmp/me)")


def _action(name: str, parameters: Mapping[str, Any]) -> Callable[[Plan, Trainer, Options], int]:
    """What a command does with a plan. Options that it has alone are checked here, before there is one."""
    match name:
        case "plan":
            from orchestrator.commands.plan import show_plan

            return show_plan
        case "report":
            from orchestrator.commands.report import report_study

            return report_study
        case "status":
            from orchestrator.commands.status import show_status

            return show_status
        case "extract":
            from orchestrator.commands.extract import extract_sub_model, parse_extraction

            return partial(extract_sub_model, extraction=parse_extraction(parameters))
        case "submit":
            from orchestrator.commands.submit import parse_submission, submit_study

            return partial(submit_study, submission=parse_submission(parameters))
        case _:
            from orchestrator.commands.run import run_study

            return run_study
