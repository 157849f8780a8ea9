"""The command line that every study file shares: run, plan, report, status, extract, submit."""

import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from orchestrator.commands.extract import Wanted, extract
from orchestrator.commands.options import Options, plain_console, show_plan, show_status, write_report
from orchestrator.commands.run import run_study
from orchestrator.errors import Stopped, UserError, reason, unknown
from orchestrator.run.patience import of_the_store
from orchestrator.secrecy.confidential import Included
from orchestrator.secrecy.redaction import UNSHOWABLE, remember, shown_address, without_passwords
from orchestrator.study.plan import Plan, make_plan
from orchestrator.study.study import DESIGNS, Layout, Study
from orchestrator.submit.submission import Submission, submit
from orchestrator.trainer import Trainer

COMMANDS = {
    "run": "train what is missing, then report (the default)",
    "plan": "show arms, budgets, what is finished and how long the rest may take; start nothing",
    "report": "write the tables and the page from the tracker alone",
    "status": "show where every trial stands, from the tracker alone",
    "extract": "write one sub-model of one finished trial as a network of its own",
    "submit": "run it as a job of the cluster whose job server is at --address",
}


def main(study: Study, trainer: Trainer) -> NoReturn:
    """Runs a study file's command line and exits: 0 done, 1 a trial failed, 2 bad input, 130 interrupted."""
    sys.excepthook = _show_fault
    sys.exit(run(study, trainer, sys.argv[1:]))


def run(study: Study, trainer: Trainer, arguments: list[str]) -> int:
    """As `main`, for given arguments; gives the exit status."""
    try:
        for argument in arguments:
            remember(argument)
            if not argument.isprintable():
                raise UserError(f"{ascii(argument)[:80]}: an argument of characters that cannot be printed")
        result = _command(study, trainer).main(
            arguments, prog_name=f"{study.name}.py", standalone_mode=False, obj=(f"{study.name}.py", *arguments)
        )
        return result if isinstance(result, int) else 0
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
        if not of_the_store(error):
            raise
        print(f"stopped: {reason(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def _show_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A fault of ours as Python shows it, but for passwords: libraries quote the addresses that they were given."""
    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(without_passwords("".join(lines)))


def _command(study: Study, trainer: Trainer) -> click.Command:
    default = next(iter(study.presets))
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in study.presets.items())
    commands = "; ".join(f"{name}: {about}" for name, about in COMMANDS.items())

    @click.command(
        help=f"{study.title}.\n\nCOMMAND is one of: {commands}.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
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
    @click.option("--max-concurrent", type=click.IntRange(min=1), help="Trials at once, at most.")
    @click.option("--cpus-per-trial", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True)
    @click.option("--gpus-per-trial", type=click.FloatRange(min=0), help="Default: 1 where there is a GPU.")
    @click.option("--pack", is_flag=True, help="Measure first how many trials at once do most work, and run so many.")
    @click.option(
        "--patience",
        type=click.FloatRange(min=0),
        default=600.0,
        show_default=True,
        help="Seconds that the tracking store may fail, while training goes on, before the study stops.",
    )
    @click.option(
        "--stall",
        type=click.FloatRange(min=1),
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
    @click.option("--max-macs", type=float, help="extract: the largest with at most so many multiply-accumulates.")
    @click.option("--max-params", type=float, help="extract: the largest with at most so many parameters.")
    @click.option("--min-accuracy", type=float, help="extract: as --at-least, of an accuracy in per cent.")
    @click.option("--at-least", type=float, help="extract: the smallest that reached so much, where higher is better.")
    @click.option("--at-most", type=float, help="extract: the smallest that got so low, where lower is better.")
    @click.option("--to", type=click.Path(path_type=Path), help="extract: the folder to write into.")
    def command(**given: Any) -> int:
        name = given.pop("command")
        if name not in COMMANDS:
            raise unknown("command", name, COMMANDS)
        if given["debug"]:
            _alone(name, given)
        if given["include"] and not (name == "submit" or (name == "run" and given["address"])):
            raise UserError(f"--include: {name} sends nothing{' without --address' if name == 'run' else ''}")
        options = _options(study, given)
        plan = make_plan(study, trainer, options.preset, options.overrides, options.seeds, options.layout)
        if name == "extract":
            return extract(plan, trainer, options, _wanted(plan, given))
        if name == "submit":
            return submit(plan, _submission(given, options), plain_console())
        act = {"run": run_study, "plan": show_plan, "report": write_report, "status": show_status}[name]
        return act(plan, trainer, options)

    return command


def _options(study: Study, given: Mapping[str, Any]) -> Options:
    preset = given["preset"]
    if preset not in study.presets:
        raise unknown("preset", preset, study.presets)
    overrides = dict(setting(assignment) for assignment in given["settings"])
    for option in ("dataset", "equalize"):
        if given[option] is not None:
            overrides[option] = given[option]
    storage = _path("--storage", given["storage"])
    uri = given["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{storage / 'mlflow.db'}"
    _refuse_a_name_in(uri)
    remote = uri.startswith(("http://", "https://"))
    return Options(
        preset=preset,
        overrides=overrides,
        seeds=_seeds(given["seeds"], study.presets[preset].seeds),
        layout=Layout(
            design=given["design"],
            baseline={**study.baseline, **dict(_levels("--baseline", given["baseline"]))},
            only=tuple(_levels("--only", given["only"])),
        ),
        storage=storage,
        tracking_uri=uri,
        artifacts=None if remote else storage / "artifacts",
        data=None if given["data"] is None else _path("--data", given["data"]),
        address=given["address"],
        max_concurrent=given["max_concurrent"],
        cpus=given["cpus_per_trial"],
        gpus=given["gpus_per_trial"],
        pack=given["pack"],
        included=Included(given["include"]),
        patience=given["patience"],
        stall=None if given["debug"] else given["stall"],
        debug=given["debug"],
        as_json=given["as_json"],
        command=click.get_current_context().obj,
    )


def _alone(command: str, given: Mapping[str, Any]) -> None:
    """Refuses beside `--debug` what asks for another process."""
    stall = click.get_current_context().get_parameter_source("stall") == ParameterSource.COMMANDLINE
    others = {
        "submit": command == "submit",
        "--address": given["address"] is not None,
        "--pack": given["pack"],
        "--max-concurrent": (given["max_concurrent"] or 1) > 1,
        "--stall (which ends the process of a trial that hangs)": stall,
    }
    for other, asked in others.items():
        if asked:
            raise UserError(f"--debug runs one trial after the other in this process: leave it out, or {other}")


def _refuse_a_name_in(uri: str) -> None:
    """Of a tracking server: the first request takes all of `name:password@host` for a host and its port."""
    remember(uri)
    if not uri.startswith(("http://", "https://")):
        return
    shown = shown_address(uri)
    if shown == UNSHOWABLE or "@" in urlsplit(uri).netloc:
        raise UserError(
            f"the tracking server's address {shown} is none to connect to: give http://HOST:PORT, and name and "
            "password in the environment, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )


_OF_SUBMIT = frozenset({"command", "address", "no_wait", "pip", "as_json", "include"})


def _submission(given: Mapping[str, Any], options: Options) -> Submission:
    """What to submit: the options as they were given, but for those of submit itself."""
    if given["address"] is None:
        raise UserError("submit: give the cluster's job server, --address http://HEAD:8265")
    context = click.get_current_context()
    if not Path(given["storage"]).is_absolute():
        raise UserError("submit: give --storage as an absolute path that every node of the cluster sees")
    arguments = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) != ParameterSource.COMMANDLINE or name in _OF_SUBMIT:
            continue
        value, flag = context.params[name], parameter.opts[0]
        if value is True:
            arguments.append(flag)
        else:
            arguments += [
                text for each in (value if isinstance(value, tuple) else (value,)) for text in (flag, str(each))
            ]
    return Submission(
        address=given["address"],
        script=Path(sys.argv[0]).resolve(),
        arguments=arguments,
        storage=Path(given["storage"]),
        tracking_uri=given["tracking_uri"] or "",
        wait=not given["no_wait"],
        pip=given["pip"],
        included=Included(given["include"]),
    )


def _wanted(plan: Plan, given: Mapping[str, Any]) -> Wanted:
    if given["to"] is None:
        raise UserError("extract: give the folder to write into, --to DIR")
    reached = {f"--{name.replace('_', '-')}": given[name] for name in ("min_accuracy", "at_least", "at_most")}
    asked = {option: value for option, value in reached.items() if value is not None}
    if len(asked) > 1:
        raise UserError(f"extract: give one of {' and '.join(asked)}, not both")
    metric, option = plan.declaration.primary, next(iter(asked), "")
    if option and (option == "--at-most") == metric.higher_is_better:
        right = "--at-least" if metric.higher_is_better else "--at-most"
        raise UserError(f"extract: of the {metric.title} {metric.best} is best: give {right} in the place of {option}")
    bounds = (given["max_macs"], given["max_params"], asked.get(option))
    if given["sub_model"] is not None and any(bound is not None for bound in bounds):
        raise UserError("extract: give --sub-model, or bounds to choose by, not both")
    return Wanted(given["sub_model"], *bounds, _path("--to", given["to"]))


def _path(option: str, given: Path) -> Path:
    try:
        path = given.expanduser().resolve()
        path.exists()  # a name that is too long, or no name at all, says so
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{option}: not a path that can be: {error}"[:200]) from error
    return path


def setting(assignment: str) -> tuple[str, Any]:
    """The name and value of `KEY=VALUE`; the value is JSON where it can be, else a text.

    Raises:
        UserError: no `=`, or nothing before it.
    """
    key, equals, value = assignment.partition("=")
    if not equals or not key:
        raise UserError(f"--set {assignment}: give KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _levels(option: str, given: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for text in given:
        for pair in text.split(","):
            factor, equals, level = pair.partition("=")
            if not equals:
                raise UserError(f"{option} {text}: give FACTOR=LEVEL, or several with commas")
            yield factor.strip(), level.strip()


def _seeds(text: str | None, usual: int) -> tuple[int, ...]:
    if text is None:
        return tuple(range(usual))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() for part in parts):
        raise UserError(f"--seeds {text}: give a number of seeds (3) or a list of whole numbers (0,1,2)")
    if "," not in text:
        count = int(text)
        if not 1 <= count <= 10_000:
            raise UserError(f"--seeds {text}: give from 1 to 10000 seeds")
        return tuple(range(count))
    seeds = tuple(int(part) for part in parts)
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise UserError(f"--seeds {text}: seed {seed} is given twice")
        if seed >= 1 << 63:
            raise UserError(f"--seeds {text}: seed {seed} is too large, the limit is 2^63 − 1")
    return seeds
