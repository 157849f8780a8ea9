"""Work that is launched once and replayed: CUDA graphs, one per piece of a training step.

A step of a thin network is some hundred kernels of microseconds, and launching them one by one takes longer than
running them. A captured graph is launched whole. Pieces are a micro-batch, one sub-model's pass, what passes made side
by side add, the optimizer's step and one evaluation batch: every method is a sequence of them, so n targets need a
number of graphs in n whatever the objective, for some launches more per step than a graph of the whole step would need.
They share one memory pool, which is safe since they are replayed one after the other; what is replayed side by side,
since a thin network leaves most of a card idle, has a stream and a pool for each place.

A captured function reads and writes the same memory for ever. Whatever changes from call to call (indices, learning
rate) must lie in tensors of fixed address, and what it returns is overwritten by its next call. Batches of several
shapes are pieces of their own, for each shape one.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch

from trainers.devices.cuda import own_stream

Result = TypeVar("Result")
_MOST = 2048  # graphs of one trial; cPreResNet20 has 373 distinct widths, of which LCS-p draws two at a time


class Capture(Protocol):
    """How work is recorded."""

    def start(self, function: Callable[[], Result]) -> Result:
        """Runs it where it is recorded, after all that has been launched before."""

    def join(self) -> None:
        """Whatever is launched from now on runs after what was started."""

    def record(self, function: Callable[[], Result]) -> tuple[Callable[[], object], Result]:
        """Records it without running it; gives what replays it and the results that a replay fills."""

    def another(self) -> "Capture":
        """One whose work may run beside this one's."""


class CudaCapture:
    """On a CUDA device: a stream for recording and a memory pool for all graphs recorded on it."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, own_stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def start(self, function: Callable[[], Result]) -> Result:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            return function()

    def join(self) -> None:
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def record(self, function: Callable[[], Result]) -> tuple[Callable[[], object], Result]:
        graph = torch.cuda.CUDAGraph()

        def captured() -> Result:
            # Without the synchronisation and garbage collection of torch.cuda.graph, a fifth of a second each.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                return function()
            finally:
                graph.capture_end()

        return graph.replay, self.start(captured)

    def another(self) -> "CudaCapture":
        return CudaCapture(self._device)


class Graphs:
    """Runs functions, and from a call on replays what was captured of them.

    Without a capture every call is simply made. `replayed` and `called` count calls of `counted` functions.

    Args:
        capture: how to record; None where nothing is to be.
    """

    def __init__(self, capture: Capture | None) -> None:
        self._captures = [] if capture is None else [capture]  # of them the first for what runs alone
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
        return bool(self._captures)

    def run(
        self, key: Hashable, function: Callable[[], Result], *, pure: bool = False, counted: bool = False
    ) -> Result:
        """The result of `function`, which is known by `key`.

        The first call of a function with effects is made as it is: it warms up what must not be captured. The second
        is captured and replayed. A pure function is warmed up for nothing and captured at once, so its results have
        one address from the first call on.
        """
        if not self._captures:
            return function()
        capture = self._captures[0]
        self.called += counted
        recorded = self._recording(capture, key, function, pure)
        if recorded is None:
            return _alone(capture, function)
        replay, result = recorded
        replay()
        self.replayed += counted
        return result  # type: ignore[no-any-return]  # of the function that was recorded under this key

    def side_by_side(self, work: Sequence[tuple[Hashable, Callable[[], Result]]]) -> Iterator[Result]:
        """The results of functions with effects, by their keys, none of which touches what another one writes.

        As `run`, each in its place in the sequence: a function that comes in another place is captured anew. Counted.
        All are started before the first result is given; what is launched between two results runs after the work of
        those given, and beside the others'.
        """
        if not self._captures:
            for _, function in work:
                yield function()
            return
        while len(self._captures) < len(work):
            self._captures.append(self._captures[0].another())
        at_work, results = self._captures[: len(work)], []
        for place, (capture, (key, function)) in enumerate(zip(at_work, work, strict=True)):
            self.called += 1
            recorded = self._recording(capture, ("beside", place, key), function, pure=False)
            if recorded is None:
                results.append(capture.start(function))
            else:
                replay, result = recorded
                capture.start(replay)
                results.append(result)
                self.replayed += 1
        for capture, result in zip(at_work, results, strict=True):
            capture.join()
            yield result

    def _recording(
        self, capture: Capture, key: Hashable, function: Callable[[], Any], pure: bool
    ) -> tuple[Callable[[], object], Any] | None:
        """What replays a function and the results that are filled; None if this time it is to be called."""
        if key not in self._recorded:
            if len(self._recorded) >= _MOST or not (pure or key in self._seen):
                self._seen.add(key)
                return None
            if pure:
                _alone(capture, function)
            self._recorded[key] = capture.record(function)
        return self._recorded[key]

    def clear(self) -> None:
        """Forgets everything captured: the network it was captured for is gone."""
        self._seen.clear()
        self._recorded.clear()


def _alone(capture: Capture, function: Callable[[], Result]) -> Result:
    result = capture.start(function)
    capture.join()
    return result
