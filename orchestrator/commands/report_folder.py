"""Where a report lies: each in a folder of its own, named by what its command line changed.

`reports/STUDY/PRESET` is the report of a preset as it is. One of fewer arms, or of other settings, would otherwise
overwrite it; so what differs is in the folder's name, as `--only` and `--set` take it:
`smoke,norm=instance,budget.updates=40`.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from orchestrator.secrecy.redaction import without_passwords
from orchestrator.study.levels import level_name
from orchestrator.study.plan import Plan
from orchestrator.study.study import Layout

_MARK = "study.json"  # in the report's folder: which study it is of
_UNSAFE = re.compile(r"[^A-Za-z0-9._=,+-]+")  # on some file system, in an address, or for a shell
_LONGEST = 100  # characters of a folder's name


def report_folder(plan: Plan, storage: Path) -> Path:
    """Where the plan's report lies, or is to be written."""
    reports = storage / "reports" / plan.study.name
    folder = reports / _named([plan.preset, *_arms(plan), *_settings(plan)])
    if _is_free(folder, plan):
        return folder
    factors = "+".join(factor.name for factor in plan.study.factors)
    return reports / _named([plan.preset, f"by-{factors}", *_arms(plan), *_settings(plan)])


def report_name(plan: Plan) -> str:
    """What the report is called among the artifacts of its base config's run, whose settings are its own."""
    return _named(["report", *_arms(plan)])


def mark(folder: Path, plan: Plan) -> None:
    """Says in a report's folder which study it is of."""
    (folder / _MARK).write_text(json.dumps(_known_by(plan), indent=2) + "\n")


def _is_free(folder: Path, plan: Plan) -> bool:
    """Whether no other study of the same name has its report there, as far as can be seen."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        there = json.loads((folder / _MARK).read_text())
        return bool(there["factors"] == _known_by(plan)["factors"])
    return True


def _known_by(plan: Plan) -> dict[str, object]:
    return {
        "study": plan.study.name,
        "title": plan.study.title,
        "factors": [factor.name for factor in plan.study.factors],
        "preset": plan.preset,
        "base_key": plan.base_key,
        "arms": [arm.label for arm in plan.arms],
    }


def _arms(plan: Plan) -> Iterator[str]:
    """What of the arms, and of what they are compared with, is not as the preset has it."""
    study, layout = plan.study, plan.layout
    usual = Layout(baseline=study.baseline, only=study.presets[plan.preset].only)
    if [arm.levels for arm in study.arms({}, usual)] != [arm.levels for arm in plan.arms]:
        if layout.design != usual.design:
            yield layout.design
        asked, before = _by_factor(layout.only), _by_factor(usual.only)
        yield from (
            f"{factor}={level}" for factor, level in dict.fromkeys(layout.only) if asked[factor] != before.get(factor)
        )
    if dict(layout.baseline) != dict(usual.baseline):
        yield "against"
        yield from (f"{factor}={level}" for factor, level in layout.baseline.items())


def _by_factor(levels: Sequence[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for factor, level in levels:
        found.setdefault(factor, set()).add(level)
    return found


def _settings(plan: Plan) -> Iterator[str]:
    """The settings that are not the preset's."""
    for name, value in sorted(plan.changed.items()):
        yield f"{name}={level_name(value)}"


def _named(parts: list[str]) -> str:
    """A folder's name; where it cannot say all of it, with a digest of the whole."""
    whole = without_passwords(",".join(parts))
    plain = _UNSAFE.sub("-", whole)
    if plain == whole and len(whole) <= _LONGEST:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{plain[: _LONGEST - len(digest) - 1].rstrip('-')}-{digest}"
