"""How an arm looks: the same in every figure of a study, whatever part of it a figure shows.

A colour stands for the level of the first factor (the method), a dash for the levels of the others (the norm), and a
symbol for the arm, so that nothing is told by colour alone. One palette serves light and dark pages, and a figure that
is saved from either: each colour has a contrast of at least 3:1 (WCAG 1.4.11) to both backgrounds, and readers with
any of the three colour deficiencies tell them apart; `tests/orchestrator/test_styles.py` computes both. What a study
is about has the colour that is strongest on whichever background is worse for it, and the widest line.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.study.plan import Plan

SUBJECT = "#e8311f"
PALETTE = ("#148cfa", "#00a082", "#8228fa", "#c80a8c", "#968250", "#506ea0", "#46820a")
NEUTRAL = "#7b8087"  # what is no arm: fronts, crossings, spreads over several arms
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SHADES = (1.0, 0.0, 0.6, 0.2, 0.8, 0.4)  # of bars, one for every dash; those that are used first are furthest apart
_SYMBOLS = (
    "circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star", "pentagon", "hexagram",
    "triangle-left", "triangle-right", "star-diamond", "star-square", "hourglass", "bowtie",
)  # fmt: skip
_USUAL, _WIDE = 2.0, 3.5  # pixels


@dataclass(frozen=True)
class Style:
    """Of an arm.

    Attributes:
        width: of its line, in pixels.
        shade: of its bars, as a share of its colour: all of it, or the outline alone. Patterns would do, too, were it
            not that a PDF draws their tiles one by one, in thousands.
    """

    color: str
    dash: str
    symbol: str
    shade: float = 1.0
    width: float = _USUAL

    @property
    def line(self) -> dict[str, Any]:
        """As Plotly takes it."""
        return {"color": self.color, "dash": self.dash, "width": self.width}

    @property
    def marker(self) -> dict[str, Any]:
        """As Plotly takes it."""
        return {"color": self.color, "symbol": self.symbol, "size": 8 if self.width == _USUAL else 9}

    @property
    def bar(self) -> dict[str, Any]:
        """As Plotly takes it."""
        return {"color": self._in_part(self.shade), "line": {"color": self.color, "width": 1.5}}

    @property
    def band(self) -> str:
        """The colour of its spread, which lines are seen through."""
        return self._in_part(0.16)

    def _in_part(self, share: float) -> str:
        """The colour, through which so much of the background is not seen."""
        red, green, blue = (int(self.color[place : place + 2], 16) for place in (1, 3, 5))
        return f"rgba({red}, {green}, {blue}, {share})"


def styles_of(plan: Plan) -> dict[str, Style]:
    """The style of every arm of a plan, by its name in tables."""
    first, *others = plan.compared_factors
    arms = {plan.compared(levels): levels for levels in (dict(arm.levels) for arm in plan.arms)}
    known = next(factor.levels for factor in plan.study.factors if factor.name == first)
    return make_styles(
        {arm: (levels[first], tuple(levels[name] for name in others)) for arm, levels in arms.items()},
        tuple(known),
        plan.study.subject.get(first),
    )


def make_styles(
    arms: Mapping[str, tuple[str, tuple[str, ...]]], levels: Sequence[str] = (), subject: str | None = None
) -> dict[str, Style]:
    """The style of every arm.

    Args:
        arms: the level of the first factor and those of the others, by arm.
        levels: all that the first factor has: one keeps its colour whichever of them are shown.
        subject: the one of them that the study is about.
    """
    heads = {head for head, _ in arms.values()}
    colors = _colors([*levels, *(head for head, _ in arms.values() if head not in levels)], heads, subject)
    rests = list(dict.fromkeys(rest for _, rest in arms.values()))
    styles = {}
    for place, (arm, (head, rest)) in enumerate(arms.items()):
        color, rounds = colors[head]
        dash = (rests.index(rest) + rounds) % len(DASHES)
        width = _WIDE if head == subject else _USUAL
        styles[arm] = Style(color, DASHES[dash], _SYMBOLS[place % len(_SYMBOLS)], _SHADES[dash], width)
    return styles


def _colors(levels: Sequence[str], shown: Collection[str], subject: str | None) -> dict[str, tuple[str, int]]:
    """The colour of every level that is shown, and how many levels before it have the same one."""
    others = [level for level in dict.fromkeys(levels) if level != subject]
    found = {subject: (SUBJECT, 0)} if subject in shown and subject is not None else {}
    taken = [0] * len(PALETTE)
    for place, level in enumerate(others):
        if level not in shown:
            continue
        home = place % len(PALETTE)
        nearest = sorted(range(len(PALETTE)), key=lambda color: (taken[color], (color - home) % len(PALETTE)))[0]
        found[level] = (PALETTE[nearest], taken[nearest])
        taken[nearest] += 1
    return found
