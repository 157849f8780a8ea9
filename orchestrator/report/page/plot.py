"""A figure as the page holds it: what Plotly draws once a reader gets there, and the files of it."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from orchestrator.report.drawing import Drawing
from orchestrator.report.figure_files import FOLDER, Format

_MOST_EMBEDDED = 256 * 1024  # bytes of numbers
_USUAL_HEIGHT = 450  # pixels, Plotly's own


@dataclass(frozen=True)
class Plot:
    """A drawing on the page.

    Attributes:
        json: for `Plotly.newPlot`; Plotly writes `<`, `>` and `/` in it as codes, so nothing in it ends a script.
        height: of the figure, in pixels, so that nothing moves when it is drawn.
        numbers: where its CSV is: in the page itself, so that it can be sent alone, or beside it where that is large.
        pictures: format and address of those that were written.
        table: as of `Drawing`.
    """

    name: str
    title: str
    caption: str
    json: Markup
    height: int
    numbers: str
    pictures: tuple[tuple[str, str], ...]
    table: str


def plots(drawings: Sequence[Drawing], folder: Path, pictures: Sequence[Format]) -> list[Plot]:
    """What the page has of drawings whose files are in `folder`: their numbers, and pictures in these formats."""
    return [
        Plot(
            drawing.name,
            drawing.title,
            drawing.caption,
            Markup(drawing.figure.to_json()),
            drawing.figure.layout.height or _USUAL_HEIGHT,
            _numbers(folder / f"{drawing.name}.csv"),
            tuple((kind.upper(), f"{FOLDER}/{drawing.name}.{kind}") for kind in pictures),
            drawing.table,
        )
        for drawing in drawings
    ]


def _numbers(path: Path) -> str:
    content = path.read_bytes()
    if len(content) > _MOST_EMBEDDED:
        return f"{FOLDER}/{path.name}"
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(content).decode()}"


@cache
def compressed_plotly() -> str:
    """Plotly's script, gzip in base 64: two fifths of it, which browsers unpack once the page is shown."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
