"""Writes that wait for a tracking store: in order, off the scheduler's thread, again while the store does not answer.

Training goes on meanwhile. What is written must be idempotent: after a lost answer it is written once more.
"""

import hashlib
import queue
import threading
import time
from collections.abc import Callable

from orchestrator.run.patience import Patience


class Outbox:
    """Lanes of writes, one thread each. Writes with one key keep their order; `check` raises what a lane died of.

    Args:
        patience: with a store that does not answer.
        lanes: 1 for a store that takes one writer at a time.
    """

    def __init__(self, patience: Patience, lanes: int) -> None:
        self._patience = patience
        self._error: BaseException | None = None
        self._lanes: list[queue.Queue[Callable[[], None] | None]] = [queue.Queue() for _ in range(lanes)]
        self._threads = [threading.Thread(target=self._work, args=(lane,), daemon=True) for lane in self._lanes]
        for thread in self._threads:
            thread.start()

    def post(self, key: str, write: Callable[[], None]) -> None:
        """Has it written after everything else with this key."""
        self._lanes[hashlib.sha256(key.encode()).digest()[0] % len(self._lanes)].put(write)

    def check(self) -> None:
        """Raises the error that stopped a lane, if one did."""
        if self._error is not None:
            raise self._error

    def drain(self, seconds: float | None = None) -> bool:
        """Ends the lanes once they are empty; false if they were not by then.

        Raises:
            Stopped: as `Patience.keep_trying`.
        """
        for lane in self._lanes:
            lane.put(None)
        ends = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if ends is None else max(0.0, ends - time.monotonic()))
        self.check()
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, lane: "queue.Queue[Callable[[], None] | None]") -> None:
        while (write := lane.get()) is not None:
            if self._error is None:
                try:
                    self._patience.keep_trying(write)
                except BaseException as error:  # raised in the driver's thread by `check`
                    self._error = error
