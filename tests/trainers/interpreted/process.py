"""A process in which Triton's kernels are interpreted; torch is imported once for all that runs there."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

Interpreted = Callable[..., None]
"""(function, arguments) → runs it there, and raises what it raises."""


@contextmanager
def interpreting() -> Iterator[Interpreted]:
    with ProcessPoolExecutor(1, get_context("spawn"), _prepare) as process:
        yield lambda function, *arguments: process.submit(function, *arguments).result()


def _prepare() -> None:
    os.environ.update(TRITON_INTERPRET="1", OMP_NUM_THREADS="1")
    from triton.runtime import interpreter  # which reads the environment

    exchange, known = interpreter._patch_lang, set[str]()

    def once(function: Callable[..., Any]) -> Any:
        if function.__module__ not in known:
            known.add(function.__module__)
            exchange(function)
        return interpreter._LangPatchScope()  # with nothing in it to be put back

    interpreter._patch_lang = once  # else the language is exchanged anew at every call of a function on the device
