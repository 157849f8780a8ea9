"""What this machine has for trials, told without Ray and without torch."""

import ctypes
import math
import os
from pathlib import Path

from orchestrator.run.resources import Node

_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def node_here() -> Node:
    """This machine as a node of a cluster started here."""
    return {"CPU": float(cpus_here()), "GPU": float(gpus_here())}


def cpus_here() -> int:
    """Whole ones, as Ray counts them, but at least one: of less than that, too, a trial makes what it can."""
    quota = cpu_quota()
    there = os.cpu_count() or 1
    return there if quota is None else max(1, min(there, math.floor(quota)))


def cpu_quota() -> float | None:
    """How many CPUs a container may take the time of, by control groups of either version; None: all there are."""
    both = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
    try:
        if (_CONTROL_GROUPS / both[0]).exists():
            quota, period = (float((_CONTROL_GROUPS / name).read_text()) for name in both)
        else:  # `max 100000` without a limit
            quota, period = (float(word) for word in (_CONTROL_GROUPS / "cpu.max").read_text().split())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def gpus_here() -> int:
    """How many this process may use, by CUDA's driver; 0 without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    found = ctypes.c_int(0)
    answered = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(found)) == 0
    return found.value if answered else 0
