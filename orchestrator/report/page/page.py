"""Puts the page together: what it says, in which order, and what is folded until a reader opens it."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.report.across import TaskTable
from orchestrator.report.answer import Answer
from orchestrator.report.figures.themes import DARK, LIGHT, template
from orchestrator.report.page import origins, sheets
from orchestrator.report.page.plot import Plot, compressed_plotly
from orchestrator.report.results import Results
from orchestrator.report.tables import Table
from orchestrator.study.plan import Plan

_MOST_ROWS = 12  # of a table of comparisons that is open from the start
_MOST_FIGURES = 4  # that are open from the start
_MOST_LINES = 6  # beside the answer, that are open from the start


@dataclass(frozen=True)
class Notice:
    """What a reader must know before a number, and the section that says more; empty without one."""

    text: str
    section: str


@dataclass(frozen=True)
class Findings:
    """All that a page shows.

    Attributes:
        answer: in words, before everything else.
        task_tables: across tasks; they come before the tables.
        tables: one per facet.
        plots: the figures, those of one table with its name.
        pareto: `facet`, `arm`, `sub_model`, `macs`, `parameters` and `value` of what nothing beats at no more cost.
        decided: where seeds were added until arms were separated, the rule and what it decided, a line each.
    """

    plan: Plan
    results: Results
    answer: Answer
    task_tables: Sequence[TaskTable]
    tables: Sequence[Table]
    plots: Sequence[Plot]
    pareto: pd.DataFrame
    decided: Sequence[str] = ()


def render_page(found: Findings) -> str:
    """The page: one file of HTML that needs nothing else, neither beside it nor from a network."""
    environment = Environment(
        loader=PackageLoader("orchestrator.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plan, results = found.plan, found.results
    return environment.get_template("page.html").render(
        title=plan.study.title,
        lead=f"Preset {plan.preset}, {plan.layout.design} design.",
        found=found,
        results=results,
        metric=results.metric,
        summaries=[*map(sheets.task_summary, found.task_tables)] or [sheets.summary(found.tables)],
        sheets=sheets,
        pareto=sheets.pareto_set(found.pareto, results.metric),
        settings=origins.settings_sheet(plan),
        origins=origins.origins_sheet(results.about),
        left_out=left_out(results.unpaired),
        notices=notices(results),
        most_rows=_MOST_ROWS,
        most_figures=_MOST_FIGURES,
        most_lines=_MOST_LINES,
        themes={"light": template(LIGHT).to_plotly_json(), "dark": template(DARK).to_plotly_json()},
        style=_source("page.css"),
        script=_source("page.js"),
        plotly=Markup(compressed_plotly()),
    )


def notices(results: Results) -> list[Notice]:
    """What is missing from the numbers or not as they are, counted, each with the section that says more."""
    found = [
        Notice(_counted(results.unfinished, "not finished"), ""),
        Notice(_counted(len(results.failures), "failed"), "failures"),
        Notice(_counted(len(results.unpaired), "left out"), "left-out"),
        Notice(_counted(len(results.diverged), "diverged"), "diverged"),
    ]
    return [notice for notice in found if notice.text]


def _counted(count: int, what: str) -> str:
    """`2 trials failed`; empty for none."""
    return f"{count} trial{'s' * (count > 1)} {what}" if count else ""


def left_out(labels: Sequence[str]) -> list[str]:
    """Trials without a partner, by what they lack: `seed 3: NS · batch, NS · instance`."""
    seeds: dict[str, list[str]] = {}
    for label in labels:
        arm, _, seed = label.rpartition(" · seed ")
        seeds.setdefault(seed, []).append(arm)
    return [f"seed {seed}: {', '.join(arms)}" for seed, arms in seeds.items()]


def _source(name: str) -> Markup:
    """A file of this package that goes into the page as it is."""
    return Markup((files(__package__) / "templates" / name).read_text(encoding="utf-8"))
