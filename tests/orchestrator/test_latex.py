"""Tables for papers: what is in the file that is `\\input`, and that the document around it compiles where TeX is."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.commands.command_line import run
from orchestrator.errors import UserError
from orchestrator.report.latex import as_latex, as_preview
from orchestrator.report.latex_parts import PARTS, read_parts
from orchestrator.report.tables import AVERAGE, Cell, Table, make_table
from orchestrator.report.writer import make_task_tables
from tests.orchestrator.tasks import Tasks
from tests.orchestrator.test_answer import results

SEEDS = {"a": (40.0, 41.0, 42.0), "b": (30.0, 31.5, 32.0), "c": (-3.0, -1.0, -2.0)}


def two_factors() -> Table:
    """`NS · instance` and so on; three seeds."""
    values = {f"{method} · {norm}": SEEDS["ab"[place]] for method in ("NS", "US")
              for place, norm in enumerate(("instance", "batch"))}  # fmt: skip
    return make_table(results(("", values)), {("NS · batch", AVERAGE): (31.0, True)}, "What was trained.")


def body(latex: str) -> list[str]:
    return latex[latex.index(r"\toprule") : latex.index(r"\bottomrule")].splitlines()[1:]


def widths(latex: str) -> set[int]:
    """How many of TeX's columns the rows have."""
    found = set()
    for row in body(latex):
        if row.endswith(r"\\"):
            spans = [int(width) - 1 for width in re.findall(r"\\multicolumn\{(\d+)\}", row)]
            found.add(len(re.findall(r"(?<!\\)&", row)) + 1 + sum(spans))
    return found


def test_arms_stand_under_a_spanning_head_of_their_first_factor_with_aligned_numbers() -> None:
    latex = as_latex([two_factors()], parts=(), name="norms")
    assert body(latex)[:5] == [
        r" & \multicolumn{4}{c}{NS} & \multicolumn{4}{c}{US} \\",
        r"\cmidrule(lr){2-5}\cmidrule(lr){6-9}",
        r"sub-model & \multicolumn{2}{c}{instance} & \multicolumn{2}{c}{batch} & \multicolumn{2}{c}{instance} & "
        r"\multicolumn{2}{c}{batch} \\",
        r"\midrule",
        r"w100 & \textbf{46.00} & {\scriptsize\,$\pm$\,1.00} & 36.17 & {\scriptsize\,$\pm$\,1.04} & \textbf{46.00} & "
        r"{\scriptsize\,$\pm$\,1.00} & 36.17 & {\scriptsize\,$\pm$\,1.04} \\",
    ]
    assert widths(latex) == {9}
    assert r"\begin{tabular}{lr@{}lr@{}lr@{}lr@{}l}" in latex
    assert r"\label{tab:norms}" in latex
    assert "What was trained. Mean $\\pm$ SD over n~=~3 seeds." in latex
    assert "documentclass" not in latex


def test_a_minus_is_one_and_what_is_no_number_spans_its_columns() -> None:
    table = make_table(results(("", {"a": SEEDS["a"], "c": SEEDS["c"]})), {}, "")
    assert "& $-$2.00 & {" in as_latex([table]).replace("$-$7.00", "$-$2.00")
    cells = {**table.cells, ("w100", "c"): replace(table.cells["w100", "c"], diverged=1)}
    latex = as_latex([replace(table, cells=cells)])
    assert r"\multicolumn{2}{c}{1 of 3 diverged} \\" in latex
    assert widths(latex) == {6}


@pytest.mark.parametrize("part", PARTS)
def test_parts_are_there_where_they_are_chosen(part: str) -> None:
    sign = {"published": r"\emph{31.00} & $^\dagger$", "sortedness": r"sorted (\%) &", "macs": "& MACs &"}
    for chosen in ((), (part,), PARTS):
        latex = as_latex([two_factors()], parts=chosen)
        assert (sign[part] in latex) == (part in chosen)
        assert widths(latex) == {9 + ("macs" in chosen)}


def test_many_arms_are_rows_in_groups_of_the_first_factor() -> None:
    values = {f"{method} · {norm}": SEEDS["a"] for method in ("m1", "m2") for norm in "pqrs"}
    latex = as_latex([make_table(results(("", values)), {}, "")], parts=PARTS)
    rows = body(latex)
    assert rows[0].startswith(
        r"arm &  & \multicolumn{2}{c}{w100} & \multicolumn{2}{c}{w050} & \multicolumn{2}{c}{avg.}"
    )
    names = [row.split(" & ")[:2] for row in rows if row.endswith(r"\\")]
    assert names[2:6] == [["m1", "p"], ["", "q"], ["", "r"], ["", "s"]]
    assert names[6] == ["m2", "p"]
    assert rows.count(r"\addlinespace") == 2  # beneath the costs, and between the methods
    assert widths(latex) == {10}


def test_a_table_is_set_as_wide_as_a_paper_has_room_for() -> None:
    narrow = as_latex([make_table(results(("", {"a": (40.0,), "b": (30.0,)})), {}, "")])
    assert (r"\begin{table}[t]" in narrow, r"\small\setlength" in narrow) == (True, True)
    wide = as_latex([make_table(results(("", {f"{m} · {n}": SEEDS["a"] for m in "abc" for n in "pq"})), {}, "")])
    assert (r"\begin{table*}[t]" in wide, r"\end{table*}" in wide) == (True, True)  # over both columns, where two are
    assert r"\footnotesize\setlength" in wide
    too_wide = {f"{m} · a-long-name-of-{n}": SEEDS["a"] for m in "abc" for n in "pq"}
    assert "& a-long-name-of-p & " in as_latex([make_table(results(("", too_wide)), {}, "")])  # as rows


def test_sds_stand_beneath_their_means_where_tasks_are_many(tmp_path: Path) -> None:
    made = Tasks(tmp_path, seeds=(0, 1), tasks=("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb"))
    made.finish_all({arm.label: [(50, 60), (52, 62)] for arm in made.plan.arms})
    (table,) = make_task_tables(made.plan, made.results)
    latex = as_latex([], [replace(table, updates={"apart": "1.5 d12", "sorted": "~1 d12"})])
    assert r" & 61.00 & 61.00 & " in latex
    assert r" &  & {\scriptsize$\pm$\,1.41} & {\scriptsize$\pm$\,1.41}" in latex
    assert r"\shortstack[r]{SD over\\tasks} \\" in latex
    assert len(widths(latex)) == 1
    assert (
        r"pdates in epochs of apart 1.5 d12; sorted \textasciitilde{}1 d12." in latex
    )  # in the caption: a column of them would be the widest


def test_one_seed_has_one_column_per_arm() -> None:
    latex = as_latex([make_table(results(("", {"a": (40.0,), "b": (30.0,)})), {}, "")], parts=())
    assert r"\begin{tabular}{lrr}" in latex
    assert r"w100 & \textbf{45.00} & 35.00 \\" in body(latex)
    assert "pm" not in latex


def test_every_table_has_a_label_of_its_own() -> None:
    one = two_factors()
    titles = ("budget ½×", "budget ×½", "中文", "")
    latex = as_latex([replace(one, title=title) for title in titles], name="s")
    labels = re.findall(r"\\label\{(.*)\}", latex)
    assert len(set(labels)) == 4
    assert all(label.startswith("tab:s") and label.isascii() and " " not in label for label in labels)
    assert "% For pdfLaTeX the document's head needs these lines" in latex
    assert "4E2D" in as_preview(latex, "table.tex")


def test_parts_are_read_or_refused_in_a_line() -> None:
    assert read_parts("--latex", "published, macs") == {"published", "macs"}
    assert read_parts("--latex", "none") == frozenset()
    for text, why in (("macs,publishd", "did you mean 'published'"), ("", "give some of"), ("none,macs", "'none'")):
        with pytest.raises(UserError, match=why):
            read_parts("--latex", text)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two tasks whose arms have two seeds, as the command writes it."""
    made = Tasks(tmp_path_factory.mktemp("written"), seeds=(0, 1), methods=("a_b", "100 % &"),
                 tasks=("qqp", "rte"))  # fmt: skip
    made.finish_all({arm.label: [(50, 60), (51, 62)] for arm in made.plan.arms})
    command = ["report", "--storage", str(made.folder), "--seeds", "2", "--latex", "sortedness"]
    assert run(made.plan.study, made.trainer, command) == 0
    return made.folder / "reports" / "toy" / "tiny"


def test_the_command_writes_the_parts_that_are_asked_for(written: Path) -> None:
    latex = (written / "table.tex").read_text()
    assert r"\shortstack[r]{sorted\\(\%)} & shortfall" in latex or r"sorted (\%) &" in latex
    assert "MACs &" not in latex
    assert r"\input{table.tex}" in (written / "preview.tex").read_text()
    assert re.findall(r"\\label\{(.*)\}", latex) == ["tab:toy-by-task", "tab:toy-task-qqp", "tab:toy-task-rte"]


@pytest.mark.parametrize("engine", ["pdflatex", "lualatex"])
def test_the_preview_compiles(engine: str, written: Path, tmp_path: Path) -> None:
    if shutil.which(engine) is None:
        pytest.skip(f"needs {engine}")
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", f"-output-directory={tmp_path}", "preview.tex"],
        cwd=written,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "preview.pdf").exists()


def test_a_cell_of_more_decimals_keeps_them() -> None:
    cell = Cell(1.0, 0.5, 3, best=True, decimals=3)
    table = two_factors()
    latex = as_latex([replace(table, cells={**table.cells, ("w100", "NS · instance"): cell})])
    assert r"\textbf{1.000} & {\scriptsize\,$\pm$\,0.500}" in latex
