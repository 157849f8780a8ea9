"""The command that lists what `--set` takes: every setting with its value, what it may be and what it does."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.padding import Padding
from rich.text import Text

from orchestrator.commands.console import plain_console
from orchestrator.errors import UserError, nearest
from orchestrator.setting import Setting
from orchestrator.study.levels import level_name
from orchestrator.study.study import Study
from orchestrator.trainer import Trainer


def show_settings(study: Study, trainer: Trainer, preset: str, word: str, as_json: bool) -> int:
    """Prints the settings in whose name or meaning a word is; all of them without one.

    Raises:
        UserError: there are none; the trainer says nothing of its settings.
    """
    known = list(trainer.settings())
    if not known:
        raise UserError(f"settings: {trainer.name} does not say what may be set")
    values = {name: level_name(value) for name, value in trainer.full_names(study.presets[preset].settings).items()}
    varied = _varied(study, trainer)
    found = _with(word, known)
    if as_json:
        print(
            json.dumps(
                {
                    "study": study.name,
                    "preset": preset,
                    "settings": [
                        asdict(each) | {"value": values.get(each.name), "varied_by": varied.get(each.name)}
                        for each in found
                    ],
                }
            )
        )
        return 0
    console = plain_console()
    console.print(f"What --set takes of {study.name}, with its values in preset {preset}. A short name will do.")
    part = ""
    for each in found:
        if (whole := each.name.partition(".")[0]) != part:
            part = whole
            console.print()
        by = varied.get(each.name)
        value = f"varied by {by}: choose by --only" if by else values.get(each.name, each.default)
        console.print(Text.assemble((each.name, "bold"), " = ", value))
        for line in _lines(each, set_by_preset=each.name in values and not by):
            console.print(Padding(line, (0, 0, 0, 4)) if console.is_terminal else f"    {line}")
    return 0


def _lines(setting: Setting, set_by_preset: bool) -> Iterator[str]:
    """What is said below a setting's name."""
    short = [f"short: {setting.short}"] if setting.short != setting.name else []
    usual = [f"default: {setting.default}"] if set_by_preset else []
    unit = f" ({setting.unit})" if setting.unit else ""
    yield "; ".join([f"{setting.takes}{unit}", *usual, *short])
    yield setting.about


def _with(word: str, known: Sequence[Setting]) -> list[Setting]:
    """Those in whose names, meaning or choices the word is.

    Raises:
        UserError: none; names the nearest.
    """
    said = word.casefold()
    found = [
        each
        for each in known
        if any(said in text.casefold() for text in (each.name, each.short, each.about, each.unit, *each.choices))
    ]
    if found:
        return found
    names = [name for each in known for name in (each.short, each.name)]
    near = nearest(word, names)
    hint = f"did you mean {near!r}?" if near else "leave the word out for all of them"
    raise UserError(f"settings: none has {word[:80]!r} in its name or meaning: {hint}")


def _varied(study: Study, trainer: Trainer) -> dict[str, str]:
    """The factor that varies a setting, by the setting's full name; the study's levels decide on these."""
    return {
        name: factor.name
        for factor in study.factors
        for level in factor.levels.values()
        for name in trainer.full_names(level)
    }
