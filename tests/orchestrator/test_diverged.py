"""Trials that diverged: in no mean, no test and never best, in every table and figure; and said, with their number."""

import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats

from orchestrator.commands.command_line import run
from orchestrator.commands.terminal_tables import for_terminal, tasks_for_terminal
from orchestrator.report.across import TaskTable
from orchestrator.report.figures import averages_over_budget
from orchestrator.report.figures.budget import over_budget
from orchestrator.report.figures.cost import FRONT, cost
from orchestrator.report.figures.styles import styles_of
from orchestrator.report.figures.training import training
from orchestrator.report.latex import as_latex
from orchestrator.report.more_seeds import in_words, more_seeds
from orchestrator.report.rendering import (
    Grid,
    accuracies,
    as_markdown,
    behind,
    costs,
    differences,
    ledger,
    scores,
)
from orchestrator.report.tables import AVERAGE, Table
from orchestrator.report.writer import make_task_tables, write_report
from tests.orchestrator.pages import page_of
from tests.orchestrator.tasks import Tasks

METHODS = ("apart", "sorted", "third")
SEEDS = (0, 1, 2, 3, 4)
GAINS = {"apart": (0.0, 0.1, 0.3, 0.2, 0.4), "sorted": (5.0, 5.2, 5.1, 5.5, 5.3), "third": (1.0, 1.3, 1.1, 1.2, 1.7)}


def study(folder: Path, diverged: Mapping[str, tuple[int, ...]], tasks: tuple[str, ...] = ("rte",)) -> Tasks:
    """Three methods, five seeds; `diverged` says which seeds of which arm."""
    made = Tasks(
        folder, seeds=SEEDS, methods=METHODS, tasks=tasks, study_has={} if len(tasks) > 1 else {"across": None}
    )
    for method in METHODS:
        for task in tasks:
            for seed, gain in zip(SEEDS, GAINS[method], strict=True):
                if seed in diverged.get(f"{method} · {task}", ()):
                    made.diverge(f"{method} · {task}", seed, after=20 + seed)
                else:
                    made.finish(f"{method} · {task}", seed, {"d12": 50 + gain, "d24": 60 + gain})
    return made


def only_table(made: Tasks) -> Table:
    (found,) = write_report(made.plan, made.results, made.folder / "report").tables
    return found


def texts(grid: Grid, arm: str) -> list[str]:
    """An arm's column of a table."""
    place = [cell.text for cell in grid[0]].index(arm)
    return [row[place].text for row in grid[1:]]


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """The best arm has two diverged seeds of five."""
    return study(tmp_path_factory.mktemp("some"), {"sorted · rte": (1, 3)})


def test_an_arm_with_a_diverged_seed_has_no_number_in_any_table_and_is_never_bold(some: Tasks) -> None:
    found = only_table(some)
    assert set(texts(accuracies(found), "sorted")) == set(texts(ledger(found), "sorted")) == {"2 of 5 diverged"}
    assert not any(cell.best for (_, arm), cell in found.cells.items() if arm == "sorted")
    assert "sorted" not in {text for row in differences(found) for cell in row for text in cell.text.split()}
    assert not costs(found)
    for name in ("table.md", "table.tex", "index.html"):
        written = (some.folder / "report" / name).read_text()
        assert "2 of 5 diverged" in written
        assert "65.13" not in written  # the mean of the seeds that are left
        assert "99" not in "".join(line for line in written.splitlines() if line.startswith(("|", "d12", "d24")))


def test_the_caption_counts_them_says_when_and_what_follows(some: Tasks) -> None:
    caption = only_table(some).caption
    assert "every arm gets 60 optimizer steps unless it diverges" in caption
    assert "sorted: 2 of 5 seeds diverged (seed 1 after 21 of 60 updates, seed 3 after 23 of 60 updates)." in caption
    assert "has no mean" in caption
    notes = (some.folder / "report" / "table.md").read_text().splitlines()[-1]
    assert notes.startswith("Diverged: sorted · seed 1 after 21 of 60 updates; sorted · seed 3 after")


def test_the_other_arms_keep_every_seed_and_are_tested_as_if_it_were_not_there(some: Tasks) -> None:
    found = only_table(some)
    assert {found.cells[row, arm].n for row in found.rows for arm in ("apart", "third")} == {5}
    assert {arm for arm in METHODS if found.cells["d24", arm].best} == {"third"}
    assert len(found.family) == 3  # one pair on three rows
    raw = stats.ttest_rel(GAINS["third"], GAINS["apart"]).pvalue
    assert found.comparisons["d24", "third"].statistics.p == pytest.approx(raw)
    assert found.comparisons["d24", "third"].adjusted_p == pytest.approx(3 * raw)


def test_an_arm_of_which_every_seed_diverged_says_so_and_one_without_a_partner_is_compared_with_none(
    tmp_path: Path,
) -> None:
    made = study(tmp_path, {"apart · rte": SEEDS, "sorted · rte": (0,)})
    found = only_table(made)
    assert set(texts(accuracies(found), "apart")) == {"diverged"}
    assert set(texts(accuracies(found), "sorted")) == {"1 of 5 diverged"}
    assert (found.comparisons, found.behind) == ({}, {})
    assert not any(cell.best for cell in found.cells.values())  # third has nothing to be better than
    assert found.cells[AVERAGE, "third"].text == "56.26 ± 0.27"
    nothing = study(tmp_path / "nothing", dict.fromkeys((f"{method} · rte" for method in METHODS), SEEDS))
    found = only_table(nothing)
    assert {cell.text for cell in found.cells.values()} == {"diverged"}
    assert "± SD" not in found.caption
    assert "apart: 5 of 5 seeds diverged (seed 0 after" in found.caption
    assert as_markdown(found)
    assert as_latex([found])


def test_behind_the_best_it_has_no_place(tmp_path: Path) -> None:
    made = study(tmp_path, {"apart · rte": (2,)})
    found = only_table(made)
    assert set(found.behind) == {(row, "third") for row in found.rows}
    if grid := behind(found):
        assert set(texts(grid, "apart")) == {"1 of 5 diverged"}


def test_a_diverged_seed_that_is_left_out_for_want_of_a_partner_is_still_said_to_have_diverged(tmp_path: Path) -> None:
    made = Tasks(tmp_path, seeds=(0, 1), methods=("apart", "sorted"), tasks=("rte",), study_has={"across": None})
    for label in ("apart · rte", "sorted · rte"):
        made.finish(label, 0, {"d12": 50.0, "d24": 60.0})
    made.diverge("sorted · rte", 1)
    assert made.results.unpaired == ("sorted · rte · seed 1 (diverged)",)
    assert only_table(made).cells["d24", "sorted"].text == "60.00"


def test_on_a_terminal_it_is_said_in_few_characters(some: Tasks) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(for_terminal(only_table(some)), markup=False)
    assert isinstance(console.file, io.StringIO)
    (line,) = (line for line in console.file.getvalue().splitlines() if line.split()[:1] == ["sorted"])
    assert line.split() == ["sorted", *["2/5", "div."] * 3]


def task_table(made: Tasks) -> TaskTable:
    (found,) = make_task_tables(made.plan, made.results)
    return found


def test_over_tasks_a_seed_that_diverged_in_one_has_no_average(tmp_path: Path) -> None:
    diverged = {"sorted · rte": (1, 3), "sorted · qqp": (3,), "third · qqp": SEEDS}
    made = study(tmp_path, diverged, tasks=("qqp", "rte"))
    found = task_table(made)
    rows = {line: [cell.text for cell in found.row_cells(*line) if cell] for line in found.lines}
    assert rows["d24", "sorted"] == ["1 of 5 diverged", "2 of 5 diverged", "2 of 5 diverged"]
    assert rows["d24", "third"] == ["diverged", "61.26 ± 0.27", "diverged"]
    assert rows["d24", "apart"] == ["60.20 ± 0.16"] * 3
    assert {found.spreads["d24", arm] is None for arm in ("sorted", "third")} == {True}
    assert (found.comparisons, found.behind) == ({}, {})
    assert not any(cell.best for cell in found.cells.values())
    assert "lacks" not in found.caption
    assert "task rte · sorted: 2 of 5 seeds diverged (seed 1 after 21 of 60 updates, seed 3 after" in found.caption
    assert "mean ± SD of that over n = 5 seeds" in found.caption
    shown = {tuple(cell.text for cell in row) for row in scores(found)}
    assert any("diverged" in row for row in shown)
    console = Console(file=io.StringIO(), width=80)
    console.print(tasks_for_terminal(found), markup=False)
    assert isinstance(console.file, io.StringIO)
    assert "2/5 div." in console.file.getvalue()


def test_figures_name_it_and_draw_no_mean_of_it(some: Tasks) -> None:
    results = some.results
    styles = styles_of(some.plan)
    over_macs = {line.name: line for line in cost(results, styles).figure.data}
    assert set(over_macs) - {FRONT} == {"apart", "sorted (2 of 5 diverged)", "third"}
    assert list(over_macs["sorted (2 of 5 diverged)"].y) == [None]
    assert list(over_macs["apart"].y) == pytest.approx([50.2, 60.2])
    drawn = training(results, styles, some.plan.trials[0].budget)
    panel = [line for line in drawn.figure.data if line.showlegend]
    over_steps = {line.name: list(line.x) for line in panel}
    assert over_steps == {"apart": [1, 60], "sorted (2 of 5 diverged)": [1], "third": [1, 60]}  # up to step 21
    only_table(some)
    pareto = page_of(some.folder / "report").all("details", id="pareto")[0].all("table")[0].text
    assert "third" in pareto
    assert "sorted" not in pareto


def test_over_budgets_an_arm_has_no_point_where_a_seed_of_it_diverged(tmp_path: Path) -> None:
    made = study(tmp_path, {"sorted · rte": (0,)}, tasks=("qqp", "rte"))
    averages = averages_over_budget(made.results, "task", ())
    assert set(zip(averages["arm"], averages["level"], strict=True)) == {
        ("apart", "qqp"), ("apart", "rte"), ("sorted", "qqp"), ("third", "qqp"), ("third", "rte"),
    }  # fmt: skip
    drawn = over_budget(averages, made.results, "task", styles_of(made.plan))
    names = [line.name for line in drawn.figure.data]
    assert names == ["apart", "sorted (diverged: task rte)", "third"]


def test_more_seeds_are_asked_for_of_arms_that_have_a_mean_alone(some: Tasks) -> None:
    seconds = dict.fromkeys((arm.label for arm in some.plan.arms), 1.0)
    found = more_seeds(some.results, lambda seeds: some.plan, set(), seconds, 1)
    assert "sorted" not in {name for each in found for name in (each.arm, each.against)}
    assert in_words(found, some.results)[-1] == "Compared with none, since a seed of theirs diverged: sorted."


def test_status_says_diverged_and_gives_no_number(some: Tasks, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["status", "--storage", str(some.folder), "--seeds", "5"]
    assert run(some.plan.study, some.trainer, [*arguments, "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    states = {(each["arm"], each["seed"]): (each["state"], each["average"]) for each in trials}
    assert states["sorted · rte", 1] == ("diverged", None)
    assert states["sorted · rte", 0] == ("done", 60.0)
    assert run(some.plan.study, some.trainer, arguments) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "sorted" in line]
    assert sum("diverged" in line and "–" in line for line in lines) == 2


def test_list_counts_what_diverged_as_status_does(some: Tasks, capsys: pytest.CaptureFixture[str]) -> None:
    counted = []
    for command in (["status", "--seeds", "5"], ["list"]):
        arguments = [*command, "--json", "--storage", str(some.folder)]
        assert run(some.plan.study, some.trainer, arguments) == 0
        counted.append(json.loads(capsys.readouterr().out))
    status, listed = counted
    states = Counter(trial["state"] for trial in status["trials"] if trial["state"] != "missing")
    assert listed["studies"][0]["trials"] == states
    assert states["diverged"] == 2


def test_what_diverged_is_not_extracted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = study(tmp_path, {"sorted · rte": SEEDS})
    arguments = [
        "extract",
        "--storage",
        str(tmp_path),
        "--seeds",
        "5",
        "--only",
        "method=sorted",
        "--to",
        str(tmp_path),
    ]
    assert run(made.plan.study, made.trainer, arguments) == 2
    assert "sorted · rte diverged with every seed" in capsys.readouterr().err
