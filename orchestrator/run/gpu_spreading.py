"""Trials with a fraction of a GPU each, spread over all GPUs before two share one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

_EPSILON = 1e-3
_BALLAST_SECONDS = 60.0  # GPUs that others use never take any


def gpu_request(gpus: float) -> float:
    """What a trial asks Ray for: of a fraction a little less, so that beside one trial more than half is left."""
    return gpus if gpus in (0, 1) or gpus > 1 else round(gpus - _EPSILON, 4)


class _Ballast:
    """Holds most of a GPU, so that a trial beside it finds room for one only."""

    def ready(self) -> None:
        """Returns once it has its GPU."""


@contextmanager
def spread_over_gpus(share: float) -> Iterator[Callable[[int], None]]:
    """Lets the first trials with a fraction of a GPU take a GPU each before two share one.

    Ray fills its first GPU with fractions before it looks at the next. So ballast lies on every GPU that leaves room
    for one trial, until as many trials have started as there are GPUs.

    Args:
        share: of a GPU, what a trial asks for: as `gpu_request` says.

    Yields:
        To be told how many trials have started.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0))
    ballast: list[Any] = []
    if 0 < share < 0.5 and gpus > 1:
        kind = ray.remote(num_cpus=0, num_gpus=1 - share)(_Ballast)  # more than half: two never lie on one GPU
        ballast = [kind.remote() for _ in range(gpus)]
        ray.wait([actor.ready.remote() for actor in ballast], num_returns=gpus, timeout=_BALLAST_SECONDS)

    def started(trials: int) -> None:
        if trials >= gpus:
            _drop(ballast)

    try:
        yield started
    finally:
        _drop(ballast)


def _drop(ballast: list[Any]) -> None:
    while ballast:
        ray.kill(ballast.pop())
