"""Whether the machine was this process's own while something was timed: what other processes do makes times longer.

Often by more than sub-models differ, so that a smaller one comes out slower than a larger.
"""

import os
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

IDLE = 0.1  # of the machine's processors: as much as services in the background take
_PAUSE = 2.0  # seconds in which what has just ended comes to rest
_Measured = TypeVar("_Measured")


def calmest(measure: Callable[[], _Measured]) -> tuple[_Measured, float]:
    """What is measured, and which share of the machine's processors others took meanwhile.

    Where that is much, what has just ended may not be gone yet: it is measured once more, and the calmer one counts.
    """
    first = _watched(measure)
    if not first[0] or first[1] <= IDLE:
        return first
    time.sleep(_PAUSE)
    return min(first, _watched(measure), key=lambda each: each[1])


def _watched(measure: Callable[[], _Measured]) -> tuple[_Measured, float]:
    share = others_at_work()
    return measure(), share()


def others_at_work() -> Callable[[], float]:
    """Begins to watch; gives what says which share of the machine's processors others have taken since, from 0 to 1.

    Others are all processes but this one, of other machines on the same host too, as far as the kernel tells.
    """
    began, before, own = time.monotonic(), _taken(), _own()

    def share() -> float:
        there = (time.monotonic() - began) * (os.cpu_count() or 1)
        others = (_taken() - before) - (_own() - own)
        return min(1.0, max(0.0, others / there)) if there > 0 else 0.0

    return share


def _taken() -> float:
    """Seconds of all processors that were not idle."""
    times = psutil.cpu_times()
    waiting = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # which `user` and `nice` hold, too
    return float(sum(times) - waiting - guests)


def _own() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)
