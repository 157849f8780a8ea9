"""Programs in Triton compiled for a card that need not be there: what they take of it, and how often they are launched.

Takes Triton's own way from a launch to machine code, with a driver that has a card's name and none to launch on.
"""

import math
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

HOPPER = GPUTarget("cuda", 90, 32)
_REGISTERS, _SHARED, _WARPS, _RESIDENT = 65_536, 227 << 10, 64, 32  # of a multiprocessor (H100, H200)
_RESERVED = 1 << 10  # bytes of shared memory that every program takes beside its own
_GRANULE = 256  # registers are given to warps in so many


@dataclass(frozen=True)
class Program:
    """One launch.

    Attributes:
        name: of the function.
        count: of the grid: programs that run.
        warps: of each.
        registers: per thread.
        spilled: bytes per thread that found no place in registers.
        shared: bytes of each.
        assembly: PTX, what is compiled for the very card.
    """

    name: str
    count: int
    warps: int
    registers: int
    spilled: int
    shared: int
    assembly: str = field(repr=False, compare=False)

    @property
    def resident(self) -> int:
        """Programs that a multiprocessor has room for at once."""
        of_a_warp = -(-self.registers * 32 // _GRANULE) * _GRANULE
        by_registers = _REGISTERS // (of_a_warp * self.warps)
        return min(_RESIDENT, _WARPS // self.warps, by_registers, _SHARED // (self.shared + _RESERVED))


@contextmanager
def compiling() -> Iterator[list[Program]]:
    """Whatever is launched inside is compiled, once, and not run; of tensors on CPU. Gives all launches, in order.

    For the rest of the process: no card is asked any more.
    """
    driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: HOPPER,
            get_current_device=lambda: 0,
            get_current_stream=lambda device: 0,
            get_active_torch_device=lambda: torch.device("cpu"),
        )
    )
    launched, known, launch = list[Program](), dict[str, tuple[int, int]](), JITFunction.run

    def compile_only(self: Any, *arguments: Any, grid: Any, warmup: bool = False, **options: Any) -> None:
        kernel = launch(self, *arguments, grid=grid, warmup=True, **options)
        if kernel.hash not in known:
            known[kernel.hash] = _resources(kernel.asm["cubin"])
        name, metadata = self.fn.__name__, kernel.metadata
        taken = *known[kernel.hash], metadata.shared
        launched.append(Program(name, math.prod(grid), metadata.num_warps, *taken, kernel.asm["ptx"]))

    JITFunction.run = compile_only
    try:
        yield launched
    finally:
        JITFunction.run = launch


def _resources(binary: bytes) -> tuple[int, int]:
    """Registers per thread, and bytes per thread in local memory."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack, local = (re.search(rf"{name}:(\d+)", said) for name in ("REG", "STACK", "LOCAL"))
    assert registers is not None
    assert stack is not None
    assert local is not None
    return int(registers[1]), int(stack[1]) + int(local[1])
