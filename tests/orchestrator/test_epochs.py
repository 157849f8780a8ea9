"""Updates in epochs, as the SortedNet paper writes them."""

import math

import pytest

from orchestrator.report.epochs import TrialUpdates, update_notation

STEPS = {"qqp": 300.0, "rte": 60.0}  # of three epochs


def trial(task: str, per_epoch: float, **updates: float) -> TrialUpdates:
    return TrialUpdates(task, per_epoch, updates)


def test_updates_that_every_trial_has_are_given_as_they_are() -> None:
    every = [trial(task, steps / 3, d12=steps, d24=steps / 2) for task, steps in STEPS.items()]
    assert update_notation(every) == "3 d12 + 1.5 d24"
    assert update_notation([trial("rte", 20, d12=0, d24=60)]) == "3 d24"
    assert update_notation([trial("rte", 20, d12=0, d24=0)]) == ""


def test_drawn_sub_models_are_about_as_many() -> None:
    drawn = [trial("qqp", 100, d12=148, d24=152), trial("qqp", 100, d12=156, d24=144), trial("rte", 20, d12=31, d24=29)]
    assert update_notation(drawn) == "~1.5 d12 + 1.5 d24"  # 1.52 and 1.55, 1.48 and 1.45
    assert update_notation([trial("rte", 1000, d12=1, d24=2999)]) == "~0 d12 + 3 d24"


def test_a_rest_of_an_epoch_that_no_whole_step_fills_is_no_difference_and_a_step_is() -> None:
    """2,490 examples in batches of 32 are 77.8125 steps; three epochs end after 233 or 234 of them."""
    assert update_notation([trial("rte", 77.8125, d24=233)]) == "3 d24"
    assert update_notation([trial("rte", 77.8125, d24=234)]) == "3 d24"
    assert update_notation([trial("rte", 78, d24=233)]) == "~3 d24"


def test_tasks_that_differ_in_the_tenth_are_averaged_as_tasks_and_not_as_trials() -> None:
    uneven = [trial("qqp", 5, d24=20), trial("qqp", 5, d24=20), trial("rte", 5, d24=10)]
    assert update_notation(uneven) == "~3 d24"  # 4 and 2 epochs
    assert update_notation([trial("qqp", 5, d24=7), trial("rte", 5, d24=8)]) == "~1.5 d24"  # each half a step off it


def test_of_more_than_four_sub_models_the_sum_is_given() -> None:
    updated = {f"w{number}": 15.0 for number in range(5)}
    assert update_notation([TrialUpdates("rte", 20, {**updated, "w5": 0.0})]) == "~3.8 over 5 sub-models"  # 3.75
    assert update_notation([TrialUpdates("rte", 25, updated)]) == "3 over 5 sub-models"
    assert update_notation([TrialUpdates("rte", 20, dict(list(updated.items())[:4]))]).count("+") == 3


@pytest.mark.parametrize("unknown", [trial("qqp", 0.0, d24=60), trial("qqp", 20, d24=math.nan)])
def test_nothing_is_said_where_a_trial_does_not_know(unknown: TrialUpdates) -> None:
    assert update_notation([]) == ""
    assert update_notation([trial("rte", 20, d24=60), unknown]) == ""
