"""Writes a study's report: Markdown, LaTeX, CSV and one self-contained page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from orchestrator.report.figures import accuracy_over_macs, accuracy_over_updates
from orchestrator.report.results import Results
from orchestrator.report.tables import (
    LEDGER_ROWS,
    Table,
    as_latex,
    as_markdown,
    ledger_text,
    make_table,
    read_published,
)
from orchestrator.study import Study

_READINGS = {"updates": "optimizer steps", "passes": "forward-backward passes", "macs": "training multiply-accumulates"}


def write_report(
    study: Study, preset: str, settings: Mapping[str, Any], results: Results, resolved: Mapping[str, str], folder: Path
) -> Table:
    """Fills `folder` with table.md, table.tex, results.csv and index.html; gives the table.

    Args:
        settings: the base settings, as said.
        resolved: the params of a finished trial: dataset, budget and the like, explicit.
    """
    comparable = all(resolved.get(name) == value for name, value in study.published_for.items())
    published = read_published(study.published, results.factors) if study.published and comparable else {}
    unit, amount = resolved.get("budget_unit", "updates"), int(resolved.get("budget", 0))
    budget = f"{amount:.3e}" if unit == "macs" else f"{amount:,}"
    lead = (
        f"{resolved.get('network')} on {resolved.get('dataset')}, preset {preset}: every arm gets {budget} "
        f"{_READINGS.get(unit, unit)}, batch {resolved.get('batch_size')}, {resolved.get('precision')}."
    )
    most, least = int(results.frame.groupby("arm")["seed"].nunique().max()), _fewest(results)
    seeds = f"{most}" if most == least else f"{least} to {most}"
    spread = "one seed, so no spread is known" if most == 1 else f"mean ± SD over n = {seeds} seeds"
    caption = f"{lead} Final test accuracy in per cent, {spread}; the highest mean of each row is bold."
    if published:
        caption += f" {study.published_caption}"
    table = make_table(results, published, caption)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(f"# {study.title}\n\n{as_markdown(table)}")
    (folder / "table.tex").write_text(as_latex(table))
    results.frame.to_csv(folder / "results.csv", index=False)
    environment = Environment(loader=PackageLoader("orchestrator", "report"), autoescape=True)
    about = {**results.about, "settings": json.dumps(dict(settings)), "resolved": json.dumps(dict(resolved))}
    page = environment.get_template("page.html").render(
        title=study.title,
        lead=lead,
        incomplete=_incomplete(results),
        table=table,
        ledger_rows=LEDGER_ROWS,
        ledger_text=ledger_text,
        failures=results.failures,
        about=sorted(about.items()),
        plotly_js=Markup(get_plotlyjs()),
        over_macs=_embedded(accuracy_over_macs(results)),
        over_updates=_embedded(accuracy_over_updates(results)),
    )
    (folder / "index.html").write_text(page)
    return table


def _fewest(results: Results) -> int:
    return int(results.frame.groupby("arm")["seed"].nunique().min())


def _incomplete(results: Results) -> str:
    parts = []
    if results.unfinished:
        parts.append(f"{results.unfinished} trials are not finished")
    if results.failures:
        parts.append(f"{len(results.failures)} failed (below)")
    return f"Incomplete: {' and '.join(parts)}." if parts else ""


def _embedded(figure: go.Figure) -> Markup:
    """The figure's division. Plotly writes its data as JSON with `<`, `>` and `&` escaped."""
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False}))
