from dataclasses import replace

import pandas as pd

from orchestrator.report.figures import (
    accuracy_over_lattice,
    accuracy_over_macs,
    accuracy_over_updates,
    averages_over_budget,
    crossings,
    has_grid,
)
from orchestrator.report.results import Results
from orchestrator.report.tables import AVERAGE, make_table
from studies.image_trainer import ImageTrainer

DECLARATION = ImageTrainer.declaration

WIDTHS, DEPTHS, SEEDS = (0.25, 0.5, 0.75, 1.0), (1, 2, 3, 4), (0, 1)


def accuracy(width: float, depth: int, seed: int) -> float:
    return 100 * width * 0.5 + depth + seed


def grid(arms: tuple[str, ...] = ("NS",)) -> Results:
    """Every width × depth of every arm, an accuracy that says which, a point better per arm."""
    rows = [
        {
            "facet": "",
            "arm": arm,
            "seed": seed,
            "sub_model": f"d{depth:02}_w{100 * width:03.0f}",
            "width": width,
            "depth": depth,
            "macs": width**2 * (10 + depth),
            "parameters": width**2 * (10 + depth),
            "test_acc": accuracy(width, depth, seed) + better,
            "updates": 5.0,
            "seconds": 1.0,
            **{f"total_{unit}": 1.0 for unit in ("updates", "passes", "macs")},
        }
        for better, arm in enumerate(arms)
        for seed in SEEDS
        for width in WIDTHS
        for depth in DEPTHS
    ]
    frame = pd.DataFrame(rows)
    curves = frame[["facet", "arm", "seed", "sub_model", "test_acc"]].assign(step=10)
    names = tuple(frame.drop_duplicates("sub_model").sort_values("macs")["sub_model"])
    return Results(frame, curves, ("",), arms, names, ("depth", "width"), {}, (), (), 0, None, {}, DECLARATION)


def test_the_heat_map_has_every_sub_model_in_its_place() -> None:
    figure = accuracy_over_lattice(grid(("NS", "US")))
    first, second = figure.data
    assert (list(first.x), list(first.y)) == (["0.25", "0.5", "0.75", "1"], ["1", "2", "3", "4"])
    for row, depth in enumerate(DEPTHS):
        for column, width in enumerate(WIDTHS):
            assert first.z[row][column] == accuracy(width, depth, 0) + 0.5  # the mean of both seeds
            assert second.z[row][column] == first.z[row][column] + 1
    assert (first.zmin, first.zmax) == (second.zmin, second.zmax)  # one scale


def test_of_three_dimensions_the_map_has_the_others_across_and_a_chain_has_none() -> None:
    results = grid()
    assert has_grid(results)
    frame = results.frame.assign(heads=(results.frame["width"] * 4).round().clip(upper=3), layers=6)
    several = replace(results, frame=frame, dimensions=("depth", "heads", "layers", "width"))
    (drawn,) = accuracy_over_lattice(several).data
    assert list(drawn.x) == ["1 · 0.25", "2 · 0.5", "3 · 0.75", "3 · 1"]
    assert drawn.z[2][1] == accuracy(0.5, 3, 0) + 0.5
    chain = frame[frame["depth"] == (frame["width"] * 4).round()]
    assert not has_grid(replace(several, frame=chain))
    assert not has_grid(replace(several, frame=frame[frame["width"] == 1]))


def test_a_large_lattice_has_a_short_table_that_says_so() -> None:
    table = make_table(grid(), {}, "Caption.")
    assert len(table.rows) == 12 + 1
    assert (table.rows[0], table.rows[-2], table.rows[-1]) == ("d04_w100", "d01_w025", AVERAGE)
    assert "12 of 16 sub-models are shown" in table.caption
    every = [accuracy(width, depth, seed) for width in WIDTHS for depth in DEPTHS for seed in SEEDS]
    assert table.cells[AVERAGE, "NS"].mean == sum(every) / len(every)
    assert table.sorted["NS"] == "100 % (0.00)"
    assert len(accuracy_over_updates(grid()).data) == 4  # panels


def test_no_two_arms_look_alike() -> None:
    arms = tuple(f"arm {number}" for number in range(30))
    styles = {(line.line.color, line.line.dash) for line in accuracy_over_macs(grid(arms)).data}
    assert len(styles) == len(arms)


def test_crossings_are_named_with_their_budgets_and_margins() -> None:
    frame = pd.DataFrame(
        [
            {"facet": level, "arm": arm, "budget": level, "unit": "passes", "seed": 0, "sub_model": "w100",
             "test_acc": value}
            for arm, values in (("NS", (10.0, 20.0, 30.0)), ("SortedNet", (8.0, 22.0, 33.0)))
            for level, value in zip(("1×", "2×", "4×"), values, strict=True)
        ]
    )  # fmt: skip
    results = Results(frame, frame, (), ("NS", "SortedNet"), ("w100",), (), {}, (), (), 0, None, {}, DECLARATION)
    averages = averages_over_budget(results, "budget", ("unit",))
    assert list(averages["mean"]) == [10.0, 20.0, 30.0, 8.0, 22.0, 33.0]
    assert crossings(averages, DECLARATION.primary) == [
        "passes: SortedNet overtakes NS between 1× and 2× (2.00 points behind, then 2.00 ahead)"
    ]
