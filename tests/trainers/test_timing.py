"""What is timed before a trial is what its loop will do."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch

from tests.conftest import FOUR, tiny
from trainers.measuring import timing
from trainers.measuring.timing import latency, seconds_per_pass
from trainers.nested.network import NestedNetwork
from trainers.training.step import Step
from trainers.trials.images import IMAGES

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("settings", "nested"),
    [({"method": "US-distilled", "norm": "batch"}, True), ({"method": "Extracted-tuned", "precision": "bf16"}, False)],
)
def test_the_passes_timed_are_those_of_the_loops_own_step(settings: dict[str, Any], nested: bool) -> None:
    made, passes = [], Step.passes

    def noting(self: Step, *arguments: Any) -> Iterator[Any]:
        for sub_model, loss in passes(self, *arguments):
            made.append((sub_model, isinstance(self._state.network, NestedNetwork), len(arguments[1]["inputs"])))
            yield sub_model, loss

    with patch.object(Step, "passes", noting):
        timed = seconds_per_pass(IMAGES, tiny(**settings), CPU)
    assert timed.keys() == set(FOUR)
    assert all(made.count((target, nested, 16)) == 4 for target in FOUR)  # one to warm up, and the best of three
    assert len(made) == 16


def test_a_machine_that_slows_down_makes_no_sub_model_slower_than_another(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def slowing() -> float:
        nonlocal asked
        asked += 1
        return 0.001 * asked**2  # every pass takes longer than the one before

    monkeypatch.setattr(timing.time, "perf_counter", slowing)
    found = latency(IMAGES, tiny(), CPU)
    assert found.keys() == set(FOUR)
    assert max(found.values()) == pytest.approx(min(found.values()), rel=0.03)
