"""The options that several verbs have, each said once."""

from pathlib import Path

import click

from orchestrator.commands.level_choices import completed_levels
from orchestrator.commands.numbers import LONGEST_SECONDS, SHARES, Decimal, WholeNumber
from orchestrator.commands.sections import Chapter, OneOf, Option
from orchestrator.study.study import DESIGNS, Factor, Study

UNITS = ("updates", "passes", "macs")
_COMPARED, _KEPT, _RUNS, _SENT = "What is compared", "Where it is kept", "Where and how trials run", "What is sent"


def preset_option(study: Study) -> Option:
    """Which scale."""
    return Option(
        "--preset",
        type=OneOf("preset", list(study.presets)),
        default=next(iter(study.presets)),
        show_default=True,
        help="The scale: base settings and a number of seeds.",
        section=_COMPARED,
    )


def base_options(study: Study) -> list[click.Parameter]:
    """A preset, and what is changed of it."""
    return [
        preset_option(study),
        Option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change a setting; repeatable. The verb `settings` lists them.",
            section=_COMPARED,
        ),
        Option("--dataset", metavar="NAME", help="Short for --set dataset=NAME.", section=_COMPARED),
        Option(
            "--data",
            type=click.Path(path_type=Path),
            metavar="PATH",
            help="A folder or archive in which the data lie, or a folder to put them into (default: a cache).",
            section=_COMPARED,
        ),
        Option(
            "--equalize",
            type=OneOf("unit", UNITS),
            help="What every arm gets the same amount of.",
            section=_COMPARED,
        ),
    ]


def layout_options(study: Study) -> list[click.Parameter]:
    """Which arms, and how often each is trained."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return completed_levels(incomplete, study.factors)

    return [
        Option("--seeds", metavar="N|LIST", help="How many seeds (3), or which (0,1,2).", section=_COMPARED),
        Option(
            "--only",
            multiple=True,
            metavar="FACTOR=LEVEL,…",
            help="Keep these levels of their factors alone; repeatable. Levels are listed below.",
            shell_complete=complete,
            section=_COMPARED,
        ),
        Option(
            "--design",
            type=OneOf("design", DESIGNS),
            default=DESIGNS[0],
            show_default=True,
            help="How factors combine.",
            section=_COMPARED,
        ),
        Option(
            "--baseline",
            multiple=True,
            metavar="FACTOR=LEVEL,…",
            help="What arms are compared with; repeatable.",
            shell_complete=complete,
            section=_COMPARED,
        ),
    ]


def store_options() -> list[click.Parameter]:
    """Where a study is kept."""
    return [
        Option(
            "--storage",
            default="./runs",
            show_default=True,
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Checkpoints, MLflow's database, reports.",
            section=_KEPT,
        ),
        Option(
            "--tracking-uri",
            metavar="URI",
            help="Another MLflow store (default: $MLFLOW_TRACKING_URI, else SQLite in the storage).",
            section=_KEPT,
        ),
    ]


def share_options() -> list[click.Parameter]:
    """What trials are given, of which a plan can tell how long they take."""
    return [
        Option(
            "--address",
            metavar="auto|HOST:PORT",
            help="A Ray cluster (default: start one here).",
            section=_RUNS,
        ),
        *shares(),
    ]


def shares() -> list[click.Parameter]:
    """What a trial is given."""
    return [
        Option(
            "--max-concurrent",
            type=WholeNumber(1, 1_000_000),
            metavar="N",
            help="Trials at once, at most.",
            section=_RUNS,
        ),
        Option(
            "--cpus-per-trial",
            type=Decimal(*SHARES),
            default=1.0,
            show_default=True,
            metavar="N",
            help="Processor cores, a thread for each.",
            section=_RUNS,
        ),
        Option(
            "--gpus-per-trial",
            type=Decimal(*SHARES, or_zero=True),
            metavar="X",
            help="A part of one, or whole GPUs (default: 1 where there is a GPU).",
            section=_RUNS,
        ),
    ]


def training_options() -> list[click.Parameter]:
    """How trials are run, and what is done when something fails."""
    return [
        Option(
            "--until-separated",
            is_flag=True,
            help="Train seeds until every comparison is decided by a sequential test: at most --seeds, or 20.",
            section=_COMPARED,
        ),
        Option(
            "--pack",
            is_flag=True,
            help="Measure first how many trials at once do most work, and run so many.",
            section=_RUNS,
        ),
        Option(
            "--patience",
            type=Decimal(0, LONGEST_SECONDS),
            default=600.0,
            show_default=True,
            metavar="SECONDS",
            help="How long the tracking store may fail, while training goes on, before the study stops.",
            section=_RUNS,
        ),
        Option(
            "--stall",
            type=Decimal(1, LONGEST_SECONDS),
            default=1800.0,
            show_default=True,
            metavar="SECONDS",
            help="How long a trial may be silent before it is ended as hung, and goes on from its checkpoint.",
            section=_RUNS,
        ),
    ]


def sending_options() -> list[click.Parameter]:
    """What goes to a cluster."""
    return [
        Option(
            "--include",
            multiple=True,
            metavar="NAME",
            help="A file or pattern, from the top of the tree, to send though it looks secret; repeatable.",
            section=_SENT,
        )
    ]


def json_option() -> Option:
    """For programs."""
    return Option("--json", "as_json", is_flag=True, help="Print it as JSON, for programs.")


def presets_chapter(study: Study) -> Chapter:
    """What the presets are about."""
    return Chapter("Presets", tuple((name, preset.about) for name, preset in study.presets.items()))


def levels_chapter(study: Study) -> Chapter:
    """Every level that can be asked for."""
    return Chapter("Factors and their levels", tuple((factor.name, _levels(factor)) for factor in study.factors))


def _levels(factor: Factor) -> str:
    usual = list(factor.usual or factor.levels)
    others = [level for level in factor.levels if level not in usual]
    return ", ".join(usual) + (f"; if asked for: {', '.join(others)}" if others else "")
