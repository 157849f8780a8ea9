"""Compiles the kernels in C++ for this processor and loads them; without a compiler everything works on torch's own.

A shared library is kept per source, flags, compiler, C library and processor, so a home folder that several kinds of
machine share is no trap; its name holds its checksum, so that half a library is not loaded; and only in a folder that
is the user's alone. It links the OpenMP that torch has loaded, hence one pool of threads.
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

from trainers.devices.private import check_private, private_folder, say

_SOURCES = tuple(Path(__file__).parent / name for name in ("norm.cpp", "adamw.cpp"))
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-fopenmp", "-fPIC", "-shared")
_SECONDS = 120
_POINTER, _LONG, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float
_SHAPE = (_LONG, _LONG, _LONG)  # images, pixels, channels
_SIGNATURES = {
    "image_norm_forward": (*(_POINTER,) * 6, *_SHAPE, _LONG, _INT, _FLOAT, _INT),
    "image_norm_backward": (*(_POINTER,) * 9, *_SHAPE, _LONG, _INT, _INT),
    "batch_norm_forward": (*(_POINTER,) * 8, _FLOAT, *_SHAPE, _INT, _FLOAT, _INT),
    "batch_norm_backward": (*(_POINTER,) * 9, *_SHAPE, _INT, _INT),
    "known_norm_forward": (*(_POINTER,) * 4, *_SHAPE, _INT, _INT),
    "adamw_met": (*(_POINTER,) * 3, *(_LONG,) * 2, _INT),
    "adamw_step": (*(_POINTER,) * 5, *(_LONG,) * 2, *(_FLOAT,) * 7, _INT, _INT),
}


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where there is no C++ compiler (`$CXX`, else `g++`) or it cannot compile them."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None or sys.platform != "linux" or sys.byteorder != "little":
        return None
    try:
        loaded = _loaded(compiler)
    except (OSError, subprocess.SubprocessError) as error:
        say(f"the kernels for the CPU cannot be had, torch's own are slower: {_why(error)}")
        return None
    for name, types in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = types, None
    return loaded


def _loaded(compiler: str) -> ctypes.CDLL:
    """From where libraries are kept, or compiled for this process alone where nothing can be kept safely."""
    try:
        return ctypes.CDLL(str(_library_in(compiler, private_folder("kernels"))))
    except OSError as error:
        say(f"compiled kernels cannot be kept and are compiled for this process alone: {error}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        check_private(folder)
        return ctypes.CDLL(str(_compile(compiler, folder)))


def _library_in(compiler: str, folder: Path) -> Path:
    """The library for this machine in a folder, compiled if it is not there or not as it was written."""
    key = _key(compiler)
    for path in folder.glob(f"{key}-*.so"):
        check_private(path)
        if path.name == f"{key}-{_checksum(path)}.so":
            return path
        say(f"{path} is not as it was written: compiling it again")
        path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        built = _compile(compiler, Path(scratch))
        with built.open("rb") as whole:
            os.fsync(whole.fileno())
        kept = folder / f"{key}-{_checksum(built)}.so"
        built.chmod(0o700)
        built.replace(kept)  # whole or not there; several processes may compile at once
        return kept


def _key(compiler: str) -> str:
    """Of all that a library depends on: compiled on another machine it may not load, or end the process."""
    status = Path(compiler).resolve().stat()
    about = (
        compiler,
        status.st_size,
        status.st_mtime_ns,
        *_FLAGS,
        torch.__version__,
        platform.libc_ver(),
        _processor(),
    )
    return hashlib.sha256(b"".join(map(Path.read_bytes, _SOURCES)) + "\n".join(map(str, about)).encode()).hexdigest()


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _processor() -> str:
    """What `-march=native` depends on: the model and its features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join([platform.machine(), *sorted({line for line in lines if line.startswith(wanted)})])


def _compile(compiler: str, folder: Path) -> Path:
    built = folder / "kernels.so"
    command = [compiler, *_FLAGS, *map(str, _SOURCES), "-o", str(built)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
    return built


def _why(error: Exception) -> str:
    """In one line; of what a compiler says, the first."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
    return next((line.strip() for line in (said or str(error)).splitlines() if line.strip()), type(error).__name__)
