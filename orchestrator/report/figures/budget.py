"""The average accuracy over budgets, and where one arm overtakes another."""

from dataclasses import dataclass
from itertools import combinations, pairwise

import pandas as pd
import plotly.graph_objects as go

from orchestrator.declaration import Metric
from orchestrator.report.drawing import Drawing
from orchestrator.report.escaping import for_plotly, lines_for_plotly
from orchestrator.report.figures.arrangement import Panel, arranged, axes
from orchestrator.report.figures.spread import (
    IN_A_LEGEND,
    in_a_box,
    in_a_caption,
    or_nothing,
    over_seeds,
    seeds_of,
)
from orchestrator.report.figures.styles import NEUTRAL, Style
from orchestrator.report.results import Results
from orchestrator.study.levels import SEPARATOR

_APART = 0.03  # of the way to the next budget, between two arms
_MOST_APART = 0.3  # all of them


@dataclass(frozen=True)
class Crossing:
    """Where the means of two arms cross between neighbouring budgets.

    Attributes:
        before, after: the means of who is behind and who is ahead in the end, at the lower and the higher budget:
            (ahead, behind) each.
    """

    panel: str
    ahead: str
    behind: str
    low: str
    high: str
    before: tuple[float, float]
    after: tuple[float, float]

    @property
    def place(self) -> tuple[float, float]:
        """Share of the way from the lower budget to the higher one, and the value there, were the lines straight."""
        start, end = self.before[0] - self.before[1], self.after[0] - self.after[1]
        share = start / (start - end)
        return share, self.before[0] + share * (self.after[0] - self.before[0])

    def sentence(self, metric: Metric) -> str:
        """`NS overtakes LCS-p between 1× and 2× (2.00 points behind, then 3.00 ahead)`."""
        points = f" {'points' if metric.unit == '%' else metric.unit}".rstrip()
        where = f"{self.panel}: " if self.panel else ""
        behind, ahead = (metric.text(abs(one - other)) for one, other in (self.before, self.after))
        return (
            f"{where}{self.ahead} overtakes {self.behind} between {self.low} and {self.high} "
            f"({behind}{points} behind, then {ahead} ahead)"
        )


def averages_over_budget(results: Results, axis: str, others: tuple[str, ...]) -> pd.DataFrame:
    """The metric averaged over the sub-models that all arms have: `panel`, `arm`, `level` of the axis, `mean`, `sd`,
    `n`; nothing of an arm where a seed of it diverged."""
    frame = results.with_means[results.with_means["sub_model"].isin(results.shared)]
    levels = pd.DataFrame({name: results.levels_of(name) for name in others}, index=frame.index)
    panel = levels.agg(SEPARATOR.join, axis=1) if others else pd.Series("", index=frame.index)
    placed = frame.assign(panel=panel, level=results.levels_of(axis))
    averages = placed.groupby(["panel", "arm", "level", "seed"], sort=False)[results.metric.name].mean()
    return over_seeds(averages.reset_index(), ["panel", "arm", "level"], results.metric)


def crossings(averages: pd.DataFrame, metric: Metric) -> list[str]:
    """Where the lines of two arms cross between neighbouring budgets, one sentence each."""
    return [found.sentence(metric) for found in find_crossings(averages, metric)]


def find_crossings(averages: pd.DataFrame, metric: Metric) -> list[Crossing]:
    """Where the means of two arms cross between neighbouring budgets, panel by panel."""
    lines: dict[str, dict[str, dict[str, float]]] = {}
    for panel, arm, level, mean in averages[["panel", "arm", "level", "mean"]].itertuples(index=False):
        lines.setdefault(panel, {}).setdefault(arm, {})[level] = mean
    found = []
    for panel, arms in lines.items():
        for one, other in combinations(arms, 2):
            both = [(level, mean, arms[other][level]) for level, mean in arms[one].items() if level in arms[other]]
            for (low, *before), (high, *after) in pairwise(both):
                earlier, later = metric.gain(before[0] - before[1]), metric.gain(after[0] - after[1])
                if earlier * later >= 0:
                    continue
                (ahead, behind), turn = ((one, other), 1) if later > 0 else ((other, one), -1)
                start, end = (tuple(pair[::turn]) for pair in (before, after))
                found.append(Crossing(panel, ahead, behind, low, high, (start[0], start[1]), (end[0], end[1])))
    return found


def over_budget(averages: pd.DataFrame, results: Results, axis: str, styles: dict[str, Style]) -> Drawing:
    """The average over the budget, a panel per kind of budget, a line per arm; crossings of the means are marked."""
    metric, arms = results.metric, results.arms
    panels = list(dict.fromkeys(averages["panel"])) or [""]
    levels = list(dict.fromkeys(averages["level"]))
    lost = {arm: [each.facet for each in results.diverged if each.arm == arm] for arm in arms}
    seeds, found = seeds_of(averages), find_crossings(averages, metric)
    apart = min(_APART, _MOST_APART / max(1, len(arms))) if seeds > 1 else 0.0
    traces = []
    for number, panel in enumerate(panels):
        for place, arm in enumerate(arms):
            rows = averages[(averages["panel"] == panel) & (averages["arm"] == arm)]
            where = f" (diverged: {', '.join(dict.fromkeys(lost[arm]))})" if lost[arm] else ""
            boxes = [in_a_box(metric, *row) for row in rows[["mean", "sd", "n"]].itertuples(index=False)]
            traces.append(
                go.Scatter(
                    x=or_nothing(rows["level"].map(levels.index) + apart * (place - (len(arms) - 1) / 2)),
                    y=or_nothing(rows["mean"]),
                    error_y={"array": rows["sd"], "visible": seeds > 1, "thickness": 1.5, "width": 3},
                    name=lines_for_plotly(f"{arm}{where}", IN_A_LEGEND),
                    legendgroup=arm,
                    showlegend=number == 0,
                    mode="lines+markers",
                    line=styles[arm].line,
                    marker=styles[arm].marker,
                    customdata=[f"{for_plotly(level)}: {box}" for level, box in zip(rows["level"], boxes, strict=True)],
                    hovertemplate="%{customdata}",
                    **axes(number),
                )
            )
        if inside := [crossing for crossing in found if crossing.panel == panel]:
            places = [crossing.place for crossing in inside]
            steps = [(levels.index(each.low), levels.index(each.high)) for each in inside]
            traces.append(
                go.Scatter(
                    x=[low + share * (high - low) for (low, high), (share, _) in zip(steps, places, strict=True)],
                    y=[value for _, value in places],
                    mode="markers",
                    marker={"symbol": "circle-open", "size": 15, "color": NEUTRAL, "line": {"width": 2}},
                    name="crossing of means",
                    legendgroup="crossing",
                    showlegend=panel == found[0].panel,
                    customdata=[for_plotly(crossing.sentence(metric)) for crossing in inside],
                    hovertemplate="%{customdata}<extra></extra>",
                    **axes(number),
                )
            )
    x = {
        "title": {"text": for_plotly(axis)},
        "tickvals": list(range(len(levels))),
        "ticktext": list(map(for_plotly, levels)),
        "range": [-0.3, max(1, len(levels)) - 0.7],
    }
    y = {"title": {"text": f"average {metric.axis}"}}
    same = [y | ({"matches": "y"} if number else {}) for number in range(len(panels))]
    beside = min(3, len(panels))
    figure = arranged(
        [
            Panel(lines_for_plotly(panel, IN_A_LEGEND), 290, x, each, beside)
            for panel, each in zip(panels, same, strict=True)
        ],
        traces,
    )
    crossed = f", ringed: {'; '.join(each.sentence(metric) for each in found)}." if found else ": none."
    bound = (
        " The mark stands where straight lines would cross; that the arms differ there is not tested." if found else ""
    )
    caption = (
        f"Final {metric.in_words}, averaged over the sub-models that all arms have, by {axis}. "
        f"{in_a_caption(seeds, 'bars')} Crossings of the means{crossed}{bound}"
    )
    return Drawing("budgets", f"Average {metric.word} over {axis}", caption, figure, averages)
