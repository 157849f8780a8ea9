"""Compiles `norm.cpp` for this processor and loads it; without a compiler everything works on torch's own kernels.

A shared library is kept per source, flags and processor, so a home folder that several kinds of machine share is no
trap. It links the OpenMP that torch has loaded, hence one pool of threads.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch
from platformdirs import user_cache_path

_SOURCE = Path(__file__).parent / "norm.cpp"
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-fPIC", "-shared")
_SECONDS = 120
_POINTER, _LONG, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float
_SHAPE = (_LONG, _LONG, _LONG)  # images, pixels, channels
_SIGNATURES = {
    "image_norm_forward": (*(_POINTER,) * 6, *_SHAPE, _LONG, _INT, _FLOAT, _INT),
    "image_norm_backward": (*(_POINTER,) * 9, *_SHAPE, _LONG, _INT, _INT),
    "batch_norm_forward": (*(_POINTER,) * 8, _FLOAT, *_SHAPE, _INT, _FLOAT, _INT),
    "batch_norm_backward": (*(_POINTER,) * 9, *_SHAPE, _INT, _INT),
    "known_norm_forward": (*(_POINTER,) * 4, *_SHAPE, _INT, _INT),
}


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where there is no C++ compiler (`$CXX`, else `g++`) or it cannot compile them."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None or sys.platform != "linux" or sys.byteorder != "little":
        return None
    source = _SOURCE.read_bytes()
    about = "\n".join((compiler, *_FLAGS, torch.__version__, _processor()))
    path = (
        user_cache_path("sortednet-studies") / "kernels" / f"{hashlib.sha256(source + about.encode()).hexdigest()}.so"
    )
    try:
        if not path.is_file():
            _compile(compiler, path)
        loaded = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None
    for name, types in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = types, None
    return loaded


def _processor() -> str:
    """What `-march=native` depends on: the model and its features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join([platform.machine(), *sorted({line for line in lines if line.startswith(wanted)})])


def _compile(compiler: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        built = Path(scratch) / path.name
        command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(built)]
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
        built.replace(path)  # whole or not there; several processes may compile at once
