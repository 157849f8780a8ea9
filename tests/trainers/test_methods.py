import math
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import FOUR, tiny
from trainers.config.image_trial import ImageTrialConfig
from trainers.config.optimizer import SgdConfig
from trainers.config.schedule import ScheduleConfig
from trainers.measuring.timing import expected_step
from trainers.objectives import OBJECTIVES
from trainers.randomness import stream
from trainers.sampling.names import sampler
from trainers.sampling.sampler import Moment
from trainers.submodel import SubModel
from trainers.training.ledger import Budget, UpdateLedger
from trainers.training.schedule import learning_rate
from trainers.trials.images import IMAGES


def test_objectives_train_what_the_paper_sums_over() -> None:
    half = (SubModel(width=0.5),)
    assert OBJECTIVES["stochastic-loss"](half, FOUR) == half
    assert OBJECTIVES["stochastic-summation"](half, FOUR) == (SubModel(width=0.5), SubModel(width=0.25))
    assert OBJECTIVES["sum"](FOUR.targets, FOUR) == FOUR.targets


def test_stochastic_summation_costs_two_and_a_half_passes_on_average() -> None:
    assert expected_step(IMAGES, tiny(objective="stochastic-summation")).all_passes == pytest.approx(2.5)


def test_lcs_p_under_batch_norm_is_us() -> None:
    assert tiny(method="US", norm="batch") == tiny(method="LCS-p", norm="batch")


@pytest.mark.parametrize(
    ("method", "shares"),
    [("SortedNet", (1 / 4, 1 / 4, 1 / 4, 1 / 4)), ("NestedDropout", (8 / 15, 4 / 15, 2 / 15, 1 / 15))],
)
def test_sorted_net_draws_every_target_as_often_and_nested_dropout_each_half_as_often_as_the_one_before(
    method: str, shares: tuple[float, ...]
) -> None:
    draw, moment, draws = sampler(tiny(method=method).method.sampler), Moment(FOUR, lambda _: 1), 6000
    drawn = Counter(draw.sample(stream(0, "sub-models", index), moment) for index in range(draws))
    for target, share in zip(FOUR, shares, strict=True):
        assert abs(drawn[(target,)] - draws * share) < 4 * math.sqrt(draws * share * (1 - share))  # standard errors
    assert drawn.total() == draws


def test_the_ledger_counts_a_summed_step_once_and_its_passes_each() -> None:
    ledger = UpdateLedger(FOUR)
    for target in FOUR:
        ledger.record_pass(target, samples=10, macs=100)
    ledger.record_pass(SubModel(width=0.6), samples=10, macs=100)
    ledger.record_update()
    assert (ledger.total.updates, ledger.total.passes, ledger.total.samples, ledger.total.macs) == (1, 5, 50, 500)
    assert {label: tally.updates for label, tally in ledger.per_sub_model.items()} == {
        "w025": 1, "w050": 1, "w075": 1, "w100": 1, "w050-w075": 1,
    }  # fmt: skip
    with pytest.raises(RuntimeError, match="without a pass"):
        ledger.record_update()
    assert UpdateLedger.from_dict(FOUR, ledger.as_dict()).as_dict() == ledger.as_dict()


@pytest.mark.parametrize(("unit", "amount"), [("updates", 3), ("passes", 12), ("macs", 1200)])
def test_a_budget_ends_at_its_amount_in_each_unit(unit: str, amount: int) -> None:
    ledger, budget = UpdateLedger(FOUR), Budget(unit, amount)
    while not budget.exhausted(ledger):
        for target in FOUR:
            ledger.record_pass(target, 1, 100)
        ledger.record_update()
    assert ledger.total.updates == 3
    assert budget.spent(ledger) == amount


def test_equal_amounts_are_what_training_every_target_would_take() -> None:
    assert tiny(equalize="updates").budget.amount == 12
    assert tiny(equalize="passes").budget.amount == 48
    one = tiny(equalize="macs", method="NS")
    per_step = one.budget.amount / 12
    assert per_step == int(per_step)
    cifar = tiny(dataset="cifar10", equalize="macs", batch_size=128)
    assert cifar.budget.amount / (12 * 128 * 33_753_600) == pytest.approx(1.884, abs=1e-3)  # paper notes: NS per step


CONFIG = tiny()


def scheduled(full: float = 1.0, **schedule: Any) -> ImageTrialConfig:
    """A trial with this schedule."""
    update = {"schedule": ScheduleConfig(**schedule), "optimizer": SgdConfig(learning_rate=full)}
    return CONFIG.model_copy(update=update)


def by_stage(warmup: float, stages: int) -> list[float]:
    """The learning rate in each stage, of a full rate of 1."""
    config = scheduled(warmup=warmup, stages=stages)
    return [learning_rate(config, (stage + 0.5) / stages) for stage in range(stages)]


def test_the_schedule_is_that_of_lcs_in_every_epoch() -> None:
    """Five epochs up, and a cosine that starts at the full rate and ends after the other 195."""
    config = tiny(warmup=0.025, schedule_stages=200, learning_rate=0.1)
    published = [0.1 * (epoch + 1) / 5 for epoch in range(5)]
    published += [0.5 * (1 + math.cos(math.pi * epoch / 195)) * 0.1 for epoch in range(195)]
    for within in (0.5, 0.5 / 391, 390.5 / 391):  # its middle, first and last step
        assert [learning_rate(config, (epoch + within) / 200) for epoch in range(200)] == pytest.approx(published)
    assert published[5] == 0.1
    assert (published[72], published[100]) == pytest.approx((0.0736, 0.0520), abs=5e-5)  # as printed in paper notes


@given(warmup=st.floats(0, 1), stages=st.integers(1, 300))
def test_the_rate_rises_to_the_full_one_and_falls_from_it_whatever_the_warm_up(warmup: float, stages: int) -> None:
    rates = by_stage(warmup, stages)
    full = min(int(warmup * stages), stages - 1)  # the stage in which warm-up ends
    assert rates[full] == pytest.approx(1.0)
    assert rates[: full + 1] == sorted(rates[: full + 1])
    assert rates[full:] == sorted(rates[full:], reverse=True)
    assert min(rates) > 0
    steps = [abs(later - earlier) for earlier, later in pairwise(rates)]
    steepest = max(1 / warmup if full else 0, math.pi / 2 / (1 - warmup) if full + 1 < stages else 0)
    assert max(steps, default=0) <= steepest / stages + 1e-9


@given(warmup=st.floats(0, 1), stages=st.sampled_from([0, 1, 7, 200]), full=st.floats(0, 10))
def test_the_rate_is_finite_from_the_first_step_to_one_that_overshoots_the_budget(
    warmup: float, stages: int, full: float
) -> None:
    config = scheduled(full, warmup=warmup, stages=stages)
    for progress in (0.0, 1e-12, warmup, 0.5, 1.0, 1.5):
        assert 0 <= learning_rate(config, progress) <= full
    if stages:
        assert learning_rate(config, 1.0) == learning_rate(config, 1 - 0.5 / stages)  # the last stage's


@pytest.mark.parametrize(
    ("warmup", "stages", "rates"),
    [
        (0.0, 4, [1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5]),  # no warm-up: the full rate at once
        (0.1, 4, [1.0, 0.933013, 0.586824, 0.178606]),  # ends within the first stage
        (0.375, 4, [2 / 3, 1.0, 0.904508, 0.345492]),  # ends within the second
        (0.5, 4, [0.5, 1.0, 1.0, 0.5]),
        (1.0, 4, [0.25, 0.5, 0.75, 1.0]),  # nothing but warm-up
        (0.5, 1, [1.0]),
    ],
)
def test_a_stage_has_the_highest_rate_of_its_share_of_the_curve(warmup: float, stages: int, rates: list[float]) -> None:
    assert by_stage(warmup, stages) == pytest.approx(rates, abs=1e-6)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
def test_without_stages_the_rate_changes_at_every_step_along_the_same_curve(warmup: float) -> None:
    config = scheduled(warmup=warmup, stages=0)
    assert learning_rate(config, warmup) == 1.0
    assert learning_rate(config, warmup / 2) == pytest.approx(0.5 if warmup else 1.0)
    assert learning_rate(config, (1 + warmup) / 2) == pytest.approx(0.5 if warmup < 1 else 1.0)
    fine = by_stage(warmup, 20_000)
    assert [learning_rate(config, (k + 0.5) / 20_000) for k in range(20_000)] == pytest.approx(fine, abs=1e-3)


@pytest.mark.parametrize(("shape", "rates"), [("linear", [1.0, 0.75, 0.25]), ("constant", [1.0, 1.0, 1.0])])
def test_a_line_falls_to_zero_after_warm_up_and_a_constant_rate_stays(shape: str, rates: list[float]) -> None:
    config = scheduled(shape=shape, warmup=0.2, stages=0)
    assert learning_rate(config, 0.1) == pytest.approx(0.5)
    assert [learning_rate(config, progress) for progress in (0.2, 0.4, 0.8)] == pytest.approx(rates)
    assert learning_rate(config, 1.5) == (0.0 if shape == "linear" else 1.0)
