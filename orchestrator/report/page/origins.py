"""Where a report's numbers come from, as tables: settings, versions, commit, data, command line."""

from collections.abc import Mapping

from orchestrator.report.page.sheet import Group, Row, Sheet, words
from orchestrator.report.settings import given_settings, in_text, shared_settings
from orchestrator.study.plan import Plan

_VARIED = "differs between arms"


def settings_sheet(plan: Plan) -> Sheet:
    """Every setting with its value and who gave it; a group for each part of the config."""
    given, shared = given_settings(plan), shared_settings(plan)
    groups: dict[str, list[Row]] = {}
    for name in sorted(given.keys() | shared.keys()):
        value = in_text(shared[name]) if name in shared else _VARIED
        part = name.rpartition(".")[0]
        groups.setdefault(part, []).append(
            Row(name, (words(value), words("preset or --set" if name in given else "default")))
        )
    listed = tuple(Group("", tuple(rows)) for _, rows in sorted(groups.items()))
    return Sheet("Settings before a factor changes them", "setting", ("value", "from"), listed, texts=True)


def origins_sheet(about: Mapping[str, str]) -> Sheet:
    """What the trials say of where they come from; a group for each kind of thing."""
    groups: dict[str, list[Row]] = {}
    for name, value in sorted(about.items()):
        groups.setdefault(name.partition(".")[0], []).append(Row(name, (words(value),)))
    listed = tuple(Group("", tuple(rows)) for rows in groups.values())
    return Sheet("Provenance of the trials", "what", ("value",), listed, texts=True)
