"""Where commands print."""

import sys

from rich.console import Console


def plain_console() -> Console:
    """Nothing is highlighted, and lines wrap only on a terminal."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())
