"""Workers that are lost, whatever Ray calls it: the loss of one is the end of one trial's attempt.

Tune knows that of actors that died. By any other error of Ray's about a worker, as that of the memory monitor which
ended it, Tune ends the experiment with all its trials.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial

_TAKEN = "_actor_task_failed"  # the method that takes an error about a worker
_MEMORY_MONITOR = "running low on memory"  # what Ray says of a worker that it has ended for memory


@contextmanager
def losses_end_trials() -> Iterator[None]:
    """Within, Tune takes every error about a trial's worker as the loss of that worker."""
    usual = getattr(RayActorManager, _TAKEN)

    def failed(manager: RayActorManager, tracked_actor_task: TrackedActorTask, exception: Exception) -> None:
        if not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError("", f"{type(exception).__name__}: {exception}")
        usual(manager, tracked_actor_task, exception)

    setattr(RayActorManager, _TAKEN, failed)
    try:
        yield
    finally:
        setattr(RayActorManager, _TAKEN, usual)


def last_loss(trial: TuneTrial) -> str:
    """What Ray says of the worker that a trial has lost: by Tune's file of it here, which gets to the storage later."""
    try:
        told = Path(trial.error_file or "").read_text(errors="replace")  # of every attempt so far
    except OSError:
        return ""
    return told.rpartition("Failure # ")[2].partition("\n")[2].strip()


def is_out_of_memory(loss: str) -> bool:
    """Whether Ray has ended a worker since the memory of its node did not suffice."""
    return _MEMORY_MONITOR in loss
