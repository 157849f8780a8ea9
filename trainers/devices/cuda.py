"""What a trial needs of the CUDA backend: settings, which a reused worker may have from another; streams; Triton."""

import atexit
import gc
import os
import shutil
import tempfile
import threading
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

from trainers.devices.private import NotPrivate, private_folder, say

_STREAMS = 32  # that torch has per device
_taken: set[int] = set()
_taking = threading.Lock()


def prepare_cuda(deterministic: bool) -> None:
    """Chooses convolution algorithms by measuring them or, if results must be the same bit for bit, by rule.

    On CPU results are deterministic as they are, and nothing changes.
    """
    # Read once, at cuBLAS's first use, by which a reused worker may not know yet that a later trial needs it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic
    if has_triton() and torch.cuda.is_available():
        keep_triton_private()
    if torch.are_deterministic_algorithms_enabled() != deterministic:  # to say so imports torch's compiler: 2 s
        torch.use_deterministic_algorithms(deterministic)
    # It would fill whatever is made empty with a launch of its own, to show who reads what nobody has written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property


def capturing() -> bool:
    """Whether what is launched now is only noted, in a CUDA graph."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


@cache
def keep_triton_private() -> None:
    """Has Triton keep what it compiles where nobody else writes: it loads and runs whatever lies there, unasked.

    Its own place, ~/.triton, it takes as it finds it. Who sets TRITON_CACHE_DIR or TRITON_HOME has chosen another.
    """
    if {"TRITON_CACHE_DIR", "TRITON_HOME"} & os.environ.keys():
        return
    try:
        folder = private_folder("triton")
    except NotPrivate as error:
        say(f"compiled Triton kernels cannot be kept and are compiled for this process alone: {error}")
        folder = Path(tempfile.mkdtemp(prefix="triton-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["TRITON_CACHE_DIR"] = str(folder)


@cache
def has_triton() -> bool:
    """Whether kernels for CUDA can be compiled: torch's builds for CPU bring no Triton, and it needs a C compiler."""
    compilers = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    return find_spec("triton") is not None and any(map(shutil.which, compilers))


class _Taken:
    """Gives a stream's handle back when the stream that holds it goes."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        _taken.add(handle)

    def __del__(self) -> None:
        _taken.discard(self._handle)


def own_stream(device: torch.device) -> torch.cuda.Stream:
    """A stream that is nobody else's in this process as long as it is kept.

    torch hands out its streams in turn and, after the last, the first one again. Of two trials side by side on one
    stream, one would record into its graphs what the other launches. Weak references to its streams are of no use:
    torch 2.11 lets a stream go without telling them.

    Raises:
        RuntimeError: all of them are taken.
    """
    with _taking:
        for attempt in range(2 * _STREAMS):
            if attempt == _STREAMS:
                gc.collect()  # a trial that has ended may still hold some
            stream = torch.cuda.Stream(device)
            if stream.cuda_stream not in _taken:
                stream.taken = _Taken(stream.cuda_stream)  # type: ignore[attr-defined]  # ours, to go with it
                return stream
    raise RuntimeError(f"all {_STREAMS} CUDA streams of this process are taken: run fewer trials side by side")
