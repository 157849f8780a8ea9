"""Command lines of a study that can be pasted: made of its own presets, factors and levels."""

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from orchestrator.commands.broken_file import from_here
from orchestrator.study.study import Factor, Study

_WIDTH = 78  # of a help on a terminal of 80 columns


def examples(study: Study, verb: str) -> list[str]:
    """Three command lines of a verb, or fewer where a study has nothing to compare."""
    return [pasted(program(), [verb, *arguments]) for arguments in _arguments(study)[verb] if arguments is not None]


def program() -> list[str]:
    """How the study's file is started from where the user is."""
    python = Path(sys.executable)
    found = shutil.which("python")
    if found is not None and Path(found).absolute() == python.absolute():
        return ["python", study_file()]
    return [from_here(python), study_file()]


def study_file() -> str:
    """From where the user is."""
    return from_here(Path(sys.argv[0]))


def pasted(program: Sequence[str], arguments: Sequence[str]) -> str:
    """A command line as a shell reads it, on several lines where it is long."""
    lines = [shlex.join(program)]
    for word in _with_their_values(arguments):
        fits = len(lines[-1]) + 1 + len(word) + 2 <= _WIDTH  # and room for the backslash
        lines[-1:] = [f"{lines[-1]} {word}"] if fits else [f"{lines[-1]} \\", f"  {word}"]
    return "\n".join(lines)


def _with_their_values(arguments: Sequence[str]) -> list[str]:
    """Words as a shell reads them, an option and its value as one."""
    found: list[str] = []
    for before, word in pairwise(["", *arguments]):
        quoted = shlex.quote(word)
        if before.startswith("--") and not word.startswith("--"):
            found[-1] += f" {quoted}"
        else:
            found.append(quoted)
    return found


def _arguments(study: Study) -> Mapping[str, list[list[str] | None]]:
    """By verb; None for what the study has no levels for."""
    first, *others = study.presets
    preset = others[0] if others else first
    of_preset = ["--preset", preset]
    one = ["--only", _level(study.factors[0], 0)]
    arm = ["--only", ",".join(_level(factor, 0) for factor in study.factors)]
    setting = ["--set", _setting(study, preset)] if _setting(study, preset) else []
    return {
        "run": [of_preset, [*of_preset, *one, "--seeds", "3"], [*of_preset, *setting, "--max-concurrent", "2"]],
        "plan": [of_preset, [*of_preset, "--seeds", "5"], [*of_preset, *one, "--json"]],
        "status": [of_preset, [*of_preset, "--watch"], [*of_preset, *one, "--json"]],
        "report": [of_preset, [*of_preset, *one], [*of_preset, "--storage", "runs"]],
        "compare": _comparisons(study, of_preset),
        "settings": [[], ["rate"], [*of_preset, "--json"]],
        "extract": [
            [*of_preset, *arm, "--max-macs", "5e6", "--to", "sub_model"],
            [*of_preset, *arm, "--max-params", "1e5", "--to", "sub_model"],
            [*of_preset, *arm, "--max-macs", "5e6", "--max-params", "1e5", "--to", "sub_model"],
        ],
        "list": [[], ["--storage", "runs"], ["--json"]],
        "clean": [[], ["--what", "unfinished"], ["--what", "unreferenced", "--yes"]],
        "submit": [
            ["--address", "http://HEAD:8265", "--storage", "/shared/runs", *more]
            for more in (of_preset, [*of_preset, "--no-wait"], [*of_preset, "--pip"])
        ],
    }


def _comparisons(study: Study, of_preset: list[str]) -> list[list[str] | None]:
    """Of two levels of the first factor that has them, alone, and of whole arms where there is another factor."""
    pair = next(
        (factor for factor in study.factors if len(_usual(factor)) > 1 and factor.name not in study.splits), None
    )
    if pair is None:
        return []
    sides = [_level(pair, 0), _level(pair, 1)]
    others = [_level(factor, 0) for factor in study.factors if factor is not pair]
    arms = [",".join([side, *others]) for side in sides]
    return [[*of_preset, *sides], [*of_preset, *arms] if others else None, [*of_preset, *sides, "--json"]]


def _usual(factor: Factor) -> list[str]:
    return list(factor.usual or factor.levels)


def _level(factor: Factor, place: int) -> str:
    return f"{factor.name}={_usual(factor)[place]}"


def _setting(study: Study, preset: str) -> str:
    """A number that a preset sets, as `--set` takes it."""
    numbers = [
        f"{name}={value}"
        for name, value in study.presets[preset].settings.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return numbers[0] if numbers else ""
