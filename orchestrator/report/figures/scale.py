"""A scale of colours for values, and the ink that is read on each of them.

Plotly writes on a heat map in dark grey or white, by brightness, and leaves the middle of a scale at 2.5:1. Of black
and white one has a contrast of at least 4.58:1 to whatever colour, since the two multiply to 21.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from plotly.colors import hex_to_rgb, sequential

BLACK, WHITE = "#000000", "#ffffff"
_CIVIDIS = tuple(sequential.Cividis)  # even in lightness, and the same to most colour-blind readers


@dataclass(frozen=True)
class Scale:
    """Colours from `low` to `high`, evenly spaced and joined as Plotly joins them: by each of red, green and blue."""

    low: float
    high: float
    colors: tuple[str, ...] = _CIVIDIS

    @classmethod
    def over(cls, values: Iterable[float], higher_is_better: bool = True) -> "Scale":
        """Over all of them, of which the best is lightest."""
        known = [value for value in values if math.isfinite(value)] or [0.0]
        low, high = min(known), max(known)
        if low == high:
            low, high = low - 0.5, high + 0.5
        return cls(low, high, _CIVIDIS if higher_is_better else _CIVIDIS[::-1])

    def color(self, value: float) -> tuple[float, float, float]:
        """Red, green and blue, 0 to 255."""
        place = (value - self.low) / (self.high - self.low) * (len(self.colors) - 1)
        before = min(max(int(place), 0), len(self.colors) - 2)
        share = min(max(place - before, 0.0), 1.0)
        one, other = (hex_to_rgb(self.colors[each]) for each in (before, before + 1))
        red, green, blue = (start + share * (end - start) for start, end in zip(one, other, strict=True))
        return red, green, blue

    def ink(self, value: float) -> str:
        """Black or white, whichever has the higher contrast (WCAG 2) to the value's colour."""
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in (channel / 255 for channel in self.color(value))
        ]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        return BLACK if (luminance + 0.05) ** 2 > 1.05 * 0.05 else WHITE
