"""The command line that every study file shares: a verb, `run` unless another is said, and its options."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import click

from orchestrator.commands.broken_file import check_call, fault, from_here, is_of_file
from orchestrator.commands.examples import examples, study_file
from orchestrator.commands.sections import Below, Chapter, Option, write_below
from orchestrator.commands.shared_options import levels_chapter, presets_chapter
from orchestrator.commands.streams import outlive_streams
from orchestrator.commands.verbs import COMMANDS, all_shown, verbs
from orchestrator.errors import Stopped, UserError, reason, unknown
from orchestrator.run.environment import keep_files_in_utf_8
from orchestrator.run.legible import legible
from orchestrator.run.patience import is_store_error
from orchestrator.secrecy.redaction import remember, without_passwords
from orchestrator.study.study import Layout, Study
from orchestrator.trainer import MakesTrainer

__all__ = ["COMMANDS", "main", "run", "study_command"]
_USUAL = "run"
_HELP = ("-h", "--help")
_VERSION = "--version"
_OF_THE_WHOLE = (*_HELP, _VERSION)


def main(study: Study, trainer: MakesTrainer) -> NoReturn:
    """Runs a study file's command line and exits: 0 done, 1 a trial failed, 2 bad input, 130 interrupted.

    Args:
        trainer: what trains, or what makes it, called once a command is known to need it.

    Raises:
        UserError: the file is imported and calls this all the same, or for another study as well; it is no study that
            is given, or nothing that could train it.
    """
    caller = sys._getframe(1)
    file = Path(caller.f_code.co_filename)
    try:
        check_call(caller)
        _check_given(study, trainer, f"{from_here(file)}, line {caller.f_lineno}")
    except UserError as error:
        if caller.f_globals.get("__name__") != "__main__":
            raise
        print(f"error: {without_passwords(str(error))}", file=sys.stderr)
        sys.exit(2)
    sys.excepthook = _show_fault
    outlive_streams()
    keep_files_in_utf_8()
    try:
        status = run(study, trainer, sys.argv[1:])
    except Exception as error:
        if not is_of_file(error, file):  # a fault of ours, with its traceback
            raise
        print(f"error: {fault(error, file)}", file=sys.stderr)
        status = 2
    sys.exit(status)


def run(study: Study, trainer: MakesTrainer, arguments: list[str]) -> int:
    """As `main`, for given arguments; gives the exit status."""
    command = study_command(study, trainer)
    try:
        for argument in arguments:
            remember(argument)
            if not argument.isprintable():
                raise UserError(f"{ascii(argument)[:80]}: an argument of characters that cannot be printed")
        result = command.main(
            arguments, prog_name=study_file(), standalone_mode=False, obj=(f"{study.name}.py", *arguments)
        )
        status = result if isinstance(result, int) else 0
        return all_shown(status) if set(_HELP) & set(arguments) else status
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        print(f"error: {without_passwords(' '.join(command.in_words(error).split()))}", file=sys.stderr)
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


def _check_given(study: object, trainer: object, where: str) -> None:
    """Raises `UserError` for what is no study, or cannot be what trains it."""
    if isinstance(study, Study):
        if callable(trainer) or hasattr(trainer, "fit"):
            return
        what, wanted = trainer, "what trains belongs, as image_trainer"
    else:
        what, wanted = study, "a Study belongs: STUDY = Study(name=…, …), one in a file"
    shown = legible(" ".join(repr(what).split()), 80)
    raise UserError(f"{where}: main(…) is given {shown} ({type(what).__name__}) where {wanted}")


def _show_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A fault of ours as Python shows it, but for passwords: libraries quote the addresses that they were given."""
    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(without_passwords("".join(lines)))


class StudyCommand(click.Group):
    """All verbs of a study. One is found wherever it stands among the options, and is `run` where none does."""

    def __init__(self, study: Study, trainer: MakesTrainer) -> None:
        super().__init__(
            study.name,
            commands=verbs(study, trainer),
            help=f"{study.title}.\n\nWithout a verb the study is run. VERB --help says what a verb takes.",
            options_metavar="",
            subcommand_metavar="[VERB] [OPTIONS]",
            params=[_version()],
            context_settings={"help_option_names": [*_HELP], "max_content_width": 100},
        )
        self._study = study

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._verb_first(args, ctx.resilient_parsing))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and not ctx.resilient_parsing:
            raise unknown("command", cmd_name, [*self.commands, "--help"])
        return self.commands.get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._study.check(Layout(baseline=self._study.baseline))
        chapters = (
            Chapter("Verbs", tuple(COMMANDS.items())),
            presets_chapter(self._study),
            levels_chapter(self._study),
        )
        write_below(formatter, Below(chapters))
        click.Command.format_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown = [*examples(self._study, "run")[:1], *(examples(self._study, verb)[0] for verb in ("plan", "status"))]
        write_below(formatter, Below(examples=tuple(shown)))

    def in_words(self, error: click.ClickException) -> str:
        """What click found wrong; of an option that other verbs have, which, and else the nearest that there is."""
        if not isinstance(error, click.NoSuchOption) or error.ctx is None:
            return error.format_message()
        option, verb = error.option_name, error.ctx.info_name
        if having := [name for name, command in self.commands.items() if option in _names(command)]:
            return f"{verb} has no {option}, only {' and '.join(having)}: leave it out"
        return str(unknown("option", option, _names(error.ctx.command)))

    def _verb_first(self, arguments: Sequence[str], completing: bool) -> list[str]:
        """The same words with the verb in front of them."""
        if all(word in _OF_THE_WHOLE for word in arguments) and (arguments or completing):
            return list(arguments)
        if _VERSION in arguments and not completing:
            return [_VERSION]
        places = list(self._outside_options(arguments))
        if not places:
            return list(arguments) if completing else [_USUAL, *arguments]
        place, *others = places
        if not completing:
            self._refuse_another_verb(arguments[place], [arguments[other] for other in others])
        return [arguments[place], *arguments[:place], *arguments[place + 1 :]]

    def _refuse_another_verb(self, verb: str, words: Sequence[str]) -> None:
        takes = [each for each in getattr(self.commands.get(verb), "params", ()) if isinstance(each, click.Argument)]
        if verb in self.commands and not takes and (second := next((w for w in words if w in self.commands), None)):
            raise UserError(f"{verb} and {second} are two verbs: give one")

    def _outside_options(self, arguments: Sequence[str]) -> Iterator[int]:
        """The places of words that are neither options nor their values."""
        flags = {name for command in self.commands.values() for name in _names(command, flags=True)} | {*_OF_THE_WHOLE}
        known = {name for command in self.commands.values() for name in _names(command)}
        place = 0
        while place < len(arguments) and (word := arguments[place]) != "--":
            following = arguments[place + 1] if place + 1 < len(arguments) else ""
            if not word.startswith("-") or word == "-":
                yield place
            elif word in flags or "=" in word:
                pass
            elif word in known or not (following in self.commands or following.startswith("-")):
                place += 1  # past its value
            place += 1


def study_command(study: Study, trainer: MakesTrainer) -> StudyCommand:
    """A study's command line, as click has it: to complete it, or to parse what is not to be run."""
    return StudyCommand(study, trainer)


def _names(command: click.Command, flags: bool = False) -> list[str]:
    """What a verb's options are called; or only those without a value."""
    options = [each for each in command.params if isinstance(each, click.Option) and (each.is_flag or not flags)]
    return [name for option in options for name in option.opts]


def _version() -> Option:
    def show(ctx: click.Context, param: click.Parameter, wanted: Any) -> None:
        if wanted and not ctx.resilient_parsing:
            from orchestrator.commands.version import version_line

            print(version_line())
            ctx.exit()

    return Option(
        _VERSION, is_flag=True, is_eager=True, expose_value=False, callback=show, help="The version, and its commit."
    )
