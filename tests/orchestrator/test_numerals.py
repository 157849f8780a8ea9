"""Numbers for people have a minus sign, never a hyphen, and none before a zero; programs get theirs as they read it."""

import csv
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.commands.command_line import run
from orchestrator.numerals import decimal, interval, scientific, signed
from orchestrator.report.figures import drawings
from orchestrator.report.writer import write_report
from tests.orchestrator.pages import page_of
from tests.orchestrator.tasks import Tasks

HYPHEN = re.compile(r"(?<![\w.\-/])-\.?\d")
SIGNED_ZERO = re.compile(r"[-−]0(\.0*)?(?![\d.])")
ADDRESS = re.compile(r"://|(^|\s)/")  # or a path, whose folders and checksums may have any character


@given(st.floats(-1e9, 1e9), st.integers(0, 4))
def test_a_number_is_what_it_was_with_a_proper_sign(value: float, decimals: int) -> None:
    for text in (decimal(value, decimals), signed(value, decimals)):
        assert "-" not in text
        assert not SIGNED_ZERO.fullmatch(text)
        assert float(text.replace("−", "-")) == float(f"{value:.{decimals}f}")
    assert signed(value, decimals)[0] in "+−"
    assert interval(value, 1.0, 1) == f"{signed(value, 1)} to +1.0"


def test_what_rounds_to_zero_has_no_minus() -> None:
    assert (decimal(-0.004, 2), signed(-0.004, 2), decimal(-0.0, 0)) == ("0.00", "+0.00", "0")
    assert (decimal(-0.4, 2), signed(-0.4, 2)) == ("−0.40", "−0.40")
    assert (scientific(1234, 3), scientific(-0.00012, 1)) == ("1.234e+03", "−1.2e−04")


@pytest.fixture(scope="module")
def below_zero(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """Values and differences on both sides of zero and so near to it that they print as none."""
    made = Tasks(tmp_path_factory.mktemp("below"), methods=("apart", "sorted"), tasks=("rte",))
    for seed, noise in enumerate((-0.7, 0.1, 0.6)):
        made.finish("apart · rte", seed, {"d12": -0.001, "d24": -20 + noise})
        made.finish("sorted · rte", seed, {"d12": -0.004, "d24": -23 - noise * noise})
    return made


def shown(text: str, where: str) -> None:
    assert "−" in text, where
    assert not HYPHEN.search(text), (where, HYPHEN.search(text))
    assert not SIGNED_ZERO.search(text), (where, SIGNED_ZERO.search(text))


def test_every_output_for_people_has_the_sign_and_none_a_hyphen(
    below_zero: Tasks, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = below_zero.folder / "shown"
    report = write_report(below_zero.plan, below_zero.results, folder)
    shown((folder / "table.md").read_text(), "table.md")
    page = page_of(folder)
    told = (each for each in page.all() if each.tag not in ("script", "style"))
    cells = "\n".join(part for each in told for part in each.parts if isinstance(part, str))
    shown(cells, "index.html")
    for drawing in drawings(below_zero.plan, below_zero.results, report.tables, report.task_tables):
        for text in written(json.loads(drawing.figure.to_json())):
            assert not HYPHEN.search(text), (drawing.name, text)
            assert not SIGNED_ZERO.search(text), (drawing.name, text)
    latex = (folder / "table.tex").read_text()
    assert "$-$20.0" in latex
    assert not re.search(r"(?<![\w.\-{/$])-\d", latex)
    for verb in (["report"], ["compare", "method=apart", "method=sorted"], ["status"]):
        run(below_zero.plan.study, below_zero.trainer, [*verb, "--storage", str(below_zero.folder)])
        lines = capsys.readouterr().out.splitlines()
        shown("\n".join(line for line in lines if not ADDRESS.search(line)), verb[0])


def written(part: Any) -> list[str]:
    """What a figure says: its texts, wherever they are."""
    if isinstance(part, dict):
        told = [each for name, each in part.items() if name not in ("template", "meta", "bdata")]
        return [text for each in told for text in written(each)]
    if isinstance(part, list):
        return [text for each in part for text in written(each)]
    return [part] if isinstance(part, str) else []


def test_what_programs_read_keeps_the_hyphen(below_zero: Tasks, capsys: pytest.CaptureFixture[str]) -> None:
    folder = below_zero.folder / "read"
    write_report(below_zero.plan, below_zero.results, folder)
    for path in (folder / "results.csv", *(folder / "figures").glob("*.csv")):
        assert "−" not in path.read_text(), path
    with (folder / "results.csv").open() as lines:
        assert min(float(row["test_acc"]) for row in csv.DictReader(lines)) == pytest.approx(-23.49)
    storage = ["--storage", str(below_zero.folder)]
    run(below_zero.plan.study, below_zero.trainer, ["compare", "method=apart", "method=sorted", "--json", *storage])
    read = capsys.readouterr().out
    assert "−" not in read.replace("B − A", "")
    assert json.loads(read)
