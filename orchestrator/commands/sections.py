"""How a verb's help is laid out: options by what they are about, then what can be chosen, then what can be pasted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click

from orchestrator.errors import unknown

if TYPE_CHECKING:
    _ChoiceType = click.Choice[str]
else:  # not generic in every click that is supported
    _ChoiceType = click.Choice

_OTHERS = "Options"
_NARROWEST = 20  # characters of what is said of a name


class Option(click.Option):
    """An option that stands under a heading of the help."""

    def __init__(self, *arguments: Any, section: str = _OTHERS, **named: Any) -> None:
        super().__init__(arguments, **named)
        self.section = section


class OneOf(_ChoiceType):
    """One of some names; whoever types another is told the nearest."""

    def __init__(self, kind: str, names: Sequence[str]) -> None:
        super().__init__(list(names))
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        names = [str(choice) for choice in self.choices]
        if value not in names:
            raise unknown(self.kind, str(value), names)
        return str(value)


@dataclass(frozen=True)
class Chapter:
    """A part of a help below the options: a heading, and rows of a name and what is said of it."""

    heading: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Below:
    """What a help has below its options: what can be chosen, and command lines as they can be pasted."""

    chapters: tuple[Chapter, ...] = ()
    examples: tuple[str, ...] = ()


class VerbCommand(click.Command):
    """A command whose options stand under headings, with chapters and examples below them.

    Args:
        below: what stands below the options, asked for when the help is.
    """

    def __init__(self, name: str, below: Callable[[], Below], **named: Any) -> None:
        super().__init__(name, **named)
        self._below = below

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        by_section: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                by_section.setdefault(getattr(param, "section", _OTHERS), []).append(record)
        for section in sorted(by_section, key=lambda section: section == _OTHERS):  # last, else in their order
            with formatter.section(section):
                formatter.write_dl(by_section[section])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_below(formatter, self._below())


def write_below(formatter: click.HelpFormatter, below: Below) -> None:
    """Writes chapters, then examples."""
    for chapter in below.chapters:
        if chapter.rows:
            with formatter.section(chapter.heading):
                _write_rows(formatter, chapter.rows)
    if below.examples:
        with formatter.section("Examples"):
            for example in below.examples:
                formatter.write("".join(f"  {line}\n" for line in example.splitlines()))


def _write_rows(formatter: click.HelpFormatter, rows: Sequence[tuple[str, str]]) -> None:
    """As `write_dl`, which would break names at their hyphens: they are there to be copied."""
    indent = " " * formatter.current_indent
    column = max(len(name) for name, _ in rows) + 2
    for name, text in rows:
        first, *others = wrap(
            text,
            max(_NARROWEST, formatter.width - len(indent) - column),
            break_on_hyphens=False,
            break_long_words=False,
        ) or [""]
        formatter.write(f"{indent}{name:<{column}}{first}".rstrip() + "\n")
        for line in others:
            formatter.write(f"{indent}{'':<{column}}{line}\n")
