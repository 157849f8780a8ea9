"""Arms are told apart in every figure: on white and on a dark page, by colour-blind readers, and in black and white."""

import re
from dataclasses import replace
from itertools import combinations, product

import pytest

from orchestrator.report.figures.styles import DASHES, NEUTRAL, PALETTE, SUBJECT, make_styles
from orchestrator.report.figures.themes import DARK, LIGHT
from tests.orchestrator.colors import DEFICIENCIES, contrast, difference, seen

BACKGROUNDS = (LIGHT.background, DARK.background)
COLORS = (SUBJECT, *PALETTE)


def test_the_measures_are_those_of_the_papers() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    pairs = {  # Sharma et al. 2005, Table 1: rows 1, 10, 25
        2.0425: ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485)),
        7.1792: ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009)),
        1.2644: ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387)),
    }
    for expected, (one, other) in pairs.items():
        assert difference(one, other) == pytest.approx(expected, abs=1e-4)  # type: ignore[arg-type]


def test_every_colour_has_a_contrast_of_three_to_one_on_both_pages() -> None:
    for color in (SUBJECT, *PALETTE, NEUTRAL):
        assert min(contrast(color, background) for background in BACKGROUNDS) >= 3, color


def test_text_has_a_contrast_of_four_and_a_half_to_one() -> None:
    for theme in (LIGHT, DARK):
        assert min(contrast(color, theme.background) for color in (theme.ink, theme.soft)) >= 4.5


def test_what_a_study_is_about_is_the_strongest_wherever_it_is_shown() -> None:
    def weakest(color: str) -> float:
        return min(contrast(color, background) for background in BACKGROUNDS)

    assert weakest(SUBJECT) >= max(map(weakest, PALETTE))
    styles = make_styles({name: (name, ()) for name in ("NS", "LCS-p", "SortedNet")}, (), "SortedNet")
    assert styles["SortedNet"].color == SUBJECT
    assert styles["SortedNet"].width > max(styles["NS"].width, styles["LCS-p"].width)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_eight_levels_are_told_apart_by_colour_blind_readers(deficiency: str) -> None:
    looks = {color: seen(color, deficiency) for color in COLORS}
    nearest = min(combinations(COLORS, 2), key=lambda pair: difference(looks[pair[0]], looks[pair[1]]))
    assert difference(looks[nearest[0]], looks[nearest[1]]) >= 9, nearest


def test_a_level_has_a_colour_and_the_others_a_dash_and_no_two_arms_look_alike() -> None:
    arms = {f"{method} · {norm}": (method, (norm,)) for method in ("NS", "LCS-p", "SortedNet") for norm in ("in", "bn")}
    styles = make_styles(arms)
    for method in ("NS", "LCS-p", "SortedNet"):
        one, other = styles[f"{method} · in"], styles[f"{method} · bn"]
        assert one.color == other.color
        assert (one.dash, other.dash) == DASHES[:2]
        assert one.bar["color"] != other.bar["color"]
    assert len({style.color for style in styles.values()}) == 3
    assert len({style.symbol for style in styles.values()}) == 6
    many = make_styles({f"arm {number}": (f"arm {number}", ()) for number in range(30)})
    assert len({(style.color, style.dash) for style in many.values()}) == 30


def over(fill: str, background: str) -> str:
    """The colour that a translucent one has on a background."""
    *color, share = map(float, re.findall(r"[\d.]+", fill))
    below = (int(background[place : place + 2], 16) for place in (1, 3, 5))
    channels = (round(share * one + (1 - share) * other) for one, other in zip(color, below, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in channels)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_bars_of_a_colour_are_told_apart_by_how_much_of_it_they_have(deficiency: str) -> None:
    styles = make_styles({f"m · {norm}": ("m", (norm,)) for norm in range(len(DASHES))})
    for color, background in product(COLORS, BACKGROUNDS):
        bars = [replace(style, color=color).bar for style in styles.values()]
        assert {bar["line"]["color"] for bar in bars} == {color}  # what is at least 3:1, whatever is within
        assert not any("pattern" in bar for bar in bars)  # thousands of tiles in a PDF
        looks = [seen(over(bar["color"], background), deficiency) for bar in bars]
        assert min(difference(*pair) for pair in combinations(looks[:3], 2)) >= 9
        assert min(difference(*pair) for pair in combinations(looks, 2)) >= 4.5


def test_a_level_keeps_its_colour_whichever_others_are_shown_and_two_never_share_one_in_need() -> None:
    levels = tuple(f"level {number}" for number in range(3 * len(PALETTE)))
    whole = make_styles({level: (level, ()) for level in levels}, levels)
    for shown in (levels[2:5], levels[6:12]):
        some = make_styles({level: (level, ()) for level in shown}, levels)
        assert {level: some[level].color for level in shown} == {level: whole[level].color for level in shown}
    clash = (levels[0], levels[len(PALETTE)], levels[2 * len(PALETTE)])
    assert len({style.color for style in make_styles({each: (each, ()) for each in clash}, levels).values()}) == 3
