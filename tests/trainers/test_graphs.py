"""The loop as it is captured on CUDA, with a capture that works anywhere: a tape of every operation on its tensors.

Like a CUDA graph, a tape replays the same operations on the same memory and runs no Python of ours: whatever the loop
fails to put into a tensor of fixed address is stale in a replay, and the results differ.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.conftest import tiny
from tests.trainers.sequences import Sequences, counter, recipe, regressor
from tests.trainers.test_text_trials import tiny as text_trial
from trainers.acceleration import Accelerator
from trainers.data.images.arrays import ImageArrays
from trainers.nested.layers.embedding import NestedEmbedding
from trainers.submodel import SubModel
from trainers.training.graphs import Graphs
from trainers.training.ledger import Budget
from trainers.training.loop import Snapshot, fit
from trainers.trials.images import train
from trainers.trials.texts import TEXT_TRIALS

CPU = torch.device("cpu")
Result = TypeVar("Result")
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[Tensor]]


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        fresh = [t.detach() for t in made if t.untyped_storage().data_ptr() not in given]
        if fresh or func._schema.is_mutable:
            self.calls.append((func, args, kwargs or {}, fresh))
        return out


class Tape:
    """Records operations; a replay runs them again and writes into the tensors that they made when recorded."""

    def __init__(self) -> None:
        self.recorded = 0

    def start(self, function: Callable[[], Result]) -> Result:
        return function()

    def join(self) -> None:
        pass

    def another(self) -> "Tape":
        return self

    def record(self, function: Callable[[], Result]) -> tuple[Callable[[], object], Result]:
        self.recorded += 1
        before = [(tensor, tensor.clone()) for tensor in _LIVE]
        with _Recording() as recording:
            result = function()
        with torch.no_grad():
            for tensor, value in before:  # a capture runs nothing
                tensor.copy_(value)

        def replay() -> None:
            with torch.no_grad():
                for func, args, kwargs, made in recording.calls:
                    out = [t for t in tree_leaves(func(*args, **kwargs)) if isinstance(t, Tensor)]
                    for tensor, value in zip(made, out, strict=False):
                        tensor.copy_(value)

        return replay, result


_LIVE: list[Tensor] = []
"""Every tensor that training changes, of the trial under test."""


@pytest.fixture(autouse=True)
def _watch_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the weights, gradients, momentum and buffers of the trial at hand in view of `Tape`."""
    from trainers.training import loop

    class Watched(loop.Step):
        def update(self, rate: float) -> None:
            super().update(rate)
            self._look()

        def passes(self, *arguments: Any) -> Iterator[tuple[SubModel, Tensor]]:
            self._look()
            for done in super().passes(*arguments):
                yield done
                self._look()

        def _look(self) -> None:
            network, momentum = self._state.network, list(self._state.optimizer.state().values())
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            state = [p.data for p in network.parameters()] + gradients + momentum + list(network.buffers())
            _LIVE[:] = [*state, self._state.loss_sum]

    monkeypatch.setattr(loop, "Step", Watched)


CAPTURED = [
    {"method": "SortedNet", "norm": "instance"},
    {"method": "NS", "norm": "batch-switchable"},
    {"method": "LCS-p", "norm": "batch"},
    {"method": "SortedNet", "norm": "batch-recalibrated", "objective": "stochastic-summation", "accumulation": 2},
    {"method": "Independent", "norm": "group", "updates": 6},
    {"method": "LCS-l", "norm": "instance", "updates": 6},
    {"method": "US-distilled", "norm": "batch", "updates": 8},
    {"method": "Extracted-tuned", "norm": "batch", "equalize": "passes", "updates": 8},
    {"sampler": "adaptive(0.05)", "distillation": "in-place", "norm": "layer", "updates": 16},
    {"method": "SortedNet", "norm": "batch", "precision": "bf16"},
]


def evaluated(settings: dict[str, Any], data: ImageArrays, graphs: Graphs | None) -> tuple[list[Snapshot], Snapshot]:
    snapshots = list(train(tiny(**{"batch_size": 6, **settings}), 3, data, CPU, graphs=graphs))
    return [snapshot for snapshot in snapshots if snapshot.metrics], snapshots[-1]


@pytest.mark.parametrize("settings", CAPTURED, ids=lambda s: "-".join(map(str, s.values())))
def test_a_captured_trial_is_bit_for_bit_the_one_that_is_not(
    settings: dict[str, Any], few: ImageArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.accelerated.norm.library", lambda: None)  # a tape sees torch's operations only
    tape = Tape()
    graphs = Graphs(tape)
    plain, _ = evaluated(settings, few, None)
    captured, _ = evaluated(settings, few, graphs)
    assert tape.recorded > 5
    share = captured[-1].metrics["replayed_passes"]
    assert share > 0.2
    for one, other in zip(plain, captured, strict=True):
        assert one.metrics == {name: value for name, value in other.metrics.items() if name != "replayed_passes"}


@pytest.mark.parametrize("distillation", ["none", "in-place"])
def test_captured_steps_over_batches_of_many_shapes_are_bit_for_bit_those_that_are_not(distillation: str) -> None:
    """AdamW with two groups, clipped, two outputs, sequences whose longest differs from batch to batch."""

    def measured(graphs: Graphs) -> list[dict[str, float]]:
        task, network = Sequences(3, 2, CPU), regressor()
        how = recipe(distillation=distillation, budget=Budget("updates", 40))
        return [s.metrics for s in fit(how, 3, task, network, counter(network, task), CPU, graphs=graphs) if s.metrics]

    tape = Tape()
    plain, captured = measured(Graphs(None)), measured(Graphs(tape))
    assert tape.recorded > 10
    assert captured[-1].pop("replayed_passes") > 0.3
    assert plain[-1] == captured[-1]
    assert len({tuple(Sequences(3, 2, CPU).selection(index).shape) for index in range(40)}) > 2


def test_a_function_with_effects_is_made_once_before_it_is_captured_and_a_pure_one_never_counts() -> None:
    tape = Tape()
    graphs, count = Graphs(tape), torch.zeros(())
    _LIVE[:] = [count]
    seen = []
    for _ in range(4):
        graphs.run("effect", lambda: count.add_(1), counted=True)
        seen.append(count.item())
    assert seen == [1, 2, 3, 4]
    assert (tape.recorded, graphs.called, graphs.replayed) == (1, 4, 3)
    first = graphs.run("pure", lambda: count * 2, pure=True)
    count.add_(1)
    assert graphs.run("pure", lambda: count * 2, pure=True) is first
    assert first.item() == 10
    graphs.clear()
    assert graphs.run("pure", lambda: count * 3, pure=True).item() == 15


def test_side_by_side_a_function_is_captured_for_the_place_where_it_runs() -> None:
    tape = Tape()
    graphs, counts = Graphs(tape), [torch.zeros(()), torch.zeros(())]
    _LIVE[:] = counts
    first, second = (("first", lambda: counts[0].add_(1)), ("second", lambda: counts[1].add_(10)))
    for order in ([first, second], [first, second], [second, first], [first, second]):
        found = [result.item() for result in graphs.side_by_side(order)]
        assert found == [counts[int(key == "second")].item() for key, _ in order]
    assert [count.item() for count in counts] == [4, 40]
    assert (tape.recorded, graphs.called, graphs.replayed) == (2, 8, 4)


class Lane:
    """A capture that notes what it is asked and has others beside it."""

    def __init__(self, log: list[str]) -> None:
        self._log, self._number = log, sum(entry.startswith("lane") for entry in log)
        log.append(f"lane {self._number}")

    def start(self, function: Callable[[], Result]) -> Result:
        self._log.append(f"start {self._number}")
        return function()

    def join(self) -> None:
        self._log.append(f"join {self._number}")

    def record(self, function: Callable[[], Result]) -> tuple[Callable[[], object], Result]:
        return function, function()

    def another(self) -> "Lane":
        return Lane(self._log)


def test_side_by_side_all_are_started_at_first_and_each_is_waited_for_when_its_result_is_asked() -> None:
    log: list[str] = []
    graphs = Graphs(Lane(log))
    for _ in range(3):  # called, recorded and replayed, replayed
        results = graphs.side_by_side([(name, partial(log.append, f"call {name}")) for name in "abc"])
        for number, _ in enumerate(results):
            log.append(f"result {number}")
    started = [entry for number, name in enumerate("abc") for entry in (f"start {number}", f"call {name}")]
    given = [entry for number in range(3) for entry in (f"join {number}", f"result {number}")]
    assert log[-12:] == started + given


def test_beyond_the_limit_functions_are_called_and_counted_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.training.graphs._MOST", 1)
    tape = Tape()
    graphs = Graphs(tape)
    _LIVE[:] = []
    for _ in range(3):
        graphs.run("one", lambda: torch.ones(1), counted=True)
        graphs.run("other", lambda: torch.ones(1), counted=True)
    assert (tape.recorded, graphs.called, graphs.replayed) == (1, 6, 2)


@pytest.mark.parametrize("method", ["SortedNet", "NS", "Extracted-tuned"])
def test_a_captured_trial_of_texts_is_bit_for_bit_the_one_that_is_not(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As while a stream is captured, when a mask is not looked at: without padding transformers would leave it out.
    monkeypatch.setattr("transformers.masking_utils.is_tracing", lambda *_: True)
    monkeypatch.setattr(NestedEmbedding, "_meets_few_rows", lambda *_: False)  # of CPUs alone
    monkeypatch.setattr("trainers.trials.texts.accelerator", lambda _: Accelerator())  # so is AdamW's kernel
    config = text_trial(method=method, updates=16, evaluations=2, batch_size=6)

    def trained(graphs: Graphs | None) -> dict[str, float]:
        parts = TEXT_TRIALS.assemble(config, 3, None, CPU)
        *_, last = fit(parts.recipe, 3, parts.task, parts.network, parts.macs, CPU, graphs=graphs)
        return last.metrics

    tape = Tape()
    plain, captured = trained(None), trained(Graphs(tape))
    assert tape.recorded > 5
    assert captured.pop("replayed_passes") > 0.2
    assert captured == plain
