"""Where commands print."""

import sys

from rich.console import Console


def plain_console() -> Console:
    """Nothing is highlighted, no name is markup or an emoji's, and lines wrap only on a terminal."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())
