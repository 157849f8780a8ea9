"""The report on a terminal of 80 columns: the answer, then tables, and one of averages where there are many."""

import io
from collections.abc import Sequence

from rich.console import Console

from orchestrator.commands.terminal_tables import on_terminal
from orchestrator.report.results import Results
from orchestrator.report.writer import Report
from tests.orchestrator.test_answer import answer, results, tables


def lines(found: Results) -> Sequence[str]:
    console = Console(file=io.StringIO(), width=80, highlight=False, markup=False, emoji=False)
    for part in on_terminal(Report(answer(found), (), tuple(tables(found)))):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue().splitlines()
    assert max(map(len, printed)) <= 80
    return printed


def test_the_answer_is_first_and_the_table_says_what_its_numbers_are() -> None:
    found = results(("", {"NS": (40.0, 41.0, 42.0), "SortedNet": (50.0, 51.1, 52.3)}), baseline="NS")
    printed = lines(found)
    assert " ".join(printed).replace("  ", " ").startswith(answer(found).headline)
    assert any(line.startswith("Test accuracy (%): means over 3 seeds") for line in printed)
    words = [line.split() for line in printed]
    assert ["arm", "w100", "w050", "avg."] in words
    assert ["SortedNet", "56.13", "46.13", "51.13"] in words
    assert ["−", "NS", "+10.13", "+10.13", "+10.13"] in words
    assert "Bold: the highest mean, and what is not separated from it (adjusted p < 0.05)." in " ".join(printed)


def test_names_that_are_too_long_are_folded_and_numbers_are_not() -> None:
    long = "truncated-normal(0.5,0.25) with a name that goes on and on until it has no room left in its column"
    printed = lines(results(("", {long: (40.0,), "b": (30.0,)}), widths=(0.2, 0.4, 0.6, 0.8, 1.0)))
    (first,) = (line.split() for line in printed if line.startswith(" truncated"))
    assert first[-6:] == ["45.00", "41.00", "37.00", "33.00", "29.00", "37.00"]
    assert "room left in its column" in " ".join(" ".join(line.split()) for line in printed)


def test_many_tables_are_one_of_their_averages() -> None:
    facets = [(f"budget {place}× · equalize updates", {"NS": (50.0 + place,), "US": (51.0,)}) for place in range(6)]
    printed = lines(results(*facets))
    words = [line.split() for line in printed]
    assert ["table", "NS", "US"] in words
    assert ["budget", "3×", "·", "equalize", "updates", "53.00", "51.00"] in words
    assert sum(line.startswith("Test accuracy") for line in printed) == 1
