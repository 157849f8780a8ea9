"""Figures show the numbers of the tables, say what their bars are, and are legible on wide and narrow screens."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.colors import sample_colorscale

from orchestrator.report.divergence import Divergence
from orchestrator.report.drawing import Drawing
from orchestrator.report.figures import averages_over_budget, crossings, drawings
from orchestrator.report.figures.arms import ranked_arms
from orchestrator.report.figures.arrangement import Panel, arranged
from orchestrator.report.figures.budget import over_budget
from orchestrator.report.figures.cost import FRONT, cost
from orchestrator.report.figures.differences import differences
from orchestrator.report.figures.lattice import has_grid, lattice
from orchestrator.report.figures.ledger import ledger
from orchestrator.report.figures.styles import Style, make_styles
from orchestrator.report.figures.themes import DARK, LIGHT
from orchestrator.report.figures.training import has_curves, training
from orchestrator.report.results import Results
from orchestrator.report.selection import pareto
from orchestrator.report.tables import AVERAGE, make_table
from orchestrator.report.writer import make_task_tables
from orchestrator.study.study import Factor
from orchestrator.trainer import TrialBudget
from studies.image_trainer import ImageTrainer
from tests.orchestrator.colors import contrast
from tests.orchestrator.tasks import Tasks

DECLARATION = ImageTrainer.declaration
PASSES = TrialBudget("passes", 40, "40 forward-backward passes")
WIDTHS, DEPTHS, SEEDS = (0.25, 0.5, 0.75, 1.0), (1, 2, 3, 4), (0, 1)


def accuracy(width: float, depth: int, seed: int) -> float:
    return 100 * width * 0.5 + depth + seed


def grid(arms: tuple[str, ...] = ("NS",), depths: tuple[int, ...] = DEPTHS, seeds: tuple[int, ...] = SEEDS) -> Results:
    """Every width × depth of every arm, an accuracy that says which, a point better per arm. The second arm has a pass
    per update, the first one four."""
    rows = [
        {
            "facet": "",
            "arm": arm,
            "seed": seed,
            "sub_model": f"d{depth:02}_w{100 * width:03.0f}",
            "width": width,
            "depth": depth,
            "macs": width**2 * (10 + depth) * 1e6,
            "parameters": width**2 * (10 + depth),
            "test_acc": accuracy(width, depth, seed) + better,
            "updates": 5.0 + better,
            "seconds": 1.0,
            **{f"total_{unit}": 1.0 + better for unit in ("updates", "passes", "macs")},
        }
        for better, arm in enumerate(arms)
        for seed in seeds
        for width in WIDTHS
        for depth in depths
    ]
    frame = pd.DataFrame(rows)
    place = {arm: 4 // (number + 1) for number, arm in enumerate(arms)}
    curves = pd.concat(
        [
            frame[["facet", "arm", "seed", "sub_model"]].assign(
                step=[10 * evaluation // max(1, place[arm]) for arm in frame["arm"]],
                spent=10.0 * evaluation,
                interim=False,
                test_acc=frame["test_acc"] - (4 - evaluation),
            )
            for evaluation in (1, 2, 3, 4)
        ]
    )
    names = tuple(frame.drop_duplicates("sub_model").sort_values("macs")["sub_model"])
    return Results(frame, curves, ("",), arms, names, ("depth", "width"), {}, (), (), 0, None, {}, DECLARATION)


def chain(arms: tuple[str, ...] = ("NS", "US"), seeds: tuple[int, ...] = SEEDS) -> Results:
    return grid(arms, depths=(1,), seeds=seeds)


def styles(results: Results) -> dict[str, Style]:
    return make_styles({arm: (arm, ()) for arm in results.arms})


def lines(drawing: Drawing) -> dict[str, Any]:
    """The traces of a figure's legend by their names."""
    return {trace.name: trace for trace in drawing.figure.data if trace.showlegend}


def test_cost_has_bars_of_one_sd_that_the_caption_names_and_of_one_seed_none() -> None:
    drawn = cost(chain(), styles(chain()))
    line = lines(drawn)["NS"]
    assert list(line.y) == [accuracy(width, 1, 0) + 0.5 for width in WIDTHS]
    assert list(line.error_y.array) == pytest.approx([math.sqrt(0.5)] * 4)
    assert "n = 2 seeds, with bars of ± 1 SD" in drawn.caption
    assert "made on the test set" in drawn.caption
    one = cost(chain(seeds=(0,)), styles(chain()))
    assert not any(trace.error_y.visible for trace in one.figure.data if trace.name != FRONT)
    assert "One seed, so no spread is known" in one.caption
    assert list(lines(one)["NS"].x) == list(lines(one)["US"].x)  # nothing to dodge


def test_bars_stand_beside_each_other_and_every_number_is_that_of_its_sub_model() -> None:
    drawn = cost(chain(("NS", "US", "LCS")), styles(chain(("NS", "US", "LCS"))))
    places = np.array([lines(drawn)[arm].x for arm in ("NS", "US", "LCS")])
    assert (np.diff(places, axis=0) > 0).all()
    assert (places[-1, :-1] < places[0, 1:]).all()  # no sub-model among the arms of the next one
    true = chain().frame.drop_duplicates("sub_model")["macs"].to_list()
    assert list(places[1]) == pytest.approx([macs / 1e6 for macs in true])
    assert drawn.data[drawn.data["arm"] == "LCS"]["macs"].to_list() == true
    assert f"{true[0] / 1e6:.3f} M MACs" in lines(drawn)["LCS"].customdata[0]
    assert drawn.figure.layout.xaxis.type == "log"  # sixteen times
    narrow = chain().frame
    near = replace(chain(), frame=narrow[narrow["width"] > 0.5], sub_models=chain().sub_models[2:])
    assert cost(near, styles(near)).figure.layout.xaxis.type == "linear"


def test_the_front_is_that_of_the_means() -> None:
    results = chain(("NS", "US"))
    turned = results.frame.assign(
        test_acc=[100 - value if arm == "US" else value for arm, value in results.frame[["arm", "test_acc"]].to_numpy()]
    )
    drawn = cost(replace(results, frame=turned), styles(results))
    means = turned.groupby(["arm", "sub_model", "macs"])["test_acc"].mean().reset_index()
    expected = pareto(means, DECLARATION.primary)
    found = drawn.data[drawn.data["pareto"]]
    assert set(zip(found["arm"], found["sub_model"], strict=True)) == set(
        zip(expected["arm"], expected["sub_model"], strict=True)
    )
    assert 0 < len(found) < len(drawn.data)
    front = lines(drawn)[FRONT]
    assert list(front.y) == sorted(expected["test_acc"])
    assert front.line.shape == "hv"


def test_sub_models_that_are_no_chain_are_not_joined_by_a_line() -> None:
    assert lines(cost(grid(), styles(grid())))["NS"].mode == "markers"
    assert lines(cost(chain(), styles(chain())))["NS"].mode == "lines+markers"


def test_training_is_over_what_the_budget_is_of_so_all_arms_end_together() -> None:
    results = chain()
    assert results.curves.groupby("arm")["step"].max().nunique() == 2
    drawn = training(results, styles(results), PASSES)
    for line in lines(drawn).values():
        assert list(line.x) == [10, 20, 30, 40]
    assert drawn.figure.layout.xaxis.title.text == "forward-backward passes"
    assert "n = 2 seeds, with bands of ± 1 SD" in drawn.caption
    top = drawn.data[(drawn.data["sub_model"] == "d01_w100") & (drawn.data["arm"] == "US")]
    assert top["evaluation"].to_list() == [1, 2, 3, 4]
    assert top["mean"].to_list() == [accuracy(1.0, 1, 0) + 1.5 - behind for behind in (3, 2, 1, 0)]
    bands = [trace for trace in drawn.figure.data if trace.fill == "toself"]
    assert len(bands) == 2 * 4
    assert max(bands[0].y) - min(bands[0].y) == pytest.approx(3 + 2 * math.sqrt(0.5))
    assert "The last point is the table's" in drawn.caption
    on_a_part = replace(results, curves=results.curves.assign(interim=True))
    assert "the same ones every time" in training(on_a_part, styles(results), PASSES).caption
    unknown = replace(results, curves=results.curves.assign(spent=math.nan))
    assert training(unknown, styles(results), PASSES).figure.layout.xaxis.title.text == "steps"
    alone = training(chain(seeds=(0,)), styles(results), PASSES)
    assert not [trace for trace in alone.figure.data if trace.fill]
    assert not has_curves(replace(results, curves=results.curves[results.curves["spent"] == 40]))


def test_seeds_that_were_evaluated_at_other_steps_are_averaged_evaluation_by_evaluation() -> None:
    results = chain()
    late = results.curves["seed"] == 1
    curves = results.curves.assign(step=results.curves["step"] + late, spent=results.curves["spent"] + 2 * late)
    drawn = training(replace(results, curves=curves), styles(results), PASSES)
    assert list(lines(drawn)["NS"].x) == [11, 21, 31, 41]
    assert set(drawn.data["n"]) == {2}


def test_of_many_sub_models_a_menu_shows_one_at_a_time_and_the_average_first() -> None:
    drawn = training(grid(("NS", "US")), styles(grid(("NS", "US"))), PASSES)
    (menu,) = drawn.figure.layout.updatemenus
    labels = [button.label for button in menu.buttons]
    assert labels[:2] == [AVERAGE, "d04_w100"]
    assert len(labels) == 1 + 12
    for button in menu.buttons:
        shown = [trace for trace, visible in zip(drawn.figure.data, button.args[0]["visible"], strict=True) if visible]
        assert len(shown) == 2 * 2  # a band and a line per arm
        name = button.label
        expected = drawn.data[(drawn.data["sub_model"] == name) & (drawn.data["arm"] == "US")]["mean"].to_list()
        assert list(shown[-1].y) == expected
    at_first = [trace.visible for trace in drawn.figure.data]
    assert at_first == list(menu.buttons[0].args[0]["visible"])
    every = grid().frame[grid().frame["seed"] == 0]["test_acc"].mean()
    first = drawn.data[(drawn.data["sub_model"] == AVERAGE) & (drawn.data["arm"] == "NS")]
    assert first["mean"].to_list()[-1] == pytest.approx(every + 0.5)
    assert len(training(chain(), styles(chain()), PASSES).figure.layout.updatemenus) == 0


METHODS = ("apart", "sorted", "third")
SCORES = {
    "apart": [(50.0, 60.0), (51.0, 61.0), (52.0, 62.0)],
    "sorted": [(55.0, 65.1), (56.1, 66.0), (57.0, 67.0)],
    "third": [(50.4, 58.0), (50.6, 64.0), (52.2, 61.0)],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """Three methods, three seeds, three tasks."""
    tasks = Tasks(tmp_path_factory.mktemp("finished"), methods=METHODS)
    for method, rows in SCORES.items():
        for place, task in enumerate(tasks.tasks):
            tasks.finish_all({f"{method} · {task}": [(small + place, large + place) for small, large in rows]})
    return tasks


@pytest.fixture(scope="module")
def every(finished: Tasks) -> tuple[Drawing, ...]:
    return drawings_of(finished)


def drawings_of(tasks: Tasks) -> tuple[Drawing, ...]:
    results = tasks.results
    tables = [make_table(results.of(facet), {}, "") for facet in results.facets]
    return drawings(tasks.plan, results, tables, make_task_tables(tasks.plan, results))


def test_differences_are_the_tables_with_intervals_and_what_is_separated_is_filled(finished: Tasks) -> None:
    table = make_table(finished.results.of("task rte"), {}, "")
    drawn = differences(table, make_styles({arm: (arm, ()) for arm in table.arms}))
    assert set(lines(drawn)) == {"sorted", "third"}
    order = [AVERAGE, "d24", "d12"]
    for arm, trace in lines(drawn).items():
        for place, row in enumerate(order):
            found = table.comparisons[row, arm]
            assert trace.x[place] == found.statistics.mean
            assert trace.x[place] + trace.error_x.array[place] == pytest.approx(found.statistics.high)
            assert trace.x[place] - trace.error_x.arrayminus[place] == pytest.approx(found.statistics.low)
            assert trace.marker.symbol[place].endswith("-open") != found.separated
            for part in (found.difference, "p ", "→", "d "):
                assert part in trace.customdata[place]
    assert list(drawn.figure.layout.yaxis.ticktext) == order
    separated = drawn.data.set_index(["sub_model", "arm"])["separated"]
    assert separated["d24", "sorted"]
    assert not separated["d24", "third"]
    assert drawn.figure.layout.xaxis.zeroline
    left, right = drawn.figure.layout.xaxis.range
    assert left < min(0, drawn.data["low"].min())
    assert right > max(0, drawn.data["high"].max())
    assert "95 % t-interval" in drawn.caption
    assert {"p", "adjusted_p", "low", "high", "n"} <= set(drawn.data)


def test_of_many_differences_a_menu_shows_those_of_one_sub_model() -> None:
    results = replace(grid(("NS", "US", "LCS")), against={"US": "NS", "LCS": "NS"})
    table = make_table(results, {}, "")
    drawn = differences(table, styles(results))
    (menu,) = drawn.figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == [AVERAGE, *table.rows[:-1]]
    for button in menu.buttons:
        shown = [trace for trace, seen in zip(drawn.figure.data, button.args[0]["visible"], strict=True) if seen]
        assert [trace.name for trace in shown] == ["US", "LCS"]
        assert [trace.x[0] for trace in shown] == [
            table.comparisons[button.label, arm].statistics.mean for arm in ("US", "LCS")
        ]
    assert list(drawn.figure.layout.yaxis.ticktext) == ["US", "LCS"]


def test_one_seed_has_differences_and_no_intervals() -> None:
    results = replace(chain(seeds=(0,)), against={"US": "NS"})
    drawn = differences(make_table(results, {}, ""), styles(results))
    (trace,) = drawn.figure.data
    assert not trace.error_x.visible
    assert set(trace.x) == {1.0}
    assert "one seed" in drawn.caption
    assert "Filled" not in drawn.caption


def test_the_ledger_has_a_bar_for_every_count_and_every_total() -> None:
    table = make_table(chain(), {}, "")
    drawn = ledger(table, styles(chain()))
    bars = {(bar.name, bar.xaxis): bar for bar in drawn.figure.data}
    assert dict(zip(bars["US", "x"].y, bars["US", "x"].x, strict=True)) == dict.fromkeys(table.rows[:-1], 6.0)
    for number in (2, 3, 4):
        assert [bars[arm, f"x{number}"].x[0] for arm in ("NS", "US")] == [1.0, 2.0]
    titles = [note.text for note in drawn.figure.layout.annotations]
    assert titles == ["updates per sub-model", "all updates", "all passes", "training MACs (forward)"]
    totals = drawn.data[drawn.data["sub_model"] == ""]
    assert set(totals["counted"]) == {"updates", "passes", "macs"}


def test_many_arms_are_sorted_by_their_mean_with_a_stroke_per_seed() -> None:
    arms = tuple(f"sampler {number}" for number in range(13))
    results = chain(arms)
    shuffled = {arm: 7 * place % 13 for place, arm in enumerate(arms)}
    frame = results.frame.assign(test_acc=results.frame["test_acc"] + results.frame["arm"].map(shuffled) * 3)
    drawn = ranked_arms(replace(results, frame=frame), styles(results))
    dots, means = (trace for trace in drawn.figure.data if trace.visible)
    assert list(means.x) == sorted(means.x, reverse=True)
    assert list(drawn.figure.layout.yaxis.categoryarray) == list(means.y)
    assert drawn.figure.layout.yaxis.autorange == "reversed"
    assert len(dots.x) == 13 * len(SEEDS)
    for arm, mean, sd in zip(means.y, means.x, means.error_x.array, strict=True):
        seeds = [x for x, y in zip(dots.x, dots.y, strict=True) if y == arm]
        assert (np.mean(seeds), np.std(seeds, ddof=1)) == (pytest.approx(mean), pytest.approx(sd))
    for button in drawn.figure.layout.updatemenus[0].buttons:
        _, shown = (t for t, visible in zip(drawn.figure.data, button.args[0]["visible"], strict=True) if visible)
        assert button.args[1]["yaxis.categoryarray"] == list(shown.y)


def test_the_heat_map_has_every_sub_model_in_its_place_on_one_scale() -> None:
    drawn = lattice(grid(("NS", "US")))
    first, second = drawn.figure.data
    assert (list(first.x), list(first.y)) == (["0.25", "0.5", "0.75", "1"], ["1", "2", "3", "4"])
    for row, depth in enumerate(DEPTHS):
        for column, width in enumerate(WIDTHS):
            assert first.z[row][column] == accuracy(width, depth, 0) + 0.5  # the mean of both seeds
            assert second.z[row][column] == first.z[row][column] + 1
    assert first.coloraxis == second.coloraxis == "coloraxis"
    assert [re.sub("<.*?>", "", text) for text in first.text[0]] == ["14.0", "26.5", "39.0", "51.5"]


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize("spread", [1e-9, 1.0, 95.0])
def test_every_number_on_a_heat_map_is_read_on_the_colour_of_its_cell(higher_is_better: bool, spread: float) -> None:
    results = grid(depths=tuple(range(1, 101)), seeds=(0,))
    places = np.linspace(0, 1, len(results.frame))  # all along the scale
    primary = replace(DECLARATION.primary, higher_is_better=higher_is_better)
    declared = replace(DECLARATION, metrics=(primary, *DECLARATION.metrics[1:]))
    frame = results.frame.assign(test_acc=2.0 + spread * places)
    drawn = lattice(replace(results, frame=frame, declaration=declared))
    scale, (trace,) = drawn.figure.layout.coloraxis, drawn.figure.data
    assert not scale.reversescale
    assert (scale.cmin, scale.cmax) == (frame["test_acc"].min(), frame["test_acc"].max())
    inks = set()
    for value, text in zip(np.ravel(trace.z), np.ravel(trace.text), strict=True):
        ((ink, shown),) = re.findall(r'^<span style="color: (#\w{6})">([\d.]+)</span>$', text)
        place = (value - scale.cmin) / (scale.cmax - scale.cmin)
        (cell,) = sample_colorscale([list(pair) for pair in scale.colorscale], [place], colortype="tuple")
        below = "#" + "".join(f"{round(255 * channel):02x}" for channel in cell)
        assert contrast(ink, below) >= 4.5, (value, ink, below)
        assert float(shown) == pytest.approx(value, abs=0.05)
        inks.add(ink)
    assert inks == {"#000000", "#ffffff"}
    light = contrast(str(scale.colorscale[-1][1]), "#000000") > contrast(str(scale.colorscale[0][1]), "#000000")
    assert light == higher_is_better


def test_a_heat_map_has_numbers_where_a_phone_has_room_for_them() -> None:
    (few,), (many,) = lattice(grid()).figure.data, lattice(grid(depths=tuple(range(1, 101)))).figure.data
    assert few.texttemplate == many.texttemplate == "%{text}"  # of four columns each
    assert few.textfont.size == 12
    results = grid()
    frame = pd.concat([results.frame.assign(heads=heads, sub_model=results.frame["sub_model"] + f"_{heads}")
                       for heads in range(1, 5)])  # fmt: skip
    names = tuple(frame["sub_model"].unique())
    (crowded,) = lattice(
        replace(results, frame=frame, sub_models=names, dimensions=("depth", "width", "heads"))
    ).figure.data
    assert len(crowded.x) == 16
    assert crowded.texttemplate is None
    assert crowded.customdata[0][0] == f"{crowded.z[0][0]:.2f} %"


def test_a_heat_map_of_one_value_and_one_without_any_are_drawn() -> None:
    results = grid()
    alike = lattice(replace(results, frame=results.frame.assign(test_acc=7.0)))
    assert alike.figure.layout.coloraxis.cmin < 7 < alike.figure.layout.coloraxis.cmax
    gone = tuple(Divergence("", "NS", seed, "") for seed in SEEDS)
    (trace,) = lattice(replace(results, diverged=gone)).figure.data
    assert trace.z[0][0] is None


def test_the_dimension_with_most_levels_is_down_and_a_chain_has_no_map() -> None:
    results = grid(depths=(1, 2))
    (drawn,) = lattice(results).figure.data
    assert (list(drawn.y), list(drawn.x)) == (["0.25", "0.5", "0.75", "1"], ["1", "2"])
    results = grid()
    assert has_grid(results)
    frame = results.frame.assign(heads=(results.frame["width"] * 4).round().clip(upper=3), layers=6)
    several = replace(results, frame=frame, dimensions=("depth", "heads", "layers", "width"))
    (drawn,) = lattice(several).figure.data
    assert list(drawn.x) == ["1 · 0.25", "2 · 0.5", "3 · 0.75", "3 · 1"]
    assert drawn.z[2][1] == accuracy(0.5, 3, 0) + 0.5
    in_a_chain = frame[frame["depth"] == (frame["width"] * 4).round()]
    assert not has_grid(replace(several, frame=in_a_chain))
    assert not has_grid(replace(several, frame=frame[frame["width"] == 1]))


def test_a_large_lattice_has_a_short_table_that_says_so() -> None:
    table = make_table(grid(), {}, "Caption.")
    assert len(table.rows) == 12 + 1
    assert (table.rows[0], table.rows[-2], table.rows[-1]) == ("d04_w100", "d01_w025", AVERAGE)
    assert "12 of 16 sub-models are shown" in table.caption
    every = [accuracy(width, depth, seed) for width in WIDTHS for depth in DEPTHS for seed in SEEDS]
    assert table.cells[AVERAGE, "NS"].mean == sum(every) / len(every)
    assert table.sorted["NS"] == "100 % (0.00)"


def over_three_budgets() -> Results:
    frame = pd.DataFrame(
        [
            {"facet": level, "arm": arm, "budget": level, "unit": "passes", "seed": 0, "sub_model": "w100",
             "test_acc": value}
            for arm, values in (("NS", (10.0, 20.0, 30.0)), ("SortedNet", (8.0, 22.0, 33.0)))
            for level, value in zip(("1×", "2×", "4×"), values, strict=True)
        ]
    )  # fmt: skip
    return Results(frame, frame, (), ("NS", "SortedNet"), ("w100",), (), {}, (), (), 0, None, {}, DECLARATION)


def test_crossings_are_named_with_their_budgets_and_margins_and_marked_where_lines_cross() -> None:
    results = over_three_budgets()
    averages = averages_over_budget(results, "budget", ("unit",))
    assert list(averages["mean"]) == [10.0, 20.0, 30.0, 8.0, 22.0, 33.0]
    sentence = "passes: SortedNet overtakes NS between 1× and 2× (2.00 points behind, then 2.00 ahead)"
    assert crossings(averages, DECLARATION.primary) == [sentence]
    drawn = over_budget(averages, results, "budget", styles(results))
    mark = lines(drawn)["crossing of means"]
    assert (list(mark.x), list(mark.y)) == ([0.5], [15.0])
    assert sentence in drawn.caption
    assert "not tested" in drawn.caption
    turned = replace(DECLARATION.primary, higher_is_better=False)
    assert crossings(averages, turned) == [
        "passes: NS overtakes SortedNet between 1× and 2× (2.00 points behind, then 2.00 ahead)"
    ]


def test_a_study_gets_its_figures_in_order_under_names_that_are_unique_and_fit_for_files(
    every: tuple[Drawing, ...],
) -> None:
    names = [drawing.name for drawing in every]
    of_a_table = ("cost", "differences", "training", "ledger")
    assert names == [
        "differences-by-task",
        *(f"{kind}-task-{task}" for task in ("qqp", "rte", "cola") for kind in of_a_table),
    ]
    assert all(re.fullmatch("[A-Za-z0-9-]+", name) for name in names)
    assert every[1].title == "Accuracy over cost: task qqp"
    for drawing in every:
        assert drawing.caption
        assert len(drawing.data) > 0
        assert drawing.figure.layout.title.text is None


def test_tables_of_names_that_files_cannot_have_are_told_apart(tmp_path: Path) -> None:
    budgets = Factor(
        "budget", {name: {"length": length} for name, length in (("½×", 1), ("1×", 2), ("双", 3), ("三", 4))}
    )
    factors = (
        Factor.of("method", ["apart", "sorted"]),
        budgets,
        Factor("task", {"rte": {"task": "rte", "depths": [12, 24]}}),
    )
    tasks = Tasks(
        tmp_path, seeds=(0,), study_has={"factors": factors, "facets": ("budget",), "curve": "budget", "across": None}
    )
    for method in ("apart", "sorted"):
        tasks.finish_all({f"{method} · {budget} · rte": [(50.0, 60.0)] for budget in budgets.levels})
    names = [drawing.name for drawing in drawings_of(tasks)]
    assert names[0] == "budgets"
    assert [name for name in names if name.startswith("cost")] == [
        "cost-budget-1-2x", "cost-budget-1x", "cost-budget", "cost-budget-2",
    ]  # fmt: skip
    assert len(set(names)) == len(names)


def test_an_arm_with_a_diverged_seed_is_named_and_not_drawn(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path, methods=METHODS, tasks=("rte",), study_has={"across": None})
    tasks.finish_all({f"{method} · rte": rows for method, rows in SCORES.items() if method != "sorted"})
    for seed in (0, 1):
        tasks.finish("sorted · rte", seed, {"d12": 55.0, "d24": 65.0})
    tasks.diverge("sorted · rte", 2)
    found = {drawing.name: drawing for drawing in drawings_of(tasks)}
    for name in ("cost", "training", "ledger"):
        assert "sorted (1 of 3 diverged)" in lines(found[name])
    assert list(lines(found["cost"])["sorted (1 of 3 diverged)"].y) == [None]
    assert list(lines(found["ledger"])["sorted (1 of 3 diverged)"].x) == [None]
    assert set(lines(found["differences"])) == {"third"}
    assert "diverged: sorted" in found["differences"].caption
    assert "sorted" not in set(found["cost"].data["arm"]) | set(found["differences"].data["arm"])


def colors(value: Any, name: str = "") -> Iterator[str]:
    """Every colour that something of a figure is drawn in; of a bar, which may be filled in part, its outline's."""
    if isinstance(value, Mapping):
        outlined = name == "marker" and str(value.get("color")).startswith("rgba")
        for key, inside in value.items():
            if key not in ("template", "updatemenus", "fillcolor") and not (outlined and key == "color"):
                yield from colors(inside, key)
    elif isinstance(value, list | tuple | np.ndarray):
        for inside in value:
            yield from colors(inside, name)
    elif name == "color" and isinstance(value, str):
        yield value


def test_every_colour_of_every_figure_is_legible_on_a_light_and_on_a_dark_page(every: tuple[Drawing, ...]) -> None:
    many = chain(tuple(f"sampler {number}" for number in range(13)))
    budgets = over_three_budgets()
    averages = averages_over_budget(budgets, "budget", ("unit",))
    more = (ranked_arms(many, styles(many)), over_budget(averages, budgets, "budget", styles(budgets)))
    for drawing in (*every, *more):
        used = set(colors(drawing.figure.to_plotly_json()))
        assert used
        for color in used:
            assert min(contrast(color, theme.background) for theme in (LIGHT, DARK)) >= 3, (drawing.name, color)


def test_panels_have_room_for_their_titles_and_stand_beneath_each_other_on_a_narrow_screen() -> None:
    traces = [go.Scatter(x=[1], y=[1], name=f"an arm of a long name {number}", showlegend=True) for number in range(8)]
    panels = [Panel(f"panel {number}", 200, {}, {}, beside=2) for number in range(3)]
    figure = arranged([Panel("whole", 100, {}, {}), *panels], traces)
    for layout, columns in (("wide", 2), ("narrow", 1)):
        meta = figure.layout.meta[layout]
        heights, widths = set(), []
        for number in ("", "2", "3", "4"):
            left, right = meta[f"xaxis{number}.domain"]
            bottom, top = meta[f"yaxis{number}.domain"]
            assert 0 <= left < right <= 1
            assert 0 <= bottom < top < 1
            heights.add((round(bottom, 6), round(top, 6)))
            widths.append(round(right - left, 2))
        assert len(heights) == (3 if columns == 2 else 4)
        assert widths[0] == 1
        assert max(widths[1:]) < 0.5 if columns == 2 else min(widths) == 1
        edges = sorted(heights)
        assert all(above[0] > below[1] for below, above in pairwise(edges))
    assert figure.layout.meta["narrow"]["height"] > figure.layout.meta["wide"]["height"]
    assert figure.layout.height == figure.layout.meta["wide"]["height"]
    assert figure.layout.margin.t >= 30  # Plotly's buttons
