"""A trainer that says what it would have measured. Every worker imports this module, and little with it."""

from collections.abc import Mapping
from typing import Any

import ray

from benchmarks.noop import NoopTrainer
from orchestrator.trainer import Place, Probe


class Measured(NoopTrainer):
    """Passes per second by the number of threads, and memory."""

    def __init__(self, rates: Mapping[int, float], memory: int = 1) -> None:
        self._rates, self._memory = rates, memory

    def probe(self, config: Mapping[str, Any], place: Place, starts: float, ends: float) -> Probe:
        assert place.gpu == bool(ray.get_gpu_ids())
        return Probe(self._rates[place.threads], "passes", self._memory, 100)


class Sharing(Measured):
    """Two on one GPU do a little more than one."""

    def probe(self, config: Mapping[str, Any], place: Place, starts: float, ends: float) -> Probe:
        share = ray.get_runtime_context().get_assigned_resources()["GPU"]
        return Probe(10.0 if share == 1 else 5.4, "passes", 1, 100)
