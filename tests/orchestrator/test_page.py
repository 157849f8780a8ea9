"""The page of a report: one file, whose tables and figures can be read on any screen, on paper, by ear and by key."""

import base64
import gzip
import io
import re
import sys
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from orchestrator.commands.report import parse_pictures
from orchestrator.errors import UserError
from orchestrator.report.figure_files import require_browser
from orchestrator.report.figures import drawings
from orchestrator.report.page import plot
from orchestrator.report.page.page import left_out
from orchestrator.report.page.sheet import Entry, Group, Row, Sheet, number, scaled
from orchestrator.report.page.sheets import accuracies, differences, ledger, summary
from orchestrator.report.settings import in_text
from orchestrator.report.writer import write_report
from orchestrator.study.study import Factor
from tests.orchestrator.pages import Element, page_of
from tests.orchestrator.tasks import Tasks

HOSTILE = "</script><script>alert(1)</script><!--"


def write(made: Tasks) -> Element:
    write_report(made.plan, made.results, made.folder / "report")
    return page_of(made.folder / "report")


METHODS = ("apart", "sorted", "third", HOSTILE)


def fill(made: Tasks) -> None:
    """Every trial of two budgets; one fails, one diverges, one has no partner."""
    (failed, diverged, alone) = (("third", "2×", 0), ("sorted", "2×", 1), ("third", "1×", 3))
    for trial in made.plan.trials:
        method, budget = trial.arm.label.split(" · ")[0], dict(trial.arm.levels)["budget"]
        where = (method, budget, trial.seed)
        better = METHODS.index(method) + trial.seed / 10 + 5 * (budget == "2×")
        if where == failed:
            made.recorder.start(trial, "CPU")
            made.recorder.fail(trial, "ValueError: odd", "Traceback: <line 3>")
        elif trial.seed < 3 or where == alone:
            after = 20 if where == diverged else 0
            made.finish(trial.arm.label, trial.seed, {"d12": 50 + better, "d24": 60 + better}, diverged_after=after)


@pytest.fixture(scope="module")
def budgets(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """A study over two budgets, so of two tables, with all that can go wrong."""
    factors = (
        Factor.of("method", METHODS),
        Factor("budget", {"1×": {"scale": 1}, "2×": {"scale": 2}}),
        Factor("task", {"rte": {"task": "rte", "length": 1, "depths": [12, 24]}}),
    )
    has = {"factors": factors, "facets": ("budget",), "curve": "budget", "across": None}
    made = Tasks(tmp_path_factory.mktemp("budgets"), seeds=(0, 1, 2, 3), study_has=has)
    fill(made)
    return made


@pytest.fixture(scope="module")
def page(budgets: Tasks) -> Element:
    return write(budgets)


def test_headings_say_the_order_and_none_is_skipped(page: Element) -> None:
    levels = [int(heading.tag[1]) for heading in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_table_has_a_caption_and_every_head_says_of_what(page: Element) -> None:
    tables = page.all("table")
    assert len(tables) > 8
    for table in tables:
        (caption,) = table.all("caption")
        assert caption.text.strip()
        assert {head.has.get("scope") for head in table.all("th")} <= {"col", "row", "rowgroup"}
        widths = {len(row.all("th", "td")) for row in table.all("tr") if row.has.get("class") != "group"}
        assert len(widths) == 1
        for row in (row for body in table.all("tbody") for row in body.all("tr")):
            assert row.all("th")


def test_a_table_that_scrolls_is_reached_by_key_and_has_a_name(page: Element) -> None:
    ids = [element.has["id"] for element in page.all() if "id" in element.has]
    assert len(ids) == len(set(ids))
    for table in page.all("table"):
        region = table.parent
        assert region is not None
        assert (region.has["class"], region.has["role"], region.has["tabindex"]) == ("scroll", "group", "0")
        assert region.has["aria-labelledby"] in ids
    for link in page.all("a"):
        if (target := link.has["href"]).startswith("#"):
            assert target[1:] in ids


def test_a_cell_has_one_number_with_its_spread_and_nothing_else(page: Element) -> None:
    numbers = re.compile(r"(?:< |> )?[−+]?[\d,]*\.?\d+(?:e[−+]\d+)?( ± \d+\.\d+|†)?")
    for table in page.all("table"):
        if table.has.get("class") == "texts":
            continue
        for cell in table.all("td"):
            if "words" not in cell.has.get("class", ""):
                assert numbers.fullmatch(cell.text), cell.text


def test_the_first_numbers_are_of_the_result_and_tables_are_folded_where_there_are_several(page: Element) -> None:
    (main,) = page.all("main")
    first, *others = main.all("table")
    assert [head.text for head in first.all("th", scope="col")] == ["arm", "budget 1×", "budget 2×"]
    assert [head.text for head in first.all("th", scope="row")] == list(METHODS)
    assert not first.inside("details")
    assert len(others) >= 8
    assert all(table.inside("details") for table in others)
    assert not [fold for fold in page.all("details") if "open" in fold.has]
    titles = [link.text for link in page.all("nav")[0].all("a")]
    assert titles == [
        "Result", "Figures", "Test accuracy (%): budget 1×", "Test accuracy (%): budget 2×", "Pareto set", "Failures",
        "Diverged", "Left out", "Settings", "Provenance",
    ]  # fmt: skip


def test_what_is_missing_is_counted_above_the_result_and_told_in_folds(page: Element) -> None:
    (notices,) = page.all("p", **{"class": "notices"})
    assert notices.text == "1 trial failed, 4 trials left out, 1 trial diverged."
    assert [link.has["href"] for link in notices.all("a")] == ["#failures", "#left-out", "#diverged"]
    folds = {fold.has["id"]: fold for fold in page.all("details") if "id" in fold.has}
    assert "ValueError: odd" in folds["failures"].text
    assert folds["failures"].all("pre")[0].text == "Traceback: <line 3>"
    assert "sorted · seed 1" in folds["diverged"].text
    listed = [line.text for line in folds["left-out"].all("li")]
    assert listed[0].startswith("seed 3: third")


def test_trials_without_a_partner_are_listed_by_the_seed_that_others_lack() -> None:
    assert left_out(["a · 1× · seed 3", "b · seed 4 · 1× · seed 3", "a · 1× · seed 5 (diverged)"]) == [
        "seed 3: a · 1×, b · seed 4 · 1×", "seed 5 (diverged): a · 1×",
    ]  # fmt: skip


def test_every_figure_has_its_numbers_in_the_page_and_beside_it(page: Element, budgets: Tasks) -> None:
    figures = page.all("figure")
    tables = write_report(budgets.plan, budgets.results, budgets.folder).tables
    drawn = drawings(budgets.plan, budgets.results, tables, ())
    assert {figure.has["id"] for figure in figures} == {f"figure-{drawing.name}" for drawing in drawn}
    assert len(figures) == len(drawn) > 4
    for figure in figures:
        (link,) = figure.all("a")
        name = link.has["download"]
        beside = (budgets.folder / "report" / "figures" / name).read_bytes()
        kind, _, content = link.has["href"].partition(",")
        assert kind == "data:text/csv;charset=utf-8;base64"
        assert base64.b64decode(content) == beside
        assert len(pd.read_csv(io.BytesIO(beside))) > 1
        assert figure.all("figcaption")[0].text.strip()


def test_many_numbers_stay_beside_the_page_and_pictures_of_other_numbers_do_not(
    tmp_path: Path, budgets: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "_MOST_EMBEDDED", 500)
    folder = tmp_path / "figures"
    folder.mkdir()
    for name in ("cost-budget-1x.svg", "cost-budget-1x.pdf", "mine.svg"):
        (folder / name).write_text("old")
    write_report(budgets.plan, budgets.results, tmp_path)
    assert {path.name for path in folder.iterdir() if path.suffix != ".csv"} == {"mine.svg"}
    linked = [link.has["href"] for figure in page_of(tmp_path).all("figure") for link in figure.all("a")]
    beside = {path.name: path.stat().st_size for path in folder.glob("*.csv")}
    assert {link for link in linked if not link.startswith("data:")} == {
        f"figures/{name}" for name, size in beside.items() if size > 500
    }


def test_the_page_needs_no_network_and_nothing_in_it_ends_a_script(page: Element) -> None:
    addresses = [element.has[name] for element in page.all() for name in ("src", "href") if name in element.has]
    assert {address[:1] if address.startswith("#") else address.split(":")[0] for address in addresses} == {"#", "data"}
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.has["content"].startswith("default-src 'none';")
    assert "connect-src" not in policy.has["content"]
    scripts = page.all("script")
    assert "showSendToCloud: false" in scripts[-1].text  # a button of Plotly's that uploads a figure
    assert len(scripts) == 3 + len(page.all("figure"))
    assert [script for script in scripts if HOSTILE[:9] in script.text] == []
    assert HOSTILE in [head.text for head in page.all("th")]


def test_plotly_is_there_whole(page: Element) -> None:
    (packed,) = page.all("script", id="plotly")
    assert gzip.decompress(base64.b64decode(packed.text)).decode() == get_plotlyjs()
    assert len(packed.text) < 0.5 * len(get_plotlyjs())


def test_settings_and_origins_are_tables(page: Element) -> None:
    folds = {fold.has["id"]: fold for fold in page.all("details") if "id" in fold.has}
    rows = [[cell.text for cell in row.all("th", "td")] for row in folds["settings"].all("tr")]
    assert ["setting", "value", "from"] in rows
    assert ["seconds", "0", "preset or --set"] in rows
    assert folds["provenance"].all("table")
    assert (in_text("é"), in_text(None), in_text([1, 0.5]), in_text(True)) == ("é", "null", "[1, 0.5]", "true")


def colours() -> dict[str, tuple[str, str]]:
    style = (files("orchestrator.report.page") / "templates" / "page.css").read_text()
    return {name: (light, dark) for name, light, dark in re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", style)}


def contrast(one: str, other: str) -> float:
    """As WCAG 2 has it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_all_text_is_legible_in_both_themes(theme: int) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    found = colours()
    for ink in ("ink", "soft", "link"):
        for ground in ("ground", "panel", "best"):
            assert contrast(found[ink][theme], found[ground][theme]) >= 4.5, (ink, ground)


def test_comparisons_are_columns_and_one_seed_leaves_only_the_difference(tmp_path: Path) -> None:
    made = Tasks(tmp_path, methods=("apart", "sorted"), tasks=("rte",), study_has={"across": None})
    for seed, gain in ((0, 1.0), (1, 1.5), (2, 0.5)):
        made.finish("apart · rte", seed, {"d12": 50, "d24": 60})
        made.finish("sorted · rte", seed, {"d12": 50 - gain, "d24": 60 + gain})
    (table,) = write_report(made.plan, made.results, tmp_path / "report").tables
    found = differences(table)
    assert found is not None
    (group,) = found.groups
    assert (group.name, found.corner) == ("sorted − apart", "sub-model")
    row = dict(zip(found.columns, (entry.text for entry in group.rows[0].entries), strict=True))
    assert row["difference"] == "+1.00"
    assert (row["95 % from"], row["to"]) == ("−0.24", "+2.24")
    assert row["separated"] == "no"
    assert float(row["≈ seeds needed"]) > 3
    alone = Tasks(tmp_path / "alone", seeds=(0,), tasks=("rte",), study_has={"across": None})
    for method in ("apart", "sorted"):
        alone.finish(f"{method} · rte", 0, {"d12": 50, "d24": 60})
    (table,) = write_report(alone.plan, alone.results, tmp_path / "alone" / "report").tables
    found = differences(table)
    assert found is not None
    assert found.columns == ("difference",)
    assert summary([table]).caption == "Test accuracy (%), of one seed"


def test_many_arms_are_rows(tmp_path: Path) -> None:
    methods = tuple(f"m{place}" for place in range(9))
    made = Tasks(tmp_path, seeds=(0,), methods=methods, tasks=("rte",), study_has={"across": None})
    for place, method in enumerate(methods):
        made.finish(f"{method} · rte", 0, {"d12": 50 + place, "d24": 60})
    (table,) = write_report(made.plan, made.results, tmp_path / "report").tables
    shown = accuracies(table)
    assert shown.columns[:3] == ("d24", "d12", "avg.")
    assert [row.head for row in shown.rows] == [*methods, "MACs (M)"]
    assert [row.head for row in ledger(table).rows] == list(methods)
    assert write(made).all("table")


COSTS = re.compile(r"(MACs|FLOPs|ms|parameters)\b")


def test_what_was_reached_stands_before_what_it_costs(page: Element, budgets: Tasks) -> None:
    found = 0
    for table in page.all("table"):
        heads = [head.text for head in table.all("th", scope="col")]
        places = [place for place, head in enumerate(heads) if COSTS.match(head)]
        assert places == list(range(len(heads) - len(places), len(heads))), heads
        found += bool(places)
    assert found >= 3  # both tables, and the Pareto set
    for line in (budgets.folder / "report" / "table.md").read_text().splitlines():
        if line.startswith("| sub-model |") and "MACs" in line:
            assert line.endswith("| MACs |")


def test_numbers_line_up_whatever_their_spread() -> None:
    entries = (Entry("1.00", spread="10.25"), Entry("2.00", spread="0.50"), Entry("3.00"))
    sheet = Sheet("", "", ("a", "b", "c"), (Group("", (Row("x", entries), Row("y", entries))),))
    assert (sheet.spread_width, sheet.tails) == (5, [True, True, False])
    turned = sheet.turned("z")
    assert ([row.head for row in turned.rows], turned.columns) == (["a", "b", "c"], ("x", "y"))
    assert scaled([12_000_000_000, 5_000_000, None]) == (" (G)", [number("12.000"), number("0.005"), number("")])
    assert scaled([50, 100])[0] == ""


def test_pictures_that_cannot_be_drawn_are_said_in_a_line_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match="unknown format of figures 'pdv': did you mean 'pdf'"):
        parse_pictures({"figures": "svg,pdv"})
    assert parse_pictures({"figures": None}) == ()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "choreographer", None)
        without.setitem(sys.modules, "choreographer.browsers.chromium", None)
        with pytest.raises(UserError, match=r"by Kaleido: pip install 'sortednet-studies\[figures\]'"):
            parse_pictures({"figures": "svg"})


def test_without_a_browser_a_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"none was found \(.*nowhere, which BROWSER_PATH names, is no file\)"):
        parse_pictures({"figures": "svg"})


def browser() -> bool:
    """Whether there is something to draw with."""
    try:
        require_browser()
    except UserError:
        return False
    return True


@pytest.mark.skipif(not browser(), reason="needs a browser")
def test_pictures_are_drawn_for_a_paper_and_linked(budgets: Tasks, tmp_path: Path) -> None:
    found = write_report(budgets.plan, budgets.results, tmp_path, pictures=("svg", "pdf"))
    for drawing in drawings(budgets.plan, budgets.results, found.tables, ()):
        assert (tmp_path / "figures" / f"{drawing.name}.svg").read_text().startswith("<svg")
        assert (tmp_path / "figures" / f"{drawing.name}.pdf").read_bytes().startswith(b"%PDF")
    addresses = {link.has["href"] for figure in page_of(tmp_path).all("figure") for link in figure.all("a")}
    assert {"figures/budgets.svg", "figures/budgets.pdf"} <= addresses
