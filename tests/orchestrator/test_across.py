"""The table that a report over tasks begins with, from a real database, against numbers worked out by hand."""

import io
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from statsmodels.stats.multitest import multipletests

from orchestrator.commands.command_line import run
from orchestrator.commands.terminal_tables import tasks_for_terminal
from orchestrator.report.across import TaskTable
from orchestrator.report.answer import make_answer
from orchestrator.report.latex import as_latex
from orchestrator.report.rendering import accuracies, scores, tasks_as_markdown
from orchestrator.report.tables import make_table
from orchestrator.report.writer import make_task_tables, write_report
from orchestrator.study.study import Factor, Layout, Preset, Study
from orchestrator.trainer import SubModelCost
from tests.orchestrator.pages import page_of
from tests.orchestrator.tasks import PER_EPOCH, Tasks, TaskTrainer

# (d12, d24) of seeds 0, 1, 2
SCORES = {
    "apart · qqp": [(80, 90), (81, 91), (82, 95)],
    "apart · rte": [(50, 60), (52, 62), (54, 61)],
    "apart · cola": [(20, 30), (20, 33), (20, 27)],
    "sorted · qqp": [(70, 91), (70.5, 92.5), (73, 96)],
    "sorted · rte": [(40, 62), (42.5, 63), (44, 61)],
    "sorted · cola": [(10, 30), (10, 34), (9, 32)],
}
# Means over the three tasks, seed by seed.
APART = {"d12": (50, 51, 52), "d24": (60, 62, 61)}
SORTED = {"d12": (40, 41, 42), "d24": (61, 189.5 / 3, 63)}


def table(tasks: Tasks) -> TaskTable:
    (found,) = make_task_tables(tasks.plan, tasks.results)
    return found


def report(tasks: Tasks, name: str) -> str:
    """The text of one file of the report, which is written once."""
    if not (folder := tasks.folder / "report").exists():
        write_report(tasks.plan, tasks.results, folder)
    return (folder / name).read_text()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """Every trial is; to be read."""
    tasks = Tasks(tmp_path_factory.mktemp("finished"))
    tasks.finish_all(SCORES)
    return tasks


def test_tasks_are_a_factor_that_the_study_has_beside_another() -> None:
    whole: dict[str, Any] = {"name": "toy", "title": "", "presets": {"tiny": Preset({}, 1, "")}}
    method, task = Factor.of("method", ["a"]), Factor.of("task", ["rte"])
    assert Study(**whole, factors=(method, task), across="task").splits == ("task",)
    with pytest.raises(ValueError, match=r"across='tasks' is no factor of toy: choose from method, task"):
        Study(**whole, factors=(method, task), across="tasks")
    with pytest.raises(ValueError, match="nothing names the rows"):
        Study(**whole, factors=(task,), across="task")
    with pytest.raises(ValueError, match="heading for 'sst2'"):
        Factor("task", {"rte": {}}, headings={"sst2": "SST-2"})


def test_below_it_stands_what_a_facet_would_give_and_no_trial_is_another(finished: Tasks, tmp_path: Path) -> None:
    facet = Tasks(tmp_path, study_has={"across": None, "facets": ("task",)})
    facet.finish_all(SCORES)
    assert [trial.key for trial in finished.plan.trials] == [trial.key for trial in facet.plan.trials]
    assert finished.plan.base_key == facet.plan.base_key
    assert report(finished, "results.csv") == report(facet, "results.csv")
    for name, start in (("table.md", "## task qqp"), ("table.tex", r"\caption{Task qqp."), ("index.html", "task qqp")):
        ours, theirs = (report(each, name) for each in (finished, facet))
        assert ours.lower().index("by task") < ours.index(start)
        if name != "index.html":  # which begins with what these two differ in
            assert ours[ours.index(start) :] == theirs[theirs.index(start) :]
    both = replace(finished.plan.study, facets=("task",))
    assert both.facet({"method": "apart", "task": "rte"}) == "task rte"


def test_a_row_has_every_task_and_the_average_of_a_seed_over_them(finished: Tasks) -> None:
    found = table(finished)
    assert found.columns == ("QQP (F1)", "RTE", "cola", "avg.")
    assert found.lines == [("d24", "apart"), ("d12", "apart"), ("d24", "sorted"), ("d12", "sorted")]
    texts = {line: [cell.text for cell in found.row_cells(*line) if cell] for line in found.lines}
    assert texts == {  # SDs over n - 1: of 90, 91, 95 the root of (4 + 1 + 9) / 2
        ("d24", "apart"): ["92.00 ± 2.65", "61.00 ± 1.00", "30.00 ± 3.00", "61.00 ± 1.00"],
        ("d12", "apart"): ["81.00 ± 1.00", "52.00 ± 2.00", "20.00 ± 0.00", "51.00 ± 1.00"],
        ("d24", "sorted"): ["93.17 ± 2.57", "62.00 ± 1.00", "32.00 ± 2.00", "62.39 ± 1.21"],
        ("d12", "sorted"): ["71.17 ± 1.61", "42.17 ± 2.02", "9.67 ± 0.58", "41.00 ± 1.00"],
    }
    assert all(cell.n == 3 for line in found.lines for cell in found.row_cells(*line) if cell)
    assert found.spreads["d24", "apart"] == pytest.approx(np.std([92, 61, 30], ddof=1))
    assert found.spreads["d12", "sorted"] == pytest.approx(np.std([213.5 / 3, 126.5 / 3, 29 / 3], ddof=1))
    assert set(found.macs.values()) == {12_000_000, 24_000_000}
    assert "avg.: the mean over 3 tasks in every seed; mean ± SD of that over n = 3 seeds." in found.caption
    assert (
        "SD over tasks: of the tasks' means. The ± of an average in Table 2 of the SortedNet paper is this SD, over "
        "its eight tasks, not one over seeds; the ± of avg. here is over seeds."
    ) in found.caption


class CountingTrainer(TaskTrainer):
    """Counts floating-point operations, too."""

    def __init__(self) -> None:
        super().__init__()
        self.declaration = replace(self.declaration, flops="two per multiply-accumulate and one more")

    def costs(self, config: Mapping[str, Any]) -> list[SubModelCost]:
        return [replace(cost, flops=2 * cost.macs + 1) for cost in super().costs(config)]


def test_flops_stand_beside_multiply_accumulates_where_they_are_counted(finished: Tasks, tmp_path: Path) -> None:
    tasks = Tasks(tmp_path, trainer=CountingTrainer(), settings={"qqp": {"length": 1000}, "rte": {"length": 1000}})
    tasks.finish_all(SCORES)
    found = table(tasks)
    assert set(found.flops.values()) == {None}  # one task's examples are shorter
    one = make_table(tasks.results.of("task rte"), {}, "")
    assert one.flops["d24", "apart"] == 48 * 10**9 + 1
    head, row, *_ = ([cell.text for cell in line] for line in accuracies(one))
    assert [row[head.index(name)] for name in ("MACs", "FLOPs")] == ["24.00 G", "48.00 G"]
    assert "FLOPs: two per multiply-accumulate and one more." in one.caption
    assert {float(each) for each in pd.read_csv(io.StringIO(report(tasks, "results.csv")))["flops"]} == {
        2 * macs + 1 for macs in (12e6, 24e6, 12e9, 24e9)
    }
    alike = Tasks(tmp_path / "alike", trainer=CountingTrainer())
    alike.finish_all(SCORES)
    assert set(table(alike).flops.values()) == {24_000_001, 48_000_001}
    assert "FLOPs" in [cell.text for cell in scores(table(alike))[0]]
    assert "FLOPs" not in report(finished, "table.md")


def test_the_averages_alone_are_tested_and_marked_by_holms_correction_over_sub_models(finished: Tasks) -> None:
    found = table(finished)
    raw = stats.ttest_rel(SORTED["d24"], APART["d24"]).pvalue
    assert found.comparisons["d24", "sorted"].statistics.p == pytest.approx(raw)
    assert found.comparisons["d12", "sorted"].statistics.p is None  # ten points at every seed: no spread is known
    _, corrected, *_ = multipletests([1.0, raw], method="holm")
    assert found.comparisons["d24", "sorted"].adjusted_p == pytest.approx(corrected[1])
    assert found.comparisons["d12", "sorted"].statistics.mean == pytest.approx(-10)
    assert not any(cell.best for cell in found.task_cells.values())
    assert {place for place, cell in found.cells.items() if cell.best} == set(found.lines)
    assert "Only avg. is tested and marked. Bold: the highest mean per sub-model" in found.caption


def test_an_arm_that_is_separated_on_average_loses_its_bold(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path)
    apart = {label: [(small + shift, large) for (small, large), shift in zip(rows, (0.0, 0.1, 0.3), strict=True)]
             for label, rows in SCORES.items() if label.startswith("apart")}  # fmt: skip
    tasks.finish_all({**SCORES, **apart})
    found = table(tasks)
    against = found.comparisons["d12", "sorted"]
    differences = [-10.0, -10.1, -10.3]
    assert against.statistics.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert against.adjusted_p == pytest.approx(2 * against.statistics.p)
    assert against.separated
    assert {arm for (row, arm), cell in found.cells.items() if row == "d12" and cell.best} == {"apart"}
    assert "**" not in tasks_as_markdown(found).split("| sorted | d12 |")[1].splitlines()[0]


def test_where_lower_is_better_the_lowest_average_is_bold_and_a_baseline_can_be_beaten_downwards(
    tmp_path: Path,
) -> None:
    tasks = Tasks(tmp_path, TaskTrainer(higher_is_better=False), seeds=(0,))
    tasks.finish_all(SCORES)
    found = table(tasks)
    assert {place for place, cell in found.cells.items() if cell.best} == {("d24", "apart"), ("d12", "sorted")}
    assert found.comparisons["d12", "sorted"].difference == "−10.00"
    assert "Bold: the lowest per sub-model" in found.caption
    assert "lower is better" in found.comparison_caption


def test_one_seed_has_no_spread_over_seeds_and_still_one_over_tasks(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path, seeds=(0,))
    tasks.finish_all(SCORES)
    found = table(tasks)
    assert [cell.text for cell in found.row_cells("d24", "apart") if cell] == ["90.00", "60.00", "30.00", "60.00"]
    assert found.spreads["d24", "apart"] == pytest.approx(30)
    assert "Of every task one seed, so no spread is known." in found.caption
    assert "avg.: the mean over 3 tasks, of the one seed, so no SD over seeds is known." in found.caption
    assert "nothing is separated" in found.caption
    assert found.comparisons["d24", "sorted"].text == "+1.00"
    assert "±" not in "".join(cell.text for row in scores(found) for cell in row)


def test_the_spread_over_tasks_is_what_the_paper_prints_behind_an_average(tmp_path: Path) -> None:
    """The row of BERT base in Table 2, with 81.07 ± 14.08 for its average."""
    bert_base = {"mnli": 84.22, "qqp": 87.37, "qnli": 91.47, "sst2": 92.61, "cola": 54.90, "stsb": 88.08, "mrpc": 86.91,
                 "rte": 62.96}  # fmt: skip
    tasks = Tasks(tmp_path, seeds=(0,), methods=("apart",), tasks=tuple(bert_base))
    tasks.finish_all({f"apart · {task}": [(score, score)] for task, score in bert_base.items()})
    found = table(tasks)
    assert found.cells["d12", "apart"].mean == pytest.approx(81.07, abs=0.0051)
    assert found.spreads["d12", "apart"] == pytest.approx(14.08, abs=0.0051)


def test_an_arm_that_lacks_a_task_has_no_average_and_is_named(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path)
    tasks.finish_all({label: rows for label, rows in SCORES.items() if label != "sorted · rte"})
    found = table(tasks)
    assert [cell and cell.text for cell in found.row_cells("d24", "sorted")] == [
        "93.17 ± 2.57",
        None,
        "32.00 ± 2.00",
        None,
    ]
    assert found.cells.keys() == {("d24", "apart"), ("d12", "apart")}
    assert (found.comparisons, found.spreads.keys()) == ({}, found.cells.keys())
    assert "What lacks a task has no avg.: sorted lacks RTE." in found.caption
    (row,) = (line for line in tasks_as_markdown(found).splitlines() if line.startswith("| sorted | d24 |"))
    assert "| 93.17 ± 2.57 | – | 32.00 ± 2.00 | – | – |" in row


def test_a_sub_model_that_a_task_lacks_has_no_average_and_the_others_have_theirs(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path, seeds=(0,), settings={"rte": {"depths": [24]}})
    for label, rows in SCORES.items():
        scored = dict(zip(("d12", "d24"), rows[0], strict=True))
        tasks.finish(label, 0, {"d24": scored["d24"]} if label.endswith("rte") else scored)
    found = table(tasks)
    assert found.cells.keys() == {("d24", "apart"), ("d24", "sorted")}
    assert found.cells["d24", "sorted"].mean == 61
    assert "apart d12 lacks RTE; sorted d12 lacks RTE." in found.caption


def test_a_task_of_the_study_that_nothing_has_finished_is_an_empty_column_and_leaves_no_average(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path)
    tasks.finish_all({label: rows for label, rows in SCORES.items() if not label.endswith("rte")})
    found = table(tasks)
    assert found.columns == ("QQP (F1)", "RTE", "cola", "avg.")
    assert found.cells == {}
    assert "apart lacks RTE; sorted lacks RTE" in found.caption
    assert "Bold" not in found.caption
    only = Layout(baseline={"method": "apart"}, only=(("task", "qqp"), ("task", "cola")))
    chosen = Tasks(tmp_path, layout=only)
    assert table(chosen).cells["d24", "apart"].mean == 61  # of what was asked for, nothing is missing


def test_only_seeds_that_every_task_has_count_in_the_average(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path)
    tasks.finish_all({label: rows[:2] if label.endswith("rte") else rows for label, rows in SCORES.items()})
    found = table(tasks)
    assert [cell.n for cell in found.row_cells("d24", "apart") if cell] == [3, 2, 3, 2]
    assert found.cells["d24", "apart"].text == "61.00 ± 1.41"  # of 60 and 62; 61 would be the third
    assert found.spreads["d24", "apart"] == pytest.approx(np.std([90.5, 61, 31.5], ddof=1))
    assert "n = 3 in QQP (F1), 2 in RTE, 3 in cola." in found.caption
    assert "in every seed that every task has; mean ± SD of that over n = 2 seeds" in found.caption


def test_without_a_seed_that_every_task_has_there_is_no_average(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path)
    for label, rows in SCORES.items():
        seed = 0 if label.endswith("rte") else 1
        tasks.finish(label, seed, dict(zip(("d12", "d24"), rows[seed], strict=True)))
    found = table(tasks)
    assert found.cells == {}
    assert "avg. needs every task in one seed, and nothing has that yet." in found.caption


def test_a_value_that_is_no_number_keeps_no_other_from_being_shown(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path, seeds=(0, 1))
    tasks.finish_all({**SCORES, "sorted · rte": [(float("nan"), 62), (42.5, 63)]})
    found = table(tasks)
    assert math.isnan(found.task_cells["d12", "sorted", "rte"].mean)
    assert not found.task_cells["d12", "sorted", "rte"].best
    assert found.task_cells["d24", "sorted", "rte"].mean == 62.5
    tasks.diverge("sorted · rte", 0)
    assert table(tasks).task_cells["d12", "sorted", "rte"].text == "1 of 2 diverged"


def test_multiply_accumulates_are_given_where_every_task_has_the_same(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path, seeds=(0,), settings={"qqp": {"length": 2}})
    tasks.finish_all(SCORES)
    found = table(tasks)
    assert set(found.macs.values()) == {None}
    assert "MACs" not in [cell.text for cell in scores(found)[0]]
    chosen = Tasks(
        tmp_path, seeds=(0,), settings={"qqp": {"length": 2}}, layout=Layout(only=(("task", "rte"), ("task", "cola")))
    )
    assert [row[-1].text for row in scores(table(chosen))] == ["MACs", "24.000 M", "12.000 M", "24.000 M", "12.000 M"]


PUBLISHED = """method,task,sub_model,accuracy,source
apart,qqp,d24,91.5,printed
sorted,rte,d24,61.25,derived
apart,avg.,d24,60.5,printed
apart,rte,d24,60,printed
apart,cola,d24,30,printed
sorted,avg.,d12,42,printed
"""


@pytest.fixture
def beside(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "published.csv").write_text(PUBLISHED)
    return {"published": tmp_path / "published.csv", "published_caption": "As printed."}


def test_what_was_published_of_a_task_and_of_the_average_stands_beside(tmp_path: Path, beside: dict[str, Any]) -> None:
    tasks = Tasks(tmp_path, study_has=beside)
    tasks.finish_all(SCORES)
    found = table(tasks)
    printed = {line: [cell.published_text for cell in found.row_cells(*line) if cell] for line in found.lines}
    assert printed == {
        ("d24", "apart"): ["91.50 (+0.50)", "60.00 (+1.00)", "30.00 (+0.00)", "60.50 (+0.50)"],
        ("d12", "apart"): ["–"] * 4,
        ("d24", "sorted"): ["–", "61.25† (+0.75)", "–", "–"],
        ("d12", "sorted"): ["–", "–", "–", "42.00 (−1.00)"],  # printed without tasks
    }
    assert "As printed." in found.caption
    assert "| apart | d24 | 91.50 (+0.50) | 60.00 (+1.00) | 30.00 (+0.00) | 60.50 (+0.50) |" in tasks_as_markdown(found)
    latex = as_latex([], [found], ["published"])
    printed_row = r" & \emph{published} & \emph{91.50} &  & \emph{60.00} &  & \emph{30.00} &  & \emph{60.50} &  &  \\"
    assert printed_row in latex.splitlines()
    assert r"\emph{61.25} & $^\dagger$" in latex
    report(tasks, "index.html")
    (shown,) = page_of(tasks.folder / "report").all("section", id="tasks-1")
    rows = [[cell.text for cell in row.all("th", "td")] for row in shown.all("tr")]
    place = rows.index(["published", "91.50", "60.00", "30.00", "60.50", "", ""])
    assert rows[place - 1][0] == "d24"
    assert rows[place - 1][4] == "61.00 ± 1.00"
    assert rows[place + 1] == ["ours − published", "+0.50", "+1.00", "+0.00", "+0.50", "", ""]
    assert ["published", "–", "61.25†", "–", "–", "", ""] in rows


def test_a_published_average_stands_beside_none_over_other_tasks_or_settings(
    tmp_path: Path, beside: dict[str, Any]
) -> None:
    fewer = Layout(baseline={"method": "apart"}, only=(("task", "qqp"), ("task", "rte")))
    tasks = Tasks(tmp_path, study_has=beside, layout=fewer)
    tasks.finish_all({label: rows for label, rows in SCORES.items() if "cola" not in label})
    found = table(tasks)
    assert found.task_cells["d24", "apart", "qqp"].published == 91.5
    assert not any(cell.published for cell in found.cells.values())
    (tmp_path / "longer").mkdir()
    strict = Tasks(
        tmp_path / "longer", study_has={**beside, "published_for": {"length": "1"}}, settings={"rte": {"length": 2}}
    )
    strict.finish_all(SCORES)
    found = table(strict)
    assert (found.task_cells["d24", "apart", "qqp"].published, found.task_cells["d24", "apart", "rte"].published) == (
        91.5, None,
    )  # fmt: skip
    assert not any(cell.published for cell in found.cells.values())


def test_updates_are_read_back_in_epochs_and_an_older_database_has_none(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path, seeds=(0, 1))
    for task, steps in (("qqp", 300), ("rte", 60), ("cola", 121)):
        for seed in (0, 1):
            scores_of = {"d12": 1.0, "d24": 2.0}
            drawn = steps / 2 + (seed - 0.5) * steps / 30  # 1.45 and 1.55 epochs
            tasks.finish(f"apart · {task}", seed, scores_of, {"d12": 0.0, "d24": float(steps)})
            tasks.finish(f"sorted · {task}", seed, scores_of, {"d12": drawn, "d24": steps - drawn})
    assert tasks.results.updates_per_epoch["task cola", "apart", 1] == 40.5
    found = table(tasks)
    assert found.updates == {"apart": "3 d24", "sorted": "~1.5 d12 + 1.5 d24"}
    assert [row[-2].text for row in scores(found)] == [
        "updates in epochs", "3 d24", "3 d24", "~1.5 d12 + 1.5 d24", "~1.5 d12 + 1.5 d24",
    ]  # fmt: skip
    assert "Updates in epochs: of every sub-model, by the ledger" in found.caption
    for each in tasks.tracker.trials(tasks.recorder.experiment, tasks.plan.base_key):
        if "sorted" in each.tags["arm"]:
            tasks.tracker.client.delete_tag(each.run_id, "updates_per_epoch")
    assert set(tasks.results.updates_per_epoch.values()) == {0.0, *PER_EPOCH.values()}
    assert table(tasks).updates == {"apart": "3 d24", "sorted": ""}
    for each in tasks.tracker.trials(tasks.recorder.experiment, tasks.plan.base_key):
        if "apart" in each.tags["arm"]:
            tasks.tracker.client.delete_tag(each.run_id, "updates_per_epoch")
    assert "updates in epochs" not in [cell.text for cell in scores(table(tasks))[0]]


def test_further_facets_have_a_table_across_tasks_each(tmp_path: Path) -> None:
    plain = Tasks(tmp_path)
    factors = (*plain.plan.study.factors, Factor("budget", {"1×": {"scale": 1}, "2×": {"scale": 2}}))
    tasks = Tasks(tmp_path, seeds=(0,), study_has={"factors": factors, "facets": ("budget",), "curve": "budget"})
    for label, rows in SCORES.items():
        tasks.finish_all({f"{label} · 1×": rows, f"{label} · 2×": [(small + 1, large + 1) for small, large in rows]})
    one, two = make_task_tables(tasks.plan, tasks.results)
    assert (one.title, two.title) == ("budget 1× · by task", "budget 2× · by task")
    assert (one.cells["d24", "apart"].mean, two.cells["d24", "apart"].mean) == (60, 61)
    assert one.arms == two.arms == ("apart", "sorted")
    assert "budget 2× · task rte" in report(tasks, "table.md")
    page = report(tasks, "index.html")
    assert page.index("budget 2× · by task") < page.index("Average accuracy over budget")
    assert '"text":"rte"' in page  # tasks are panels of that figure


def test_the_table_comes_first_in_markdown_latex_and_the_page_with_its_bold_and_differences(finished: Tasks) -> None:
    markdown = report(finished, "table.md").splitlines()
    assert markdown[0] == "# Tasks"
    assert markdown[2].startswith(
        "Highest average test accuracy over 3 tasks: sorted at d24, 62.39 %; apart at d12, 51.00 %."
    )
    start = markdown.index("## by task")
    assert all(line.startswith("- ") for line in markdown[4 : start - 1])
    assert markdown[start + 2 : start + 5] == [
        "| arm | sub-model | QQP (F1) | RTE | cola | avg. | SD over tasks | updates in epochs | MACs |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
        "| apart | d24 | 92.00 ± 2.65 | 61.00 ± 1.00 | 30.00 ± 3.00 | **61.00 ± 1.00** | 31.00 | "
        "~1.7 d12 + 1.7 d24 | 24.000 M |",
    ]  # 60 of 100, 20 and 40.5 steps: .6, 3 and 1.48 epochs
    assert "| d24 | +1.39 " in "\n".join(markdown)
    latex = report(finished, "table.tex")
    assert r"Updates in epochs of apart \textasciitilde{}1.7 d12 + 1.7 d24;" in latex  # as a column it were too wide
    rows = latex[latex.index(r"\midrule") : latex.index(r"\bottomrule")].splitlines()
    assert rows[1] == (
        r"apart & d24 & 24.000 M & 92.00 & {\scriptsize\,$\pm$\,2.65} & "
        r"61.00 & {\scriptsize\,$\pm$\,1.00} & 30.00 & {\scriptsize\,$\pm$\,3.00} & "
        r"\textbf{61.00} & {\scriptsize\,$\pm$\,1.00} & 31.00 \\"
    )
    assert rows[2].startswith(" & d12 & ")  # the arm is named once
    assert r"\begin{tabular}{llrr@{}lr@{}lr@{}lr@{}lr}" in latex
    report(finished, "index.html")
    page = page_of(finished.folder / "report")
    headings = [heading.text for heading in page.all("h2")][:3]
    assert headings == ["Result", "Test accuracy (%): by task", "Test accuracy (%): task qqp"]
    (shown,) = page.all("section", id="tasks-1")
    assert "61.00 ± 1.00" in [cell.text for cell in shown.all("td", **{"class": "best"})]
    assert "Of avg. over tasks. Differences to the baseline (apart)" in shown.text
    (summary,) = page.all("section", id="result")[0].all("table")
    assert [cell.text for cell in summary.all("td")][:2] == ["61.00 ± 1.00", "51.00 ± 1.00"]


def test_the_command_that_reports_prints_it_first(finished: Tasks, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(finished.plan.study, finished.trainer, ["report", "--storage", str(finished.folder)]) == 0
    printed = capsys.readouterr().out
    first, *_, last = printed.splitlines()
    assert first == last == make_answer(finished.results, [], [table(finished)]).headline
    assert printed.index(first) < printed.index("## by task\n\n| arm | sub-model |")
    assert printed.index("## by task") < printed.index("## task qqp")


def test_on_a_terminal_it_fits_80_columns(tmp_path: Path, beside: dict[str, Any]) -> None:
    tasks = Tasks(tmp_path, study_has=beside)
    tasks.finish_all(SCORES)
    console = Console(file=io.StringIO(), width=80)
    console.print(tasks_for_terminal(table(tasks)), markup=False)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    words = [line.split() for line in lines]
    assert max(map(len, lines)) <= 80
    for expected in (
        ["d24", "93.17", "62.00", "32.00", "62.39"],
        ["±", "SD", "2.57", "1.00", "2.00", "1.21"],
        ["published", "91.50", "60.00", "30.00", "60.50"],
        ["SD", "over", "tasks", "31.00"],
        ["−", "apart", "−10.00"],
    ):
        assert expected in words
    many = replace(table(tasks), headings={str(number): str(number) for number in range(9)})
    console.print(tasks_for_terminal(many), markup=False)
    assert ["d24", "62.39"] in [line.split() for line in console.file.getvalue().splitlines()]
