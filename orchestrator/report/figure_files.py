"""A report's figures as files: the numbers of each as CSV always, as SVG or PDF for a paper where that is asked for.

A picture is drawn by a browser, which Kaleido starts and which takes seconds, so a study that has just been trained
does not wait for it. Nothing is fetched, neither a browser nor MathJax; where something is missing, a line says so.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from orchestrator.errors import UserError, reason

if TYPE_CHECKING:
    from orchestrator.report.drawing import Drawing

Format = Literal["svg", "pdf"]
FORMATS: tuple[Format, ...] = get_args(Format)
FOLDER = "figures"
_WIDTH, _HEIGHT = 700, 450  # pixels, of which 96 are printed to an inch: 7.3 inches
_SECONDS = 60  # for one picture, and for the browser to start


def write_data(drawings: "Sequence[Drawing]", folder: Path) -> None:
    """Writes every drawing's numbers as `NAME.csv`, and takes away pictures that are of earlier numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for drawing in drawings:
        drawing.data.to_csv(folder / f"{drawing.name}.csv", index=False)
        for kind in FORMATS:
            (folder / f"{drawing.name}.{kind}").unlink(missing_ok=True)


def require_browser() -> None:
    """Makes sure that there is something to draw pictures with.

    Raises:
        UserError: there is no Kaleido, or no browser.
    """
    try:
        from choreographer.browsers.chromium import Chromium
    except ImportError as error:
        raise UserError("pictures are drawn by Kaleido: pip install 'sortednet-studies[figures]'") from error
    program = Chromium.find_browser(skip_local=False)
    if not program or not Path(program).is_file():
        named = f" ({program}, which BROWSER_PATH names, is no file)" if program else ""
        raise UserError(
            f"pictures are drawn by Chrome, Chromium or Edge, and none was found{named}: install one, or give its path "
            "in the environment, BROWSER_PATH"
        )


def write_pictures(drawings: "Sequence[Drawing]", folder: Path, formats: Sequence[Format]) -> None:
    """Writes every drawing as `NAME.FORMAT`, all of them by one browser.

    Raises:
        UserError: there is nothing to draw with, or the browser did not.
    """
    require_browser()
    from kaleido import PageGenerator, write_fig_from_object_sync
    from kaleido.errors import KaleidoError

    pictures = [
        {
            "fig": drawing.figure,
            "path": folder / f"{drawing.name}.{kind}",
            "opts": {"format": kind, "width": _WIDTH, "height": drawing.figure.layout.height or _HEIGHT},
        }
        for drawing in drawings
        for kind in formats
    ]
    browser = {"page_generator": PageGenerator(mathjax=False), "timeout": _SECONDS}
    try:
        failed = write_fig_from_object_sync(pictures, kopts=browser)  # some versions return what others raise
        if failed:
            raise failed[0]
    except (KaleidoError, RuntimeError, TimeoutError) as error:
        raise UserError(f"the browser did not draw the figures ({type(error).__name__}: {reason(error)})") from error
