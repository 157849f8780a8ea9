"""The console script `sortednet-studies`: a study of this package by its name, or any study file on the disk.

A study file ends with a call of `main` under `if __name__ == "__main__"`, and is run as Python itself would run it: the
same options, the same output, whatever it registers. Nothing of it is imported to list studies.
"""

import ast
import re
import runpy
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from traceback import walk_tb
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem, ShellComplete

from orchestrator.commands.broken_file import ends_itself, fault, from_here, refuse_name
from orchestrator.commands.verbs import COMMANDS
from orchestrator.commands.version import version_line
from orchestrator.errors import UserError, reason, unknown
from orchestrator.study.study import Study
from studies.completion import register_shells

_NAME = "sortednet-studies"
_RUNS = re.compile(r"^    main\(", re.MULTILINE)


def main() -> NoReturn:
    """Exits with the study's status, or 2 where none is found."""
    register_shells()
    try:
        sys.exit(_command().main(prog_name=_NAME, standalone_mode=False) or 0)
    except click.Abort:
        sys.exit(130)
    except (click.ClickException, UserError) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"error: {' '.join(text.split())}", file=sys.stderr)
        sys.exit(2)


def packaged() -> dict[str, Path]:
    """The studies of this package, by name."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return {file.stem: file for file in files if _RUNS.search(file.read_text(encoding="utf-8"))}


def _about(file: Path) -> str:
    """The first line of what a study says of itself."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def find(study: str) -> Path:
    """The file of a study, by its path or its name.

    Raises:
        UserError: there is none.
    """
    known = packaged()
    try:
        if (path := Path(study).expanduser()).is_file():
            return path
        if study in known:
            return known[study]
        if path.exists():
            raise UserError(_no_file(path))
    except (OSError, RuntimeError) as error:  # a name that no file can have, a home folder of nobody
        raise UserError(f"{study[:200]}: {reason(error)[:200]}: give the path of a study's file") from error
    if path.suffix or path.parent != Path():
        raise UserError(f"{study[:200]}: no such file; a study is a path, or one of {', '.join(known)}")
    raise unknown("study", study, known)


def _no_file(path: Path) -> str:
    """What a folder, or whatever else is there, is answered with."""
    if not path.is_dir():
        return f"{path} is no file: give that of a study"
    names = (file for file in sorted(path.glob("*.py")) if _RUNS.search(file.read_text("utf-8", "replace")))
    inside = next(names, None)
    return f"{path} is a folder: give the study's file in it" + (f", such as {inside}" if inside else "")


def run_study_file(path: Path, arguments: Sequence[str]) -> NoReturn:
    """As `python PATH ARGUMENTS`, in this process.

    Raises:
        UserError: the file is at fault before it runs a study, or ends without having run one.
    """
    sys.argv = [str(path), *arguments]
    refuse_name(path)
    sys.path.insert(0, str(path.resolve().parent))
    try:
        found = runpy.run_path(str(path), run_name="__main__")
    except Exception as error:
        if _ran(error):  # a fault of what runs the study, which is no line's worth
            raise
        raise UserError(fault(error, path)) from error
    except SystemExit as ending:
        if not _ran(ending) and (why := ends_itself(ending, path)):
            raise UserError(why) from ending
        raise
    raise UserError(_runs_none(path, found))


def _ran(error: BaseException) -> bool:
    """Whether it is of a study that was run, and not of its file."""
    from orchestrator.commands.command_line import main

    return any(frame.f_code is main.__code__ for frame, _ in walk_tb(error.__traceback__))


def _runs_none(path: Path, found: Mapping[str, Any]) -> str:
    if not path.read_bytes().strip():
        return f"{from_here(path)} is empty: docs/own-study.md has a study to begin with"
    named = next((name for name, value in found.items() if isinstance(value, Study)), None)
    what = f"has the study {named} and does not run it" if named else "runs no study"
    return f'{from_here(path)} {what}: end it with a call of main({named or "…"}, …) below if __name__ == "__main__":'


class _Verb(click.Command):
    """A verb of whichever study: what follows the study is its own to read."""

    def __init__(self, verb: str) -> None:
        super().__init__(
            verb,
            params=[
                click.Argument(["study"], shell_complete=_studies_begun),
                click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]", shell_complete=_rest),
            ],
            callback=lambda study, rest: run_study_file(find(study), [verb, *rest]),
            help=f"{COMMANDS[verb]}\n\nSTUDY is a path, or a name; `{verb} STUDY --help` shows its options.",
            short_help=COMMANDS[verb],
            options_metavar="",
            context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return _of_study(ctx, incomplete) if ctx.params.get("study") else super().shell_complete(ctx, incomplete)


def _command() -> click.Group:
    def studies() -> None:
        shown = click.HelpFormatter()
        shown.write_dl([(name, _about(file)) for name, file in packaged().items()])
        click.echo(shown.getvalue(), nl=False)

    def show_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
        if wanted and not ctx.resilient_parsing:
            click.echo(version_line())
            ctx.exit()

    def without_verb() -> None:
        ctx = click.get_current_context()
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())

    listed = click.Command("studies", callback=studies, help="List the studies of this package.")
    return _Verbs(
        _NAME,
        commands={"studies": listed, **{verb: _Verb(verb) for verb in COMMANDS}},
        help="Runs a study of this package by its name, or any study file by its path.",
        options_metavar="",
        subcommand_metavar="VERB STUDY [OPTIONS]",
        invoke_without_command=True,
        callback=without_verb,
        params=[
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=show_version,
                help="The version, and its commit.",
            )
        ],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        epilog="""\b
Examples:
  sortednet-studies studies
  sortednet-studies run cifar_norm_ablation --preset smoke
  sortednet-studies status path/to/my_study.py --watch""",
    )


class _Verbs(click.Group):
    """In the order in which they are given."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and not ctx.resilient_parsing:
            raise unknown("command", cmd_name, self.commands)
        return self.commands.get(cmd_name)


def _studies_begun(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names and study files beside them, or whatever path it may be."""
    names = [name for name in packaged() if name.startswith(incomplete)]
    if names and not Path(incomplete).suffix:
        names += sorted(file.name for file in Path().glob("[!_]*.py") if file.name.startswith(incomplete))
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def _rest(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _of_study(ctx, incomplete)


def _of_study(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """What the study's own command line would have next: its options, presets and levels."""
    from orchestrator.commands.command_line import study_command

    try:
        path = find(ctx.params["study"])
        sys.path.insert(0, str(path.resolve().parent))
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # the shell reads what is answered
            found: dict[str, Any] = runpy.run_path(str(path), run_name="completed")
        study = next(value for value in (found.get("STUDY"), *found.values()) if isinstance(value, Study))
        command = study_command(study, _no_trainer)
    except (Exception, SystemExit):  # somebody's file, while they type: whatever it is, there is nothing to complete
        return []
    words = [ctx.info_name or "", *(ctx.params.get("rest") or ())]
    return ShellComplete(command, {}, "study", "").get_completions(words, incomplete)


def _no_trainer() -> NoReturn:
    raise UserError("completing trains nothing")


if __name__ == "__main__":
    sys.exit(main())
