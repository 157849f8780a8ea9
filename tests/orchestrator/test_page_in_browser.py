"""The page as a browser shows it: on a phone, in the dark, by keyboard and on paper, with names of any length."""

import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.report.writer import write_report
from orchestrator.study.study import Factor
from tests.orchestrator.browser import answers_of, has_browser
from tests.orchestrator.tasks import Tasks

pytestmark = pytest.mark.skipif(not has_browser(), reason="needs a browser")
PHONE = (390, 844)
LONG = "a-method-whose-name-" + 4 * "goes_on_and_" + "on and has (0.5, 0.25) behind it"  # 100 at most
METHODS = ("apart", "sorted", LONG, *(f"m{place}" for place in range(6)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine arms, one of them with a name that no screen is wide enough for, with differences and a failure."""
    folder = tmp_path_factory.mktemp("shown")
    has = {"factors": (Factor.of("method", METHODS), Factor("task", {"rte": TASK})), "across": None}
    made = Tasks(folder, methods=METHODS, tasks=("rte",), study_has=has)
    for trial in made.plan.trials:
        method = dict(trial.arm.levels)["method"]
        better = METHODS.index(method) + trial.seed * (1 + METHODS.index(method) / 10)
        if (method, trial.seed) == ("m5", 2):
            made.recorder.start(trial, "CPU")
            made.recorder.fail(trial, "ValueError: " + 300 * "x", "Traceback: " + 300 * "y")
        else:
            made.finish(trial.arm.label, trial.seed, {"d12": 50 + better, "d24": 60 + better})
    write_report(made.plan, made.results, folder / "report")
    return folder / "report" / "index.html"


TASK = {"task": "rte", "length": 1, "depths": [12, 24]}
DRAWN = """(async () => {
  document.querySelectorAll("main details").forEach((each) => { each.open = true; });
  for (const plot of document.querySelectorAll(".plot")) {
    plot.scrollIntoView();
    for (let wait = 0; wait < 200 && !plot.querySelector(".main-svg"); wait++)
      await new Promise((on) => setTimeout(on, 50));
  }
  scrollTo(0, 0);
  return [...document.querySelectorAll(".plot")].every((plot) => plot.querySelector(".main-svg"));
})()"""
WIDTH = "document.scrollingElement.scrollWidth"
NUMBERS_SEEN = r"""[...document.querySelectorAll("main td")].filter((cell) => {
  const box = cell.getBoundingClientRect();
  const inside = box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
  return inside && /^\d+\.\d\d ± /.test(cell.textContent.trim());
}).length"""
LEAVE = """[...document.querySelectorAll("main *, header *, nav *")].filter((each) => {
  const box = each.getBoundingClientRect();
  return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1) && !each.closest(".scroll, pre, svg");
}).map((each) => each.outerHTML.slice(0, 200))"""
SCROLLED = """[...document.querySelectorAll(".scroll")].filter((each) => each.scrollWidth > each.clientWidth)
  .map((each) => each.tabIndex === 0 && getComputedStyle(each).overflowX === "auto")"""
CUT = """[...document.querySelectorAll(".plot .main-svg text")].filter((each) => {
  const box = each.getBoundingClientRect(), frame = each.closest(".plot").getBoundingClientRect();
  return box.width > 0 && (box.left < frame.left - 1 || box.right > frame.right + 1);
}).map((each) => each.textContent)"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_first_screen_of_a_phone_shows_numbers_and_nothing_is_wider_than_it(page: Path, dark: bool) -> None:
    first, width, drawn, opened, beyond, scrolled, cut = answers_of(
        page, [NUMBERS_SEEN, WIDTH, DRAWN, WIDTH, LEAVE, SCROLLED, CUT], *PHONE, dark
    )
    assert first >= 3
    assert drawn
    assert (width, opened) == (390, 390)
    assert beyond == []
    assert scrolled
    assert all(scrolled)
    assert cut == []  # names in figures


KEPT = """[...document.querySelectorAll(".whole")].map((each) => [each.textContent, each.getClientRects().length])"""
SENTENCES = """[...document.querySelectorAll("p, li, figcaption, caption")].map((each) => each.textContent).join(" ")"""


def test_no_line_ends_between_a_number_and_what_belongs_to_it(page: Path) -> None:
    opened, kept, sentences = answers_of(page, [DRAWN, KEPT, SENTENCES], 320, 700)
    assert opened
    texts = {text for text, lines in kept}
    assert [text for text, lines in kept if lines > 1] == []
    for expected in ("95 %", "80 % ", "n = 2", "p < 0.05", "2 seeds", "± 1 SD", "--seeds"):
        assert any(text.startswith(expected.strip()) for text in texts), expected
    alone = re.findall(r"\d+\.\d+ ± \d+\.\d+|\d+\.\d+ %|(?<!\w)n = \d+", sentences)
    assert alone
    assert {each for each in alone if not any(each in text for text in texts)} == set()


TABBED = """(async () => {
  const able = [...document.querySelectorAll("a[href], button, select, summary, [tabindex='0']")].filter((each) =>
    each.checkVisibility({visibilityProperty: true}) && !each.classList.contains("skip"));
  const unseen = [];
  for (const each of able) {
    each.focus({focusVisible: true});
    if (document.activeElement !== each) { unseen.push(["not reached", each.outerHTML.slice(0, 150)]); continue; }
    await new Promise((on) => setTimeout(on, each.closest(".modebar") ? 400 : 0));
    const look = getComputedStyle(each);
    let opacity = 1;
    for (let part = each; part; part = part.parentElement) opacity *= getComputedStyle(part).opacity;
    if (look.outlineStyle === "none" || parseFloat(look.outlineWidth) < 2 || opacity < 0.9)
      unseen.push([look.outlineStyle, look.outlineWidth, opacity, each.outerHTML.slice(0, 150)]);
  }
  return [able.length, unseen];
})()"""


def test_whatever_can_be_pressed_is_reached_by_key_and_shows_it(page: Path) -> None:
    _, (count, unseen) = answers_of(page, [DRAWN, TABBED], 1200, 900)
    assert count > 30
    assert unseen == []


PRINTED = """(async () => {
  document.querySelectorAll("main details").forEach((each) => { each.open = false; });
  dispatchEvent(new Event("beforeprint"));
  await new Promise((on) => setTimeout(on, 500));
  const paper = 186 / 25.4 * 96;
  const wide = [...document.querySelectorAll("main table, .plot .main-svg")].filter((each) =>
    each.getBoundingClientRect().width > paper).length;
  return [[...document.querySelectorAll("main details")].every((each) => each.open),
          document.querySelectorAll("main table").length, wide];
})()"""


def test_on_paper_everything_is_open_and_no_wider_than_it(page: Path) -> None:
    _, (opened, tables, wide), cut = answers_of(page, [DRAWN, PRINTED, CUT], 703, 900, media="print")
    assert opened
    assert tables > 4
    assert wide == 0
    assert cut == []


def test_numbers_of_a_heat_map_have_the_ink_that_was_computed(tmp_path: Path) -> None:
    """Plotly reads the colour of a part of a text, and writes on both ends of the scale as it is told."""
    from tests.orchestrator.test_figures import grid, lattice

    page = tmp_path / "page.html"
    page.write_text(lattice(grid()).figure.to_html(include_plotlyjs=True))
    ask = """[...document.querySelectorAll(".heatmap-label tspan, .heatmap-label text")].map((each) =>
      [each.textContent, getComputedStyle(each).fill])"""
    (found,) = answers_of(page, [ask], 700, 600)
    fills: dict[str, Any] = dict(found)
    assert fills["14.0"] == "rgb(255, 255, 255)"
    assert fills["54.5"] == "rgb(0, 0, 0)"
