"""The console script `sortednet-studies`: a study of this package by its name, or any study file on the disk.

A study file ends with a call of `main` under `if __name__ == "__main__"`, and is run as Python itself would run it: the
same options, the same output, whatever it registers. Nothing of it is imported to list studies.
"""

import ast
import re
import runpy
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem, ShellComplete

from orchestrator.commands.verbs import COMMANDS
from orchestrator.commands.version import version_line
from orchestrator.errors import UserError, unknown
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
    if (path := Path(study).expanduser()).is_file():
        return path
    if study in known:
        return known[study]
    if path.suffix or path.parent != Path():
        raise UserError(f"{study[:200]}: no such file; a study is a path, or one of {', '.join(known)}")
    raise unknown("study", study, known)


def run_study_file(path: Path, arguments: Sequence[str]) -> NoReturn:
    """As `python PATH ARGUMENTS`, in this process.

    Raises:
        UserError: it ends without having run a study.
    """
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    runpy.run_path(str(path), run_name="__main__")
    raise UserError(f'{path} runs no study: end it with a call of main(…) below if __name__ == "__main__":')


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
        command = study_command(found["STUDY"], _no_trainer)
    except (Exception, SystemExit):  # somebody's file, while they type: whatever it is, there is nothing to complete
        return []
    words = [ctx.info_name or "", *(ctx.params.get("rest") or ())]
    return ShellComplete(command, {}, "study", "").get_completions(words, incomplete)


def _no_trainer() -> NoReturn:
    raise UserError("completing trains nothing")


if __name__ == "__main__":
    sys.exit(main())
