"""Whether Ray itself still lives: who waits for a trial waits for ever once what schedules it has died."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

import psutil
import ray

from orchestrator.errors import ClusterLost

_INTERVAL_SECONDS, _CONNECT_SECONDS = 1.0, 5.0
_DEAD_SECONDS, _STARTED_ANEW_SECONDS = 5.0, 30.0  # without an answer; where a cluster may mend itself
_ANSWER_SECONDS = 10.0  # for the main thread, which Ray may hold within a call of its own
_INTERRUPT = signal.SIGRTMIN  # nobody else's


@dataclass(frozen=True)
class _Process:
    """One of Ray's own, which is dead once it has not answered for `seconds`."""

    name: str
    host: str
    port: int
    seconds: float

    @property
    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            socket.create_connection((self.host, self.port), timeout=_CONNECT_SECONDS).close()
        except OSError:
            return False
        return True


@contextmanager
def living_cluster(leave: Callable[[], None]) -> Iterator[None]:
    """Within, the death of Ray's scheduler on this machine, or of the cluster's control store, ends the waiting.

    For the main thread alone, which it interrupts. If Ray does not let go of that, the process is ended.

    Args:
        leave: called, in another thread, before the process is ended.

    Raises:
        ClusterLost: one of them is dead.
    """
    lost: list[str] = []
    done, waiting = threading.Event(), threading.get_ident()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt  # the one exception that Ray's own waiting lets through

    def watch(processes: Sequence[_Process]) -> None:
        dead = _first_dead(processes, done)
        if dead is None:
            return
        lost.append(
            f"Ray has died: {dead.name} does not answer. Every trial has its checkpoint: run the same command again"
        )
        signal.pthread_kill(waiting, _INTERRUPT)
        if not done.wait(_ANSWER_SECONDS):
            leave()
            print(f"stopped: {lost[0]}", file=sys.stderr, flush=True)
            os._exit(1)

    before = signal.signal(_INTERRUPT, interrupt)
    watching = threading.Thread(target=watch, args=[_processes()], daemon=True)
    watching.start()
    try:
        yield
    except KeyboardInterrupt as interruption:
        if not lost:
            raise
        raise ClusterLost(lost[0]) from interruption
    finally:
        done.set()
        watching.join()
        signal.signal(_INTERRUPT, before)


def _first_dead(processes: Sequence[_Process], done: threading.Event) -> _Process | None:
    """Waits for it; None once that is done with."""
    answered = dict.fromkeys(processes, monotonic())
    while not done.wait(_INTERVAL_SECONDS):
        for process in processes:
            if process.answers:
                answered[process] = monotonic()
            elif monotonic() - answered[process] > process.seconds:
                return process
    return None


def _processes() -> list[_Process]:
    here = ray.get_runtime_context()
    host, _, port = str(here.gcs_address).rpartition(":")
    ours = any(child.name() == "gcs_server" for child in psutil.Process().children())
    seconds = _DEAD_SECONDS if ours else _STARTED_ANEW_SECONDS
    schedulers = [
        _Process("its scheduler on this machine", node["NodeManagerAddress"], node["NodeManagerPort"], _DEAD_SECONDS)
        for node in ray.nodes()
        if node["NodeID"] == here.get_node_id()
    ]
    return [*schedulers, _Process("its control store", host, int(port), seconds)]
