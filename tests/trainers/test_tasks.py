"""The loop over another task than images: sequences of any length, two outputs, an error that should be small."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.trainers.sequences import FEATURES, HIDDEN, WIDTHS, Sequences, counter, recipe, regressor
from trainers.errors import ConfigError
from trainers.objectives import summed
from trainers.sampling.names import sampler
from trainers.tasks.images import ImageClassification
from trainers.tasks.task import Metric, primary
from trainers.training.ledger import Budget
from trainers.training.loop import Snapshot, fit

CPU = torch.device("cpu")


def trained(resume_from: Path | None = None, frozen: tuple[str, ...] = (), **parts: Any) -> Iterator[Snapshot]:
    task, network = Sequences(3, 5, CPU), regressor(frozen)
    yield from fit(recipe(**parts), 3, task, network, counter(network, task), CPU, resume_from)


def test_the_error_of_every_target_falls_and_is_reported_under_the_tasks_own_name() -> None:
    first, *_, last = [s.metrics for s in trained(sampler=sampler("all"), objective=summed) if s.metrics]
    for target in WIDTHS:
        assert last[f"test_error/{target.label}"] < first[f"test_error/{target.label}"]
    average = sum(last[f"test_error/{target.label}"] for target in WIDTHS) / len(WIDTHS)
    assert last["test_error_average"] == average
    assert not any("acc" in name for name in last)


@pytest.mark.parametrize("distillation", ["none", "in-place"])
def test_a_trial_of_sequences_stopped_and_resumed_ends_bit_for_bit_the_same(distillation: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("kept", "whole", "resumed")]
    for folder in folders:
        folder.mkdir()
    kept, whole, resumed = folders
    settings: dict[str, Any] = {"distillation": distillation, "accumulation": 2}
    for snapshot in trained(**settings):
        if snapshot.step == 9:
            snapshot.save(kept)
        if snapshot.final:
            snapshot.save(whole)
    *_, last = trained(kept, **settings)
    last.save(resumed)
    for name in ("weights.safetensors", "momentum.safetensors"):
        expected, found = load_file(whole / name), load_file(resumed / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected), name
    assert load_file(whole / "momentum.safetensors")["steps"].eq(24).all()
    assert json.loads((whole / "state.json").read_text()) == json.loads((resumed / "state.json").read_text())


def test_the_ledger_counts_examples_and_multiply_accumulates_by_real_lengths() -> None:
    *_, last = trained(sampler=sampler("all"), objective=summed, budget=Budget("updates", 3), evaluations=1)
    task, macs = Sequences(3, 5, CPU), 0
    lengths = [task.lengths[row] for index in range(3) for row in task.rows(index)]
    assert len(set(lengths)) > 1
    for target in WIDTHS:
        hidden = round(HIDDEN * target["width"])
        macs += sum(length * (FEATURES * hidden + hidden * hidden) + 2 * hidden for length in lengths)
    assert last.metrics["ledger/macs"] == macs
    assert last.metrics["ledger/samples"] == 3 * 5 * len(WIDTHS)


def test_a_budget_of_multiply_accumulates_is_spent_by_real_lengths() -> None:
    *_, last = trained(budget=Budget("macs", 20_000))
    assert last.metrics["ledger/macs"] >= 20_000
    longest = 5 * (6 * (FEATURES * HIDDEN + HIDDEN**2) + 2 * HIDDEN)
    assert last.metrics["ledger/macs"] < 20_000 + longest


def test_what_is_frozen_stays_as_it_is_and_has_no_state(tmp_path: Path) -> None:
    frozen = ("first.weight", "second.bias")
    before = regressor(frozen).state_dict()
    *_, last = trained(frozen=frozen)
    last.save(tmp_path)
    after, state = load_file(tmp_path / "weights.safetensors"), load_file(tmp_path / "momentum.safetensors")
    for name in before:
        held = name.removeprefix("network.") in frozen
        assert torch.equal(before[name], after[name]) == held, name
        assert (f"first/{name}" in state) == (not held), name


def test_a_network_of_which_all_is_frozen_is_refused() -> None:
    everything = tuple(name.removeprefix("network.") for name in regressor().state_dict())
    with pytest.raises(ConfigError, match="no parameter to train"):
        next(trained(frozen=everything))


def test_gradients_are_clipped_to_a_norm_only_where_theirs_is_larger() -> None:
    def ends(clip_norm: float | None) -> dict[str, float]:
        *_, last = trained(clip_norm=clip_norm, budget=Budget("updates", 4))
        return last.metrics

    assert ends(1e6) == ends(None)
    assert ends(0.01) != ends(None)
    with pytest.raises(ConfigError, match="clip_norm"):
        ends(0.0)


def test_a_task_has_one_primary_metric() -> None:
    assert (primary(Sequences(0, 1, CPU)).name, primary(Sequences(0, 1, CPU)).higher_is_better) == ("error", False)
    assert {metric.name for metric in ImageClassification.metrics} == {"acc", "loss"}
    undecided = Sequences(0, 1, CPU)
    undecided.metrics = (Metric("error", "", "", False),)
    with pytest.raises(ValueError, match="Sequences has 0"):
        primary(undecided)
