"""What levels may be called, how they are asked for, and that they are shown as they are wherever they stand."""

import contextlib
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from orchestrator.commands.command_line import run
from orchestrator.commands.console import plain_console
from orchestrator.commands.level_choices import chosen_levels
from orchestrator.commands.terminal_tables import for_terminal
from orchestrator.errors import UserError
from orchestrator.report.figures.cost import FRONT, cost
from orchestrator.report.figures.styles import styles_of
from orchestrator.report.writer import write_report
from orchestrator.study.levels import level_name
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Factor, Layout, Preset, Study
from studies.image_trainer import ImageTrainer
from tests.orchestrator.tasks import Tasks, TaskTrainer

VALUES: dict[str, Any] = {
    "8": 8, "32": 32, "0.001": 1e-3, "1e-05": 1e-5, "true": True, "null": None, "[0.5, 1.0]": [0.5, 1.0],
    '{"depth": [1, 2]}': {"depth": [1, 2]}, "text": "text", "-1": -1,
}  # fmt: skip


def study(*factors: Factor, **has: Any) -> Study:
    return Study(name="toy", title="Toy", presets={"tiny": Preset({}, 1, "")}, factors=factors, **has)


def test_any_value_is_a_level_and_is_called_what_set_would_take() -> None:
    factor = Factor.of("x", list(VALUES.values()), usual=[8, None])
    assert tuple(factor.levels) == tuple(VALUES)
    assert [settings["x"] for settings in factor.levels.values()] == list(VALUES.values())
    assert factor.usual == ("8", "null")
    assert [arm.settings["x"] for arm in study(factor).arms({}, Layout())] == [8, None]


def test_levels_that_python_takes_for_equal_stay_apart() -> None:
    arms = study(Factor.of("x", [True, 1, 0, 0.0, False, "a"])).arms({}, Layout())
    assert [arm.label for arm in arms] == ["true", "1", "0", "0.0", "false", "a"]
    assert [repr(arm.settings["x"]) for arm in arms] == ["True", "1", "0", "0.0", "False", "'a'"]


@pytest.mark.parametrize(
    ("setting", "levels", "chosen"),
    [
        ("batch_size", [8, 32], "batch_size=8"),
        ("learning_rate", [1e-5, 0.1], "learning_rate=1e-5"),
        ("optimizer.learning_rate", [0.1, 0.2], "optimizer.learning_rate=.1"),
        ("flip", [True, False], "flip=true"),
        ("clip_norm", [None, 1], "clip_norm=null"),
        ("widths", [[0.5, 1.0], [1.0]], "widths=[0.5,1]"),
        ("widths", [[0.5, 1.0], [1.0]], "widths=[0.5, 1.0]"),
        ("optimizer", [{"momentum": 0.5}, {"momentum": 0}], 'optimizer={"momentum":0.5}'),
    ],
)
def test_a_factor_over_any_setting_is_planned_and_chosen_by_its_value(
    setting: str, levels: list[Any], chosen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Study(
        name="toy",
        title="Toy",
        presets={"tiny": Preset({"dataset": "digits", "updates": 4, "precision": "fp32"}, 1, "")},
        factors=(Factor.of(setting, levels), Factor.of("method", ["NS", "SortedNet"])),
        baseline={setting: levels[1]},
    )
    arguments = ["status", "--json", "--storage", str(tmp_path / "s")]
    assert run(made, ImageTrainer(), arguments) == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 4
    assert run(made, ImageTrainer(), [*arguments, "--only", f"{chosen},method=NS"]) == 0
    (trial,) = json.loads(capsys.readouterr().out)["trials"]
    assert trial["arm"] == f"{level_name(levels[0])} · NS"


class _Mute:
    def __repr__(self) -> str:
        raise OSError("nothing")


def _endless() -> list[Any]:
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


def test_a_value_that_no_trial_could_be_known_by_is_refused_in_a_line() -> None:
    for value in (float("nan"), float("inf"), {1, 2}, object(), 10**5000, [-(10**5000)], _Mute(), _endless()):
        with pytest.raises(UserError, match="has no canonical form"):
            make_plan(study(Factor.of("task", ["rte", value])), _Plain(), "tiny", {}, (0,))


class _Plain(TaskTrainer):
    def resolve(self, settings: Any) -> dict[str, Any]:
        return {"length": 1, "depths": [12], **settings}

    def budget(self, config: Any) -> Any:
        return super().budget({"task": ""})

    def data_checksum(self, config: Any, data: Path | None) -> str:
        return "none"


REFUSED: dict[str, tuple[Factor, str]] = {
    "empty": (Factor("f", {"a": {}, "": {}}), "is empty"),
    "blank": (Factor("f", {" ": {}}), "is empty"),
    "a line break": (Factor("f", {"a\nb": {}}), "line break"),
    "a tabulator": (Factor("f", {"a\tb": {}}), "cannot be seen"),
    "a control character": (Factor("f", {"a\x1b[1mb": {}}), "cannot be seen"),
    "another direction": (Factor("f", {"a\u202eb": {}}), "cannot be seen"),
    "zero width": (Factor("f", {"a\u200bb": {}}), "cannot be seen"),
    "a blank of Braille": (Factor("f", {"\u2800": {}}), "cannot be seen"),
    "a surrogate": (Factor("f", {"\ud800": {}}), "cannot be seen"),
    "long": (Factor("f", {"x" * 300: {}}), "has 300 characters of at most 100"),
    "a space at its end": (Factor("f", {"a ": {}}), "space at an end"),
    "spaces": (Factor("f", {"a  b": {}}), "several spaces"),
    "what separates": (Factor("f", {"a · b": {}}), "between the levels of an arm"),
    "a mark alone": (Factor("f", {"\u0301a": {}}), "joins the letter"),
    "no text": (Factor("f", {1: {}}), "is no text"),  # type: ignore[dict-item]
    "twice": (Factor.of("f", ["a", "b", "a"]), "two levels named 'a'"),
    "a number and its text": (Factor.of("f", [8, "8"]), "two levels named '8'"),
    "true and its text": (Factor.of("f", [True, "true"]), "two levels named 'true'"),
    "case": (Factor.of("f", ["NS", "ns"]), "read alike, 'NS' and 'ns'"),
    "spaces alone": (Factor.of("f", ["a b", "ab"]), "read alike"),
    "normalisation": (Factor.of("f", ["\xe9", "e\u0301"]), r"read alike, '\xe9' and 'e\u0301'"),
    "Cyrillic": (Factor.of("f", ["NS", "N\u0405"]), r"read alike, 'NS' and 'N\u0405'"),
    "Greek": (Factor.of("f", ["BN", "\u0392N"]), "read alike"),
    "full width": (Factor.of("f", ["8", "\uff18"]), "read alike"),
    "dashes": (Factor.of("f", ["a-b", "a\u2013b"]), "read alike"),
    "headings": (Factor("f", {"a": {}, "b": {}}, headings={"a": "T", "b": "t"}), "read alike"),
    "no levels": (Factor.of("f", []), "has no levels"),
    "usual of none": (Factor.of("f", ["a"], usual=["b"]), "unknown level of f 'b'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_name_that_could_not_be_shown_or_told_apart_is_refused_in_a_line_before_anything_starts(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    factor, why = REFUSED[case]
    assert run(study(factor), TaskTrainer(), ["--storage", str(tmp_path / "s")]) == 2
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1
    assert said.isascii() or not set(said) & set("\u202e\u200b\t")
    assert not (tmp_path / "s").exists()


def test_two_factors_of_one_name_and_a_study_without_any_are_refused() -> None:
    with pytest.raises(UserError, match="two factors named f"):
        study(Factor.of("f", ["a"]), Factor.of("f", ["b"])).arms({}, Layout())
    with pytest.raises(UserError, match="varies nothing"):
        study().arms({}, Layout())


FACTORS = (
    Factor.of("sampler", ["uniform", "annealed(largest,0.5)", "a=b", "geometric(0.5)", 'say "x"']),
    Factor.of("f", ["a", "b", "a,f=b", "x,sampler=uniform", "é è", 0, 0.0, 1000]),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sampler=uniform", [("sampler", "uniform")]),
        ("sampler=annealed(largest,0.5)", [("sampler", "annealed(largest,0.5)")]),
        ("f=b,sampler=annealed(largest,0.5),f=a", [("f", "b"), ("sampler", "annealed(largest,0.5)"), ("f", "a")]),
        ("sampler=a=b,f=b", [("sampler", "a=b"), ("f", "b")]),
        (" sampler = uniform , f=é è ", [("sampler", "uniform"), ("f", "é è")]),
        ('f="a,f=b"', [("f", "a,f=b")]),
        ('f="a",f="b"', [("f", "a"), ("f", "b")]),
        ('sampler="say ""x""",f=a', [("sampler", 'say "x"'), ("f", "a")]),
        ('sampler=say "x"', [("sampler", 'say "x"')]),
        ("f=0", [("f", "0")]),
        ("f=0.0", [("f", "0.0")]),
        ("f=1e3", [("f", "1000")]),
    ],
)  # fmt: skip
def test_levels_are_read_by_the_names_that_there_are(text: str, found: list[tuple[str, str]]) -> None:
    assert chosen_levels("--only", text, FACTORS) == found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("f=a,f=b", 'can be read in two ways: put levels in quotes, FACTOR="LEVEL"'),
        ("sampler=annealed(largest", "did you mean 'annealed(largest,0.5)'"),
        ("sampler=uniform,", "give FACTOR=LEVEL"),
        ("", "give FACTOR=LEVEL"),
        ("smapler=uniform", "did you mean 'sampler'"),
        ("f=-0.0", "unknown level of f"),
        ("f=" + "[" * 5000, "unknown level of f"),
        ('f="a', "unknown level of f"),
    ],
)
def test_what_names_no_level_or_could_name_two_is_refused(text: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        chosen_levels("--only", text, FACTORS)
    assert hint in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.lists(st.text(st.sampled_from('ab,="f '), min_size=1, max_size=6), min_size=1, max_size=4, unique=True))
def test_in_quotes_every_level_can_be_named(names: list[str]) -> None:
    factor = Factor("f", {name: {} for name in names})
    quoted = ",".join(f'f="{name.replace(chr(34), chr(34) * 2)}"' for name in names)
    if any('"' in name for name in names):  # one may be spelled as others are in quotes
        with contextlib.suppress(UserError):
            assert chosen_levels("--only", quoted, [factor]) == [("f", name) for name in names]
    else:
        assert chosen_levels("--only", quoted, [factor]) == [("f", name) for name in names]


ODD = (
    "[bold]x[/bold]", "<b>x</b>", "**y**", "a|b", "`z`", "a,b=c", "[t](u)", "100 % & $5 #1 {b} ^", r"\newpage", "~~s~~",
    "$m$", "_e_", "__f__", "a_b", ":smile:", "a--b", "&lt;", "%s{0}", "*", "[q", "ελλάδα", "中文", "עברית", "😀",
    "Ünïcode",    '"c"', "null", "C#", "½× ≤ 2", "<script>alert(1)</script>",
)  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """A report whose arms have names that are markup somewhere."""
    made = Tasks(tmp_path_factory.mktemp("odd"), seeds=(0,), methods=ODD, tasks=("rte",), study_has={"across": None})
    for place, name in enumerate(ODD):
        made.finish(f"{name} · rte", 0, {"d12": 50.0 + place, "d24": 60.0})
    write_report(made.plan, made.results, made.folder / "report")
    return made


def test_markdown_shows_names_as_they_are(odd: Tasks) -> None:
    text = (odd.folder / "report" / "table.md").read_text()
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    cells = [
        "".join(part.content for part in tokens[place + 1].children or () if part.type in ("text", "text_special"))
        for place, token in enumerate(tokens)
        if token.type in ("td_open", "th_open")
    ]
    assert set(ODD) <= set(cells)
    kinds = {part.type for token in tokens for part in token.children or ()}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "softbreak"}


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.tags, self._open = list[str](), set[str](), False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self._open = tag in ("td", "th")
        self.cells += [""] * self._open

    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in ("td", "th")


def test_the_page_and_its_figures_show_names_as_they_are(odd: Tasks) -> None:
    page = _Cells()
    page.feed((odd.folder / "report" / "index.html").read_text())
    assert set(ODD) <= set(page.cells)
    assert not page.tags & {"b", "i"}
    drawn = cost(odd.results, styles_of(odd.plan))
    names = [line.name for line in drawn.figure.data if line.name != FRONT]
    assert [html.unescape(name) for name in names] == list(ODD)
    assert not any("<" in name for name in names)


def test_a_terminal_and_mlflow_show_names_as_they_are(odd: Tasks, capsys: pytest.CaptureFixture[str]) -> None:
    (table,) = write_report(odd.plan, odd.results, odd.folder / "report").tables
    console = plain_console()
    console.file, console._width = io.StringIO(), 200
    console.print(for_terminal(table))
    shown = console.file.getvalue()
    assert run(odd.plan.study, odd.trainer, ["status", "--storage", str(odd.folder), "--seeds", "1"]) == 0
    status = capsys.readouterr().out
    for name in ODD:
        assert f" {name} " in shown
        assert name in status
    tags = [trial.tags for trial in odd.tracker.trials(odd.recorder.experiment, odd.plan.base_key)]
    assert {each["factor.method"] for each in tags} == set(ODD)
    assert isinstance(console, Console)


COMMANDS = {
    "alpha", "gamma", "lambda", "delta", "varepsilon", "leq", "times", "frac", "cdot", "pm", "rightarrow",
    "textbackslash", "textasciitilde", "textasciicircum", "textasciigrave", "textquotedbl", "textbf", "emph",
    "addlinespace",
}  # fmt: skip


def test_latex_shows_names_as_they_are_and_knows_every_command(odd: Tasks) -> None:
    text = (odd.folder / "report" / "table.tex").read_text()
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert set(re.findall(r"\\([A-Za-z]+)", body)) - {"midrule"} <= COMMANDS
    assert not re.search(r"\\\\\s*[\[*]", text)  # a name in the place of an argument
    rows = [row for row in body.split("\n")[1:] if row and row != r"\addlinespace"]
    for row in rows:
        assert row.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", row)) == len(re.findall(r"(?<!\\)&", rows[0]))
    for name, written in {
        "a--b": "a-{}-b", r"\newpage": r"\textbackslash{}newpage", "[q": "{[}q", "*": "{*}", "中文": "中文",
        "C#": r"C\#",
        "100 % & $5 #1 {b} ^": r"100 \% \& \$5 \#1 \{b\} \textasciicircum{}", "½× ≤ 2": r"$\frac12$$\times$ $\leq$ 2",
    }.items():  # fmt: skip
        assert f"\n{written} & " in body, name


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_pdflatex_sets_the_table_without_an_error(odd: Tasks, tmp_path: Path) -> None:
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"-output-directory={tmp_path}", "preview.tex"],
        cwd=odd.folder / "report",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "preview.pdf").exists()


@pytest.mark.parametrize("name", ["updates", "seed", "arm", "facet", "outcome", "macs", "depth"])
def test_a_factor_may_be_called_as_a_column_of_the_results_is(name: str, tmp_path: Path) -> None:
    task = Factor("task", {"rte": {"task": "rte", "length": 1, "depths": [12, 24]}})
    factors = (Factor.of("method", ["apart", "sorted"]), Factor.of(name, [1, 2]), task)
    made = Tasks(tmp_path, seeds=(0,), study_has={"factors": factors, "facets": (name,), "curve": name, "across": None})
    for trial in made.plan.trials:
        made.finish(trial.arm.label, 0, {"d12": 50.0, "d24": 60.0})
    tables = write_report(made.plan, made.results, tmp_path / "report").tables
    assert [table.title for table in tables] == [f"{name} 1", f"{name} 2"]
    assert {table.cells["d24", "sorted"].text for table in tables} == {"60.00"}
    assert list(made.results.levels_of(name)) == ["1"] * 2 + ["2"] * 2 + ["1"] * 2 + ["2"] * 2
