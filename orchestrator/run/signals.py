"""How a running study takes signals: SIGTERM as Ctrl-C, since a scheduler that ends a job is to leave as much."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_Handler = Callable[[int, FrameType | None], object] | int | None


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Within, SIGTERM raises KeyboardInterrupt. Once that gets out, both signals are ignored for good."""
    before = heed_sigterm()
    try:
        yield
    except KeyboardInterrupt:
        ignore_signals()
        raise
    finally:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, before if callable(before) else signal.SIG_DFL)


def heed_sigterm() -> _Handler:
    """Has SIGTERM raise KeyboardInterrupt; gives what it did before."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return signal.signal(signal.SIGTERM, interrupt)


def ignore_signals() -> None:
    """Once all is recorded and only the executor is left to end."""
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)
