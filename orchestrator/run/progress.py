"""What a running study shows: a live table on a terminal, one plain line per event elsewhere."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from orchestrator.secrecy.redaction import without_passwords
from orchestrator.study.plan import Plan, Trial

_REFRESH_SECONDS = 0.5


@dataclass
class _Followed:
    largest_label: str
    smallest_label: str
    state: str = "waiting"
    progress: float = 0.0
    seconds: float = 0.0
    steps_done: int = 0
    first_progress: float | None = None
    largest: float | None = None
    smallest: float | None = None
    interim: bool = False

    @property
    def rate(self) -> float | None:
        return self.steps_done / self.seconds if self.seconds and self.steps_done else None

    @property
    def left(self) -> float | None:
        """Seconds to its end at the pace so far."""
        if self.first_progress is None or self.progress <= self.first_progress or not self.seconds:
            return None
        return self.seconds / (self.progress - self.first_progress) * (1 - self.progress)


class Progress:
    """Follows the trials of a plan.

    Args:
        slots: trials that run side by side; the time left is spread over them.
        live: whether a table may be redrawn in place; not where a trial has the terminal to itself.
    """

    def __init__(self, plan: Plan, console: Console, slots: int, live: bool = True) -> None:
        self._plan, self._console, self._slots = plan, console, max(1, slots)
        self._standing = {
            trial.key: _Followed(trial.sub_models[-1].label, trial.sub_models[0].label) for trial in plan.trials
        }
        self._of_arm: dict[str, list[_Followed]] = {arm.label: [] for arm in plan.arms}
        for trial in plan.trials:
            self._of_arm[trial.arm.label].append(self._standing[trial.key])
        self._metric = plan.declaration.primary
        self._started = time.monotonic()
        self._refreshed = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True) if live and console.is_terminal else None

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def already(self, trials: Sequence[Trial]) -> None:
        """Trials finished in an earlier run."""
        for trial in trials:
            self._standing[trial.key].state = "done"

    def started(self, trial: Trial, step: int) -> None:
        """A trial runs, from `step` on."""
        self._standing[trial.key].state = "running"
        self._line(f"{trial.label}: {f'resumed at update {step:,}' if step else 'started'}")

    def update(self, trial: Trial, report: Mapping[str, Any]) -> None:
        """A report of the worker."""
        standing = self._standing[trial.key]
        standing.progress, standing.seconds = report["progress"], report["seconds"]
        standing.steps_done = report.get("steps_done", 0)
        if standing.first_progress is None and standing.seconds:
            standing.first_progress = standing.progress if standing.steps_done == 0 else 0.0
        for point in report["points"]:
            whole = f"{self._metric.name}/{standing.largest_label}" in point["metrics"]
            standing.interim = bool(trial.interim) and not whole
            name = self._metric.interim if standing.interim else self._metric.name
            standing.largest = point["metrics"].get(f"{name}/{standing.largest_label}")
            standing.smallest = point["metrics"].get(f"{name}/{standing.smallest_label}")
        if report["points"] and standing.seconds and not report.get("final"):
            self._line(f"{trial.label}: {standing.progress:.0%}, {self._measured(standing)}")
        self.refresh()

    def ended(self, trial: Trial, state: str, note: str = "") -> None:
        """A trial is `done` or `failed`."""
        standing = self._standing[trial.key]
        standing.state = state
        measured = self._measured(standing) if state == "done" else ""
        self._line(f"{trial.label}: {state} in {duration(standing.seconds)}{', ' if measured else ''}{measured}{note}")
        self.refresh()

    def put_off(self, trial: Trial, why: str) -> None:
        """A trial waits again."""
        self._standing[trial.key].state = "waiting"
        self.say(f"{trial.label}: {why}")

    def say(self, text: str) -> None:
        """A line of its own, above the live table where there is one."""
        self._console.print(f"[{duration(time.monotonic() - self._started)}] {without_passwords(text)}", markup=False)

    def refresh(self) -> None:
        """Redraws the live table, at most twice a second."""
        if self._live and time.monotonic() - self._refreshed > _REFRESH_SECONDS:
            self._live.update(self._table(), refresh=True)
            self._refreshed = time.monotonic()

    def _line(self, text: str) -> None:
        if self._live is None:
            self.say(text)

    def _column(self, name: str) -> str:
        """The label of the largest or smallest sub-model where all trials have the same one, else that word."""
        labels = {getattr(standing, f"{name}_label") for standing in self._standing.values()}
        return labels.pop() if len(labels) == 1 else name

    def _measured(self, standing: _Followed) -> str:
        values = ((standing.largest_label, standing.largest), (standing.smallest_label, standing.smallest))
        known = [f"{label} {self._metric.with_unit(value)}" for label, value in values if value is not None]
        return ", ".join(known) + " (interim)" * (standing.interim and bool(known))

    def _table(self) -> Table:
        table = Table(title=self._plan.study.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("arm", no_wrap=True)
        for column in (
            "done",
            "run",
            "wait",
            "fail",
            *(f"{self._column(n)} {self._metric.unit}".rstrip() for n in ("largest", "smallest")),
            "upd/s",
            "left",
        ):
            table.add_column(column, justify="right", no_wrap=True)
        for arm, standings in self._of_arm.items():
            states = Counter(standing.state for standing in standings)
            running = [standing for standing in standings if standing.state == "running"]
            rates = [rate for standing in running if (rate := standing.rate)]
            left = [left for standing in running if (left := standing.left) is not None]
            measured = [
                next(
                    (self._metric.text(value) for s in reversed(standings) if (value := getattr(s, name)) is not None),
                    "–",
                )
                for name in ("largest", "smallest")
            ]
            table.add_row(
                arm,
                *(str(states[state] or "–") for state in ("done", "running", "waiting", "failed")),
                *measured,
                f"{sum(rates):.1f}" if rates else "–",
                duration(max(left)) if left else "–",
            )
        table.caption = f"{duration(time.monotonic() - self._started)} gone{self._time_left()}"
        return table

    def _time_left(self) -> str:
        standings = list(self._standing.values())
        paces = [s.seconds + s.left for s in standings if s.left is not None]
        if not paces:
            return ""
        waiting = sum(standing.state == "waiting" for standing in standings)
        running = sum(s.left for s in standings if s.state == "running" and s.left is not None)
        return f", about {duration((running + waiting * sum(paces) / len(paces)) / self._slots)} left"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
