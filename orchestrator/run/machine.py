"""What this machine has for trials, told without Ray and without torch."""

import ctypes
import os

from orchestrator.run.resources import Node


def node_here() -> Node:
    """This machine as a node of a cluster started here."""
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(gpus_here())}


def gpus_here() -> int:
    """How many this process may use, by CUDA's driver; 0 without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    found = ctypes.c_int(0)
    answered = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(found)) == 0
    return found.value if answered else 0
