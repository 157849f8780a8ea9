"""Writes that wait for a tracking store: in order, off the scheduler's thread, again while the store does not answer.

Training goes on meanwhile. What is written must be idempotent: after a lost answer it is written once more.
"""

import hashlib
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.errors import Stopped
from orchestrator.redaction import without_passwords

_FINAL = frozenset(  # what no repetition mends
    {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST", "PERMISSION_DENIED", "UNAUTHENTICATED",
     "CUSTOMER_UNAUTHORIZED", "ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "INVALID_STATE"}
)  # fmt: skip
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0
_T = TypeVar("_T")


class Patience:
    """How a failing store is borne: again with growing pauses, said once, until it has failed for too long.

    Args:
        seconds: how long it may fail without a success between.
        say: where it is said that it fails, and that it answers again.
    """

    def __init__(self, seconds: float, say: Callable[[str], None]) -> None:
        self._seconds, self._say = seconds, say
        self._lock = threading.Lock()
        self._failing_since: float | None = None
        self._said = False

    def keep_trying(self, write: Callable[[], _T]) -> _T:
        """The result of the first attempt that succeeds.

        Raises:
            Stopped: the store has failed for too long, or says what no repetition mends.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                found = write()
            except (MlflowException, SQLAlchemyError, OSError) as error:  # whatever else is a fault of ours, and raised
                if isinstance(error, MlflowException) and error.error_code in _FINAL:
                    raise Stopped(f"the tracking store refuses a write: {_reason(error)}") from error
                self._failed(error)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._succeeded()
                return found

    def _failed(self, error: Exception) -> None:
        with self._lock:
            now = time.monotonic()
            if self._failing_since is None:
                self._failing_since = now
            elif not self._said:  # the second time: a stumble is not worth a line
                self._said = True
                self._say(
                    f"the tracking store does not take what is written ({_reason(error)}); training goes on, trying "
                    f"again for {self._seconds:.0f} s"
                )
            if now - self._failing_since > self._seconds:
                raise Stopped(
                    f"the tracking store has failed for {self._seconds:.0f} s: {_reason(error)}. Every trial has its "
                    "checkpoint: run the same command again once the store answers"
                ) from error

    def _succeeded(self) -> None:
        with self._lock:
            if self._said:
                self._say("the tracking store answers again")
            self._failing_since, self._said = None, False


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


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("(raised as a result of")]  # SQLAlchemy's, before the reason
    return without_passwords((told or [type(error).__name__])[0][:300])
