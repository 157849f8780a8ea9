"""A study's results for a notebook: read from the tracker as the report reads them, by one call. Nothing is trained.

from orchestrator import results

found = results(STUDY, image_trainer, preset="quick", storage="runs")
found.frame, found.table(), found.figure("cost")
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.commands.level_choices import chosen_levels
from orchestrator.errors import UserError, unknown
from orchestrator.run.environment import silence_mlflow
from orchestrator.secrecy.redaction import shown_address
from orchestrator.study.plan import Plan, make_plan
from orchestrator.study.study import Layout, Study
from orchestrator.track.sqlite_address import address_of, file_of
from orchestrator.trainer import MakesTrainer, made_trainer

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from orchestrator.report.across import TaskTable
    from orchestrator.report.answer import Answer
    from orchestrator.report.drawing import Drawing
    from orchestrator.report.results import Results
    from orchestrator.report.sequential import Looks
    from orchestrator.report.tables import Cell, Table

_BOLD = "\ue000", "\ue001"  # of Unicode's private use, which no name has: names are escaped, what is bold is not


@dataclass(frozen=True, repr=False)
class Reading:
    """What a study has found so far, as words, numbers, tables and figures.

    Attributes:
        results: all that the report is made of, failures and what was left out included.
        looks: when arms were compared, where seeds were added until they were separated.
    """

    plan: Plan
    results: "Results"
    looks: "Looks | None" = None

    @property
    def frame(self) -> "pd.DataFrame":
        """A row per finished trial × sub-model, as results.csv: factors, seed, costs, every metric, update counts."""
        return self.results.frame

    @property
    def curves(self) -> "pd.DataFrame":
        """A row per finished trial × evaluation × sub-model: the primary metric over training."""
        return self.results.curves

    @cached_property
    def tables(self) -> "list[Table]":
        """The report's tables, one unless a factor splits them."""
        from orchestrator.report.writer import make_tables

        return make_tables(self.plan, self.results, self.looks)

    @cached_property
    def answer(self) -> "Answer":
        """What stands first in the report: `answer.headline`, `answer.details`."""
        from orchestrator.report.answer import make_answer
        from orchestrator.report.sequential import asked_for, judge

        looks, results = self.looks, self.results
        verdicts = [] if looks is None else judge(asked_for(results, looks.order), looks)
        return make_answer(results, self.tables, self._task_tables, self.plan.study.curve, verdicts)

    def table(self) -> "pd.DataFrame":
        """Means ± SD over seeds as text: a row per sub-model, largest first, and their average; a column per arm.

        Where the report has several tables, the first level of the index names them. `attrs["caption"]` says of what
        the means are, and what decided on them.
        """
        return self._table(lambda cell: "–" if cell is None else cell.text)

    def _table(self, text: "Callable[[Cell | None], str]") -> "pd.DataFrame":
        import pandas as pd

        parts = {}
        for table in self.tables:
            cells = {arm: [text(table.cells.get((row, arm))) for row in table.rows] for arm in table.arms}
            parts[table.title] = pd.DataFrame(cells, index=pd.Index(table.rows, name="sub-model"))
        whole = parts[""] if list(parts) == [""] else pd.concat(parts, names=["table"])
        whole.attrs["caption"] = " ".join(dict.fromkeys(table.caption for table in self.tables))
        return whole

    @cached_property
    def drawings(self) -> "dict[str, Drawing]":
        """The report's figures by their names, each with its caption and the numbers that it shows."""
        from orchestrator.report.figures import drawings

        drawn = drawings(self.plan, self.results, self.tables, self._task_tables)
        return {drawing.name: drawing for drawing in drawn}

    def figure(self, name: str) -> "go.Figure":
        """One of the report's figures: `cost`, `training`, …

        Raises:
            UserError: there is none of that name; says which there are.
        """
        if name not in self.drawings:
            raise unknown("figure", name, self.drawings)
        return self.drawings[name].figure

    @property
    def _task_tables(self) -> "list[TaskTable]":
        from orchestrator.report.writer import make_task_tables

        return make_task_tables(self.plan, self.results, self.looks)

    def __repr__(self) -> str:
        """The answer and the table; a cell of a notebook that knows no HTML shows them, and `print`."""
        return f"{self.answer.headline}\n\n{self.table().to_string()}"

    def _repr_html_(self) -> str:
        """The answer and the table, bold as in the report, where a notebook shows what a cell gives."""
        table = self._table(
            lambda cell: "–" if cell is None else f"{_BOLD[0]}{cell.text}{_BOLD[1]}" if cell.best else cell.text
        )
        marked = table.to_html().replace(_BOLD[0], "<b>").replace(_BOLD[1], "</b>")
        return f"<p>{escape(self.answer.headline)}</p>{marked}<p>{escape(table.attrs['caption'])}</p>"


def results(
    study: Study,
    trainer: MakesTrainer,
    *,
    preset: str | None = None,
    storage: str | Path = "runs",
    settings: Mapping[str, Any] | None = None,
    only: str = "",
    tracking_uri: str | None = None,
    data: str | Path | None = None,
) -> Reading:
    """Reads what a study has found, from the tracker alone.

    Args:
        trainer: that the study's file names, or what makes it.
        preset: that it was run with; None: the study's first.
        storage, tracking_uri, data: as on the command line.
        settings: as `--set` has changed them.
        only: levels to keep, as `--only` takes them.

    Raises:
        UserError: nothing is there, or what is asked for cannot be; one line that says what to do.
    """
    silence_mlflow()
    chosen = next(iter(study.presets)) if preset is None else preset
    if chosen not in study.presets:
        raise unknown("preset", chosen, study.presets)
    named = chosen_levels("only", only, study.factors) if only else []
    kept = tuple(each for each in study.presets[chosen].only if each[0] not in {factor for factor, _ in named})
    layout = Layout(baseline=study.baseline, only=(*named, *kept))
    made = made_trainer(trainer)
    folder = None if data is None else Path(data).expanduser().resolve()
    plan = make_plan(study, made, chosen, settings or {}, range(study.presets[chosen].seeds), layout, folder)
    return _read(plan, Path(storage).expanduser().resolve(), tracking_uri)


def _read(plan: Plan, storage: Path, tracking_uri: str | None) -> Reading:
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or address_of(storage / "mlflow.db")
    nothing = UserError(
        f"nothing of {plan.study.name} is in {shown_address(uri)}: run the study first, or give storage"
    )
    database = file_of(uri)
    if database is not None and not database.exists():
        raise nothing
    from orchestrator.report.reading import read_results
    from orchestrator.report.sequential import recorded_looks
    from orchestrator.track.tracker import Tracker

    remote = uri.startswith(("http://", "https://"))
    tracker = Tracker(uri, None if remote else storage / "artifacts")
    experiment = tracker.experiment(plan.study.name, create=False)
    if experiment is None:
        raise nothing
    if tracker.parent(experiment, plan.base_key) is None:
        raise UserError(
            f"{plan.study.name} is in {shown_address(uri)}, but not at preset {plan.preset} with these settings: run "
            "it first, or give preset, settings and data as on its command line"
        )
    found = read_results(tracker, experiment, plan)
    return Reading(plan, found, recorded_looks(tracker, experiment, plan.base_key))
