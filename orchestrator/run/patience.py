"""How a tracking store that fails is borne: what is done again, for how long, and what is said."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from orchestrator.errors import Stopped, reason

_FINAL = frozenset(  # what no repetition mends
    {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST", "PERMISSION_DENIED", "UNAUTHENTICATED",
     "CUSTOMER_UNAUTHORIZED", "ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "INVALID_STATE"}
)  # fmt: skip
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0
_LONG_SECONDS = 5.0  # of an attempt: MLflow waits for a locked database for most of a minute
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
            began = time.monotonic()
            try:
                found = write()
            except Exception as error:  # the store's kinds are known once one has been imported, and it takes long
                if not is_store_error(error):  # a fault of ours
                    raise
                if getattr(error, "error_code", "") in _FINAL:
                    raise Stopped(f"the tracking store refuses: {reason(error)}") from error
                self._failed(error, began)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._succeeded()
                return found

    def _failed(self, error: Exception, began: float) -> None:
        with self._lock:
            now = time.monotonic()
            first = self._failing_since is None
            if self._failing_since is None:
                self._failing_since = now
            # A stumble is not worth a line.
            if not self._said and (not first or now - began > _LONG_SECONDS):
                self._said = True
                self._say(
                    f"the tracking store does not take what is written ({reason(error)}); training goes on, trying "
                    f"again for {self._seconds:.0f} s"
                )
            if now - self._failing_since > self._seconds:
                raise Stopped(
                    f"the tracking store has failed for {self._seconds:.0f} s: {reason(error)}. Every trial has its "
                    "checkpoint: run the same command again once the store answers"
                ) from error

    def _succeeded(self) -> None:
        with self._lock:
            if self._said:
                self._say("the tracking store answers again")
            self._failing_since, self._said = None, False


def is_store_error(error: Exception) -> bool:
    """Whether the tracking store or a disk failed."""
    from mlflow.exceptions import MlflowException  # two seconds, which a start without errors can do without
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, MlflowException | SQLAlchemyError | OSError)
