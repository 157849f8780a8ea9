"""What MLflow's page of a study opens with, kept as views of its own: columns, order and charts of a base config.

By itself the page shows no accuracy, charts every metric by its name, and over steps, of which arms take differently
many. A view is a tag of the experiment, as MLflow's own button "Views" writes and lists them; the page's address names
it.
"""

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from orchestrator.declaration import Metric
from orchestrator.study.plan import Plan
from orchestrator.track.limits import VALUE_LIMIT, as_name
from orchestrator.track.metric_names import AVERAGE, TOTAL, MetricNames
from orchestrator.track.tracker import ARM, BASE, FACTOR, OUTCOME, Tracker

TAG = "mlflow.sharedViewState."  # before a view's name
_MOST = 12  # sub-models with a chart and a column of their own
_ALL_SHOWN = 20  # runs in every chart at once


def name_of(preset: str, base_key: str) -> str:
    """By which an address names the view of a base config's trials."""
    return quote(f"{preset}-{base_key[:8]}", safe="")


def page_of(plan: Plan, tracker: Tracker, experiment: str) -> str:
    """The address of the study's runs within MLflow's pages, with the view if there is one.

    The pages for generative AI come up unless it says otherwise.
    """
    page, name = f"#/experiments/{experiment}/runs?workflowType=machine_learning", name_of(plan.preset, plan.base_key)
    known = tracker.client.get_experiment(experiment).tags
    return f"{page}&viewStateShareKey={name}" if f"{TAG}{name}" in known else page


def views_of(plan: Plan) -> dict[str, str]:
    """The experiment's tags that are the views of a base config: of its trials, and of its arms as means over seeds.

    None that were too long for a store.
    """
    name, title = name_of(plan.preset, plan.base_key), f"{plan.preset} · {plan.base_key[:8]}"
    state, arms = _state(plan), {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": ARM}]}
    finished = f"{state['searchFilter']} AND tags.`{OUTCOME}` = 'finished'"
    found = {
        f"{TAG}{name}": _packed(title, state),
        f"{TAG}{name}-arms": _packed(f"{title} · arms", {**state, "searchFilter": finished, "groupBy": arms}),
    }
    return {tag: view for tag, view in found.items() if len(view) <= VALUE_LIMIT}


def _packed(title: str, state: dict[str, Any]) -> str:
    content = zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)
    return json.dumps({"name": title, "createdAt": 0, "state": f"deflate;{base64.b64encode(content).decode()}"})


def _state(plan: Plan) -> dict[str, Any]:
    """As the page's own state is called in MLflow."""
    names, primary = MetricNames(plan.declaration), plan.declaration.primary
    labels = _some(list(dict.fromkeys(cost.label for costs, _ in plan.sub_models for cost in costs)))
    averages = _averages(plan)
    average = [names.kept(each.name) for each in averages]
    metrics = [*average, *(as_name(f"{primary.name}/{label}") for label in labels)]
    if _followed(plan):  # while a trial runs it has no other
        metrics += [names.kept(each.interim) for each in averages if each.interim]
    params = [as_name(f"{FACTOR}{factor.name}") for factor in plan.study.factors]
    widths = {f"metrics.`{name}`": _width(name) for name in metrics}
    widths |= {f"params.`{name}`": _width(name) for name in params}
    columns = [*widths, "params.`seed`", *(f"attributes.`{each}`" for each in ("Dataset", "Models", "Source"))]
    sections = list(_sections(plan, names, labels))
    # By time, trials would lie folded below their base config; and across tables accuracies have no order.
    order = ("tags.`mlflow.runName`", True) if plan.study.facets else (columns[0], not primary.higher_is_better)
    return {
        "searchFilter": f"tags.`{BASE}` = '{plan.base_key}'",
        "orderByKey": order[0],
        "orderByAsc": order[1],
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL" if len(plan.trials) <= _ALL_SHOWN else "FIRST_20_RUNS",
        "compareRunSections": [section.as_dict() for section in sections],
        "compareRunCharts": [chart for section in sections for chart in section.charts()],
        "isAccordionReordered": True,
        "globalLineChartConfig": _axis(plan),
    }


def _width(name: str) -> int:
    """Pixels of a column under a name, so that it is read whole."""
    return 20 + 7 * len(name)


def _axis(plan: Plan) -> dict[str, Any]:
    """Charts run over what every arm gets the same amount of; over steps where that differs or is not counted."""
    units = {trial.budget.unit for trial in plan.trials} & {total.name for total in plan.declaration.totals}
    same = len({trial.budget.unit for trial in plan.trials}) == len(units) == 1
    kept = as_name(f"{TOTAL}/{min(units)}") if same else ""
    return {"xAxisKey": "metric" if same else "step", "selectedXAxisMetricKey": kept, "lineSmoothness": 0}


@dataclass(frozen=True)
class _Section:
    """Charts under one title: those shown, and those that MLflow would add and that say nothing.

    Bars where every trial has a single point.
    """

    number: int
    title: str
    opened: bool
    shown: Sequence[str]
    hidden: Sequence[str] = ()
    bars: bool = False

    def as_dict(self) -> dict[str, Any]:
        always = {"isReordered": True, "deleted": False, "isGenerated": False}
        return {"uuid": f"s{self.number}", "name": self.title, "display": self.opened, **always}

    def charts(self) -> Iterator[dict[str, Any]]:
        for place, metric in enumerate((*self.shown, *self.hidden)):
            yield {
                "type": "BAR" if self.bars else "LINE",
                "uuid": f"s{self.number}c{place}",
                "metricSectionId": f"s{self.number}",
                "metricKey": metric,
                "displayName": metric,
                "deleted": place >= len(self.shown),
                "isGenerated": False,
                "runsCountToCompare": 10,
                "lineSmoothness": 0,
                "scaleType": "linear",
                "xAxisScaleType": "linear",
                "xAxisKey": "step",
                "selectedXAxisMetricKey": "",
                "useGlobalXaxisKey": True,
                "useGlobalLineSmoothing": True,
            }


def _sections(plan: Plan, names: MetricNames, labels: Sequence[str]) -> Iterator[_Section]:
    """The primary metric first, what was done last; before what is of all test examples the curves that are of some."""
    declaration, averages, followed = plan.declaration, _averages(plan), _some(_followed(plan))
    number = 0
    for metric in sorted(declaration.metrics, key=lambda metric: not metric.primary):
        if not metric.per_sub_model:
            continue
        beside = averages if metric.primary else []
        if followed and metric.interim:
            shown = [*(each.interim for each in beside), *(f"{metric.interim}/{label}" for label in followed)]
            yield _Section(number, f"{metric.heading} during training", metric.primary, list(map(names.kept, shown)))
            number += 1
        shown = [*(each.name for each in beside), *(f"{metric.name}/{label}" for label in labels)]
        once = bool(followed and metric.interim)
        yield _Section(number, metric.heading, metric.primary, list(map(names.kept, shown)), bars=once)
        number += 1
    single = [metric for metric in declaration.metrics if not metric.per_sub_model and metric not in averages]
    yield _Section(number, "Training", False, [as_name(metric.name) for metric in single])
    primary, unit = declaration.primary, _axis(plan)["selectedXAxisMetricKey"]
    totals = {as_name(f"{TOTAL}/{total.name}"): total for total in declaration.totals}
    shown = [name for name, total in totals.items() if total.title and name != unit]
    counted = [as_name(f"{declaration.counted}/{label}") for label in labels if declaration.counted]
    yield _Section(number + 1, "Ledger", False, [*shown, *counted], [name for name in totals if name not in shown])
    yield _Section(number + 2, f"{primary.name}/{AVERAGE}", False, [])  # of arms, which the run of all trials has


def _averages(plan: Plan) -> list[Metric]:
    """The average of the primary metric over a trial's sub-models, if the trainer gives it."""
    name = f"{plan.declaration.primary.name}_{AVERAGE}"
    return [metric for metric in plan.declaration.metrics if metric.name == name and not metric.per_sub_model]


def _followed(plan: Plan) -> list[str]:
    """The sub-models that evaluations before the last are of, of any trial where these leave something out."""
    return list(dict.fromkeys(label for trial in plan.first_trials.values() for label in trial.interim))


def _some(labels: Sequence[str]) -> Sequence[str]:
    """All of them, or of very many some, the first and the last among them."""
    if len(labels) <= _MOST:
        return labels
    return [labels[round(place * (len(labels) - 1) / (_MOST - 1))] for place in range(_MOST)]
