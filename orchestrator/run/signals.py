"""How a running study takes the signals that end it: as Ctrl-C, since whoever ends a job is to leave as much.

SIGTERM is a scheduler's, SIGHUP that of a terminal that goes. The latter stays ignored where it was (`nohup`).
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_Handler = Callable[[int, FrameType | None], object] | int | None


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise KeyboardInterrupt. Once that gets out, all are ignored for good."""
    before = heed_signals()
    try:
        yield
    except KeyboardInterrupt:
        ignore_signals()
        raise
    finally:
        for kind, handler in before.items():
            if signal.getsignal(kind) is not signal.SIG_IGN:
                signal.signal(kind, handler if callable(handler) else signal.SIG_DFL)


def heed_signals() -> dict[signal.Signals, _Handler]:
    """Has SIGTERM and SIGHUP raise KeyboardInterrupt; gives what they did before, those that were changed."""

    def interrupt(kind: int, _: object) -> None:
        if kind == signal.SIGHUP:  # which comes twice, from the shell and from the kernel
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        raise KeyboardInterrupt

    heeded = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heeded.append(signal.SIGHUP)
    return {kind: signal.signal(kind, interrupt) for kind in heeded}


def ignore_signals() -> None:
    """Once all is recorded and only the executor is left to end."""
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, signal.SIG_IGN)
