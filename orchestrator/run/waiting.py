"""What is on the screen while nothing else can be: Ray takes seconds to start, and data may take minutes to come."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def waiting(console: Console, what: str) -> Iterator[None]:
    """Says what is waited for: on a terminal with the time that has gone, elsewhere once, in a line."""
    if not console.is_terminal:
        console.print(f"{what} …")
        yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description} …", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as shown:
        shown.add_task(what, total=None)
        yield
