"""Work that is launched once and replayed: CUDA graphs, one per piece of a training step.

A step of a thin network is some hundred kernels of microseconds, and launching them one by one takes longer than
running them. A captured graph is launched whole. Pieces are a micro-batch, one sub-model's pass, the optimizer's step
and one evaluation batch: every method is a sequence of them, so n targets need n graphs whatever the objective, and
two launches more per step than a graph of the whole step would. All share one memory pool, which is safe since they
are replayed one after the other.

A captured function reads and writes the same memory for ever. Whatever changes from call to call (indices, learning
rate) must lie in tensors of fixed address, and what it returns is overwritten by its next call.
"""

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

import torch

Result = TypeVar("Result")
_MOST = 1024  # graphs of one trial; cPreResNet20 has 373 distinct widths


class Capture(Protocol):
    """How work is recorded."""

    def warm(self, function: Callable[[], Result]) -> Result:
        """Runs it, where it will be recorded."""

    def record(self, function: Callable[[], Result]) -> tuple[Callable[[], object], Result]:
        """Records it without running it; gives what replays it and the results that a replay fills."""


class CudaCapture:
    """On a CUDA device: a stream for recording and a memory pool for all graphs."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm(self, function: Callable[[], Result]) -> Result:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = function()
        current.wait_stream(self._stream)
        return result

    def record(self, function: Callable[[], Result]) -> tuple[Callable[[], object], Result]:
        graph = torch.cuda.CUDAGraph()

        def captured() -> Result:
            # Without the synchronisation and garbage collection of torch.cuda.graph, a fifth of a second each.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                return function()
            finally:
                graph.capture_end()

        result = self.warm(captured)
        return graph.replay, result


class Graphs:
    """Runs functions, and from a call on replays what was captured of them.

    Without a capture every call is simply made. `replayed` and `called` count calls of `counted` functions.

    Args:
        capture: how to record; None where nothing is to be.
    """

    def __init__(self, capture: Capture | None) -> None:
        self._capture = capture
        self._seen: set[Hashable] = set()
        self._recorded: dict[Hashable, tuple[Callable[[], object], Any]] = {}
        self.called, self.replayed = 0, 0

    @classmethod
    def on(cls, device: torch.device) -> "Graphs":
        """Captured on a CUDA device, else plain calls."""
        return cls(CudaCapture(device) if device.type == "cuda" else None)

    @property
    def capturing(self) -> bool:
        """Whether functions are captured, so that what they read must stay where it is."""
        return self._capture is not None

    def run(
        self, key: Hashable, function: Callable[[], Result], *, pure: bool = False, counted: bool = False
    ) -> Result:
        """The result of `function`, which is known by `key`.

        The first call of a function with effects is made as it is: it warms up what must not be captured. The second
        is captured and replayed. A pure function is warmed up for nothing and captured at once, so its results have
        one address from the first call on.
        """
        if self._capture is None:
            return function()
        self.called += counted
        if key not in self._recorded:
            if len(self._recorded) >= _MOST or not (pure or key in self._seen):
                self._seen.add(key)
                return self._capture.warm(function)
            if pure:
                self._capture.warm(function)
            self._recorded[key] = self._capture.record(function)
        replay, result = self._recorded[key]
        replay()
        self.replayed += counted
        return result  # type: ignore[no-any-return]  # of the function that was recorded under this key

    def clear(self) -> None:
        """Forgets everything captured: the network it was captured for is gone."""
        self._seen.clear()
        self._recorded.clear()
