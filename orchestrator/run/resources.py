"""What one trial is given of the machine that it runs on."""

import ctypes
from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """What a trial gets and how many run at once. `gpus` None: a whole one where there is any."""

    cpus: float = 1
    gpus: float | None = None
    max_concurrent: int | None = None

    @property
    def text(self) -> str:
        """`2 CPUs` or `0.5 GPUs`."""
        return f"{self.gpus:g} GPUs" if self.gpus else f"{self.cpus:g} CPUs"


def gpus_here() -> int:
    """How many this process may use, by CUDA's driver; 0 without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    found = ctypes.c_int(0)
    answered = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(found)) == 0
    return found.value if answered else 0
