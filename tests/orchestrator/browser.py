"""A page as a browser shows it on a screen of some size, in the light or in the dark, or on paper."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.report.figure_files import require_browser

_SECONDS = 60  # for a page to be there


def has_browser() -> bool:
    """Whether there is something to show pages with."""
    try:
        require_browser()
    except UserError:
        return False
    return True


def answers_of(
    page: Path, scripts: Sequence[str], width: int, height: int, dark: bool = False, media: str = ""
) -> list[Any]:
    """What expressions of JavaScript, which may be promises, are on a screen of so many pixels, one after another.

    Args:
        media: `print` to have the looks of paper; else a screen's.
    """

    async def ask(tab: Any) -> list[Any]:
        return [(await _sent(tab, "Runtime.evaluate", **_EVALUATED, expression=each))["result"].get("value")
                for each in scripts]  # fmt: skip

    return asyncio.run(_shown(page, ask, width, height, dark, media))


_EVALUATED = {"awaitPromise": True, "returnByValue": True}


async def _shown(page: Path, look: Any, width: int, height: int, dark: bool, media: str) -> Any:
    from choreographer import Browser

    async with Browser() as browser:
        tab = await browser.create_tab("about:blank")
        await _sent(tab, "Page.enable")
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await _sent(tab, "Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await _sent(tab, "Emulation.setEmulatedMedia", media=media, features=[scheme])
        loaded = tab.subscribe_once("Page.loadEventFired")
        await _sent(tab, "Page.navigate", url=page.absolute().as_uri())
        await asyncio.wait_for(loaded, _SECONDS)
        return await look(tab)


async def _sent(tab: Any, command: str, **parameters: Any) -> Any:
    answer = await tab.send_command(command, params=parameters or None)
    assert "error" not in answer, answer
    assert "exceptionDetails" not in answer["result"], answer
    return answer["result"]
