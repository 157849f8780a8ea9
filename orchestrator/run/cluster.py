"""The Ray cluster that trials run on: a connection to it, and what it has for them."""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from orchestrator.errors import UserError, reason
from orchestrator.run.limits import few_processes
from orchestrator.run.machine import cpu_quota, cpus_here
from orchestrator.run.resources import Node
from orchestrator.secrecy.redaction import shown_address

_REACH_SECONDS = 5
_STARTS = 3  # Ray gives the processes it starts half a minute, and a busy machine may take longer
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # its table is ours to draw
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours to answer
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own snapshots are never read
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@contextmanager
def cluster(address: str | None, say: Callable[[str], None], tree: Path | None = None) -> Iterator[None]:
    """A connection to the cluster at `address`, or one started on this machine.

    Args:
        address: None starts one, with this machine's cores and GPUs.
        say: where it is said that a start is tried again.
        tree: what the nodes of a cluster import from, sent to them; None: what they have.

    Raises:
        UserError: the cluster cannot be reached or started.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    if address and address != "auto":
        _reach(address)
    how: dict[str, Any] = {"include_dashboard": False}
    if address:
        how = {"runtime_env": {"working_dir": str(tree)}} if tree else {}
    else:
        if (quota := cpu_quota()) is not None and quota < 1:  # of which Ray makes none at all
            how["num_cpus"] = cpus_here()
        # Workers started ahead lack the environment that Tune gives its own, and only hold up the start.
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    for left in reversed(range(1 if address else _STARTS)):
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **how)
            break
        except Exception as error:  # nothing narrower where its own processes are late
            ray.shutdown()
            if not left:
                raise UserError(
                    f"no Ray cluster at {shown_address(address or 'this machine')}: {reason(error)}{few_processes()}"
                ) from error
            say(f"Ray did not start ({reason(error)}); trying again")
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--address {shown_address(address)}: give auto or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at {shown_address(address)}: {reason(error)}") from error


def nodes() -> list[Node]:
    """What the living nodes of the connected cluster have."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def nodes_at(address: str, say: Callable[[str], None]) -> list[Node]:
    """What the nodes of the cluster at an address have. Starts nothing there and leaves nothing connected.

    Args:
        say: as of `cluster`.

    Raises:
        UserError: it cannot be reached.
    """
    with cluster(address, say):
        return nodes()
