"""The verbs of a study file, each with its own options.

What a verb needs is imported once it is known and its options are good: `--help` and a typo are answered at once.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.examples import examples
from orchestrator.commands.options import Options, parse_options
from orchestrator.commands.sections import Below, Chapter, VerbCommand
from orchestrator.commands.shared_options import (
    base_options,
    json_option,
    layout_options,
    levels_chapter,
    preset_option,
    presets_chapter,
    sending_options,
    share_options,
    store_options,
)
from orchestrator.commands.streams import unshown
from orchestrator.commands.verb_options import (
    WHAT,
    clean_options,
    extract_options,
    report_options,
    run_options,
    sides,
    submit_options,
    watch_option,
    word,
)
from orchestrator.errors import Stopped, UserError
from orchestrator.run.environment import silence_mlflow
from orchestrator.study.plan import Plan, make_plan
from orchestrator.study.study import Layout, Study
from orchestrator.trainer import MakesTrainer, Trainer, made_trainer

COMMANDS = {
    "run": "Train what is missing, then report (the default).",
    "plan": "Show arms, budgets, what is finished and how long the rest may take.",
    "status": "Show where every trial stands; --watch follows it.",
    "report": "Write the tables and the page anew.",
    "compare": "Compare two arms, or two levels, seed by seed.",
    "settings": "List what --set takes, with values and meaning.",
    "extract": "Write one sub-model of a finished trial as a network of its own.",
    "list": "Show what is in the storage: studies, trials, sizes.",
    "clean": "Show what could go from the storage; with --yes, remove it.",
    "submit": "Run it as a job of a Ray cluster.",
}
_MORE = {
    "run": "What is finished is never trained again: the same command goes on after whatever ended it, and with more "
    "seeds or levels it trains only those.",
    "plan": "Nothing is started or written. Once seeds are finished it says how many would separate the arms that "
    "they do not.",
    "status": "From the tracker, and from the study's own --storage, which knows what was killed. With --watch it ends "
    "with the study: 0, or 1 if a trial failed.",
    "report": "From the tracker alone. A report with --only or --set lies in a folder of its own.",
    "compare": "A and B are levels, FACTOR=LEVEL or several with commas, of the same factors; every other factor is "
    "the same on both sides. From the tracker alone: B minus A on the seeds that both have, per sub-model and on "
    "average, and how many seeds would separate them.",
    "settings": "WORD shows those in whose name or meaning it is. Values are the preset's.",
    "extract": "Of one arm, chosen by --only, the first seed that has finished: the sub-model of a label, or the "
    "largest or smallest within bounds.",
    "list": "Whatever studies are in it.",
    "clean": "It never takes what a driver is at.",
    "submit": "The working tree is sent to the cluster's job server, and this command ends with the study's exit "
    "status; the same again attaches to it.",
}
_TRAINING = ("run", "submit")  # what the others are there for is what they show
Act = Callable[[Plan, Trainer, Options], int]
_MakesChapter = Callable[[Study], Chapter]


def verbs(study: Study, trainer: MakesTrainer) -> dict[str, click.Command]:
    """Every verb of a study, by its name.

    Args:
        trainer: what trains, or what makes it, called once a verb is known to need it.
    """
    what = [*base_options(study), *layout_options(study)]
    choices: tuple[_MakesChapter, ...] = (presets_chapter, levels_chapter)

    def verb(
        name: str,
        params: list[click.Parameter],
        callback: Callable[..., int],
        chapters: tuple[_MakesChapter, ...] = choices,
    ) -> click.Command:
        return VerbCommand(
            name,
            partial(_below, study, name, chapters),
            params=params,
            callback=callback,
            help=f"{COMMANDS[name].removesuffix(' (the default).').removesuffix('.')}.\n\n{_MORE[name]}",
            short_help=COMMANDS[name],
        )

    def of_plan(name: str, action: Callable[[Mapping[str, Any]], Act]) -> Callable[..., int]:
        return partial(_act, study, trainer, name, action)

    json = [json_option()]
    found = [
        verb("run", [*what, *store_options(), *run_options(), *sending_options()], of_plan("run", _run)),
        verb("plan", [*what, *store_options(), *share_options(), *json], of_plan("plan", _plan)),
        verb("status", [*what, *store_options(), watch_option(), *json], of_plan("status", _status)),
        verb("report", [*what, *store_options(), *report_options()], of_plan("report", _report)),
        verb(
            "compare",
            [*sides(), *base_options(study), *store_options(), *json],
            partial(_compare, study, trainer),
        ),
        verb("settings", [word(), preset_option(study), *json], partial(_settings, study, trainer), choices[:1]),
        verb("extract", [*what, *store_options(), *extract_options()], of_plan("extract", _extract)),
        verb("list", [*store_options(), *json], partial(_list, study), ()),
        verb("clean", [*store_options(), *clean_options()], partial(_clean, study), ()),
        verb("submit", [*what, *store_options(), *submit_options(), *sending_options()], of_plan("submit", _submit)),
    ]
    return {command.name or "": command for command in found}


def _below(study: Study, verb: str, chapters: tuple[_MakesChapter, ...]) -> Below:
    """Raises `UserError` for a study whose levels could not be shown."""
    study.check(Layout(baseline=study.baseline))
    return Below(tuple(chapter(study) for chapter in chapters), tuple(examples(study, verb)))


def _act(
    study: Study, trainer: MakesTrainer, name: str, action: Callable[[Mapping[str, Any]], Act], **parameters: Any
) -> int:
    """What a verb does with a plan. Options that it has alone are checked before there is one."""
    _prepare()
    options = parse_options(study, name, parameters)
    act = action(parameters)
    plan, made = planned(study, trainer, options)
    status = act(plan, made, options)
    return status if name in _TRAINING else all_shown(status)


def planned(study: Study, trainer: MakesTrainer, options: Options) -> tuple[Plan, Trainer]:
    """The plan that options ask for, and what trains it."""
    base = {**study.presets[options.preset].settings, **options.overrides}
    study.arms(base, options.layout)  # says which level is misspelt, before the trainer is imported
    with _told_on_a_terminal():
        made = made_trainer(trainer)
        plan = make_plan(study, made, options.preset, options.overrides, options.seeds, options.layout, options.data)
    return plan, made


@contextmanager
def _told_on_a_terminal() -> Iterator[None]:
    """What trains takes seconds to import."""
    if not sys.stdout.isatty():
        yield
        return
    from orchestrator.commands.console import plain_console
    from orchestrator.run.waiting import waiting

    with waiting(plain_console(), "Reading the study"):
        yield


def all_shown(status: int) -> int:
    """The exit status of what was to show something.

    Raises:
        Stopped: not all of it could be shown.
    """
    if why := unshown():
        raise Stopped(f"not all of it could be shown: {why}")
    return status


def _prepare() -> None:
    """What every verb needs."""
    _require_home()
    silence_mlflow()


def _require_home() -> None:
    """Ray and MLflow end in a traceback where there is none, as for a container's user without a name."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise UserError("the user has no home folder, which Ray and MLflow need: set HOME to one (HOME=/tmp/me)")


def _run(parameters: Mapping[str, Any]) -> Act:
    from orchestrator.commands.run import run_study

    return run_study


def _plan(parameters: Mapping[str, Any]) -> Act:
    from orchestrator.commands.plan import show_plan

    return show_plan


def _report(parameters: Mapping[str, Any]) -> Act:
    from orchestrator.commands.report import parse_pictures, report_study
    from orchestrator.report.latex_parts import read_parts

    latex = read_parts("--latex", parameters["latex"])
    return partial(report_study, latex=latex, pictures=parse_pictures(parameters))


def _status(parameters: Mapping[str, Any]) -> Act:
    if parameters["watch"]:
        from orchestrator.commands.watching import watch_status

        return watch_status
    from orchestrator.commands.status import show_status

    return show_status


def _extract(parameters: Mapping[str, Any]) -> Act:
    from orchestrator.commands.extract import extract_sub_model, parse_extraction

    return partial(extract_sub_model, extraction=parse_extraction(parameters))


def _submit(parameters: Mapping[str, Any]) -> Act:
    from orchestrator.commands.submit import parse_submission, submit_study

    return partial(submit_study, submission=parse_submission(parameters))


def _compare(study: Study, trainer: MakesTrainer, **parameters: Any) -> int:
    from orchestrator.commands.compare import compare_arms, parse_sides

    _prepare()
    options = parse_options(study, "compare", parameters)
    chosen = parse_sides(study, parameters["first"], parameters["second"])
    plans = [planned(study, trainer, options.at(study, side))[0] for side in chosen]
    return all_shown(compare_arms(plans[0], plans[1], chosen, options))


def _settings(study: Study, trainer: MakesTrainer, **parameters: Any) -> int:
    from orchestrator.commands.settings import show_settings

    _prepare()
    made = made_trainer(trainer)
    status = show_settings(study, made, parameters["preset"], parameters["word"] or "", parameters["as_json"])
    return all_shown(status)


def _list(study: Study, **parameters: Any) -> int:
    from orchestrator.commands.listing import show_storage

    _prepare()
    return all_shown(show_storage(parse_options(study, "list", parameters)))


def _clean(study: Study, **parameters: Any) -> int:
    from orchestrator.commands.clean import clean_storage

    _prepare()
    options = parse_options(study, "clean", parameters)
    return all_shown(clean_storage(study, options, parameters["what"] or WHAT[:1], parameters["yes"]))
