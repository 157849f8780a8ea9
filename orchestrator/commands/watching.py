"""The command that follows a study, wherever it runs, until all of its trials have ended."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options
from orchestrator.commands.status import TrialStatus, read_statuses, status_table
from orchestrator.commands.streams import reader_left
from orchestrator.commands.tracking import find_tracker
from orchestrator.declaration import Metric
from orchestrator.run.patience import Patience
from orchestrator.study.plan import Plan
from orchestrator.trainer import Trainer

if TYPE_CHECKING:
    from orchestrator.track.tracker import Tracker

_PAUSE_SECONDS = 2.0
_ENDED = ("done", "diverged", "failed")
_INTERRUPTED = 130
_ROWS_BESIDE = 8  # lines of a terminal that the table of trials has no use of
Show = Callable[[Sequence[TrialStatus], Mapping[str, TrialStatus]], None]


def watch_status(plan: Plan, trainer: Trainer, options: Options) -> int:
    """Shows every change until all trials have ended; gives 0, 1 if one failed, 130 after Ctrl-C."""
    console = plain_console()
    patience = Patience(options.patience, console.print)
    opened: list[Tracker] = []  # none before the study has made its store

    def find() -> "Tracker | None":
        if not opened and (tracker := find_tracker(options)) is not None:
            opened.append(tracker)
        return opened[0] if opened else None

    before: dict[str, TrialStatus] = {}
    try:
        with _showing(plan, console, options.as_json) as show:
            while not reader_left():
                statuses = patience.keep_trying(lambda: read_statuses(plan, options, find()))
                show(statuses, before)
                before = {status.trial.key: status for status in statuses}
                if all(status.state in _ENDED for status in statuses):
                    return 1 if any(status.state == "failed" for status in statuses) else 0
                time.sleep(_PAUSE_SECONDS)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


@contextmanager
def _showing(plan: Plan, console: Console, as_json: bool) -> Iterator[Show]:
    """How statuses are shown: in place on a terminal, else a line for each that has changed."""
    metric = plan.declaration.primary
    if as_json or not console.is_terminal:

        def lines(statuses: Sequence[TrialStatus], before: Mapping[str, TrialStatus]) -> None:
            for status in statuses:
                if status != before.get(status.trial.key):
                    line = json.dumps(status.as_dict()) if as_json else _line(status, metric)
                    print(line, flush=True)

        yield lines
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:

        def table(statuses: Sequence[TrialStatus], before: Mapping[str, TrialStatus]) -> None:
            shown = _most_telling(statuses, max(1, console.height - _ROWS_BESIDE))
            live.update(Group(status_table(plan, shown), Text(_count(statuses, len(shown)))), refresh=True)

        yield table


def _line(status: TrialStatus, metric: Metric) -> str:
    """`NS · instance · seed 0: running, avg. accuracy 31.20 %`."""
    measured = "" if status.average is None else f", avg. {metric.word} {status.shown(metric.with_unit)}"
    return f"{status.trial.label}: {status.state}{measured}"


def _most_telling(statuses: Sequence[TrialStatus], rows: int) -> list[TrialStatus]:
    """As many as there is room for: those that run first, then what has failed or waits, in the plan's order."""
    if len(statuses) <= rows:
        return list(statuses)
    order = ("running", "failed", "interrupted", "missing")
    ranked = sorted(
        range(len(statuses)),
        key=lambda place: order.index(statuses[place].state) if statuses[place].state in order else len(order),
    )
    return [statuses[place] for place in sorted(ranked[:rows])]


def _count(statuses: Sequence[TrialStatus], shown: int) -> str:
    """`3 done, 1 running, 2 missing; 4 of 6 are shown. Ctrl-C leaves, and ends nothing.`"""
    counts = ", ".join(f"{count} {state}" for state, count in Counter(status.state for status in statuses).items())
    part = "" if shown == len(statuses) else f"; {shown} of {len(statuses)} are shown"
    return f"{counts}{part}. Ctrl-C leaves, and ends nothing."
