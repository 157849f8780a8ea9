"""How colours look: against a background, and to readers with one kind of cones missing."""

from typing import TypeAlias

import numpy as np

Color: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"
DEFICIENCIES = {  # Machado, Oliveira and Fernandes 2009, severity 1; on linear RGB
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(color: str) -> Color:
    """Linear RGB of `#rrggbb`."""
    channels = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio, 1 to 21."""
    darker, lighter = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(color)) for color in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def lab(rgb: Color) -> Color:
    """CIELAB (D65) of linear RGB."""
    ratios = _TO_XYZ @ np.clip(rgb, 0, 1) / _TO_XYZ.sum(1)
    x, y, z = np.where(ratios > 216 / 24389, np.cbrt(ratios), (24389 / 27 * ratios + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(one: Color, other: Color) -> float:
    """CIEDE2000 of two colours in CIELAB (Sharma, Wu and Dalal 2005); 2.3 is just noticeable."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    light, colorful = (l1 + l2) / 2, (c1 + c2) / 2
    middle = (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2
    t = 1 + sum(
        weight * np.cos(np.radians(times * middle + shift))
        for weight, times, shift in ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    )
    of_light = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    of_chroma, of_hue = 1 + 0.045 * colorful, 1 + 0.015 * colorful * t
    rotation = -2 * np.sqrt(colorful**7 / (colorful**7 + 25.0**7))
    rotation *= np.sin(np.radians(60 * np.exp(-(((middle - 275) / 25) ** 2))))
    lights, chromas, hues = (l2 - l1) / of_light, (c2 - c1) / of_chroma, hue / of_hue
    return float(np.sqrt(lights**2 + chromas**2 + hues**2 + rotation * chromas * hues))


def seen(color: str, deficiency: str) -> Color:
    """A colour in CIELAB as readers with a deficiency see it."""
    return lab(DEFICIENCIES[deficiency] @ linear(color))
