import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from tests.conftest import FOUR, tiny
from trainers.errors import ConfigError
from trainers.ledger import Budget, UpdateLedger
from trainers.methods import METHODS
from trainers.objectives import OBJECTIVES
from trainers.randomness import stream
from trainers.samplers import sampler
from trainers.schedule import learning_rate
from trainers.submodel import SubModel
from trainers.timing import expected_passes


def draws(text: str, count: int) -> list[tuple[SubModel, ...]]:
    chosen = sampler(text)
    return [chosen.sample(stream(7, "sub-models", index), FOUR) for index in range(count)]


def test_uniform_draws_each_target_equally_often() -> None:
    counts = [sum(drawn == (target,) for drawn in draws("uniform", 8000)) for target in FOUR]
    assert sum(counts) == 8000
    assert chisquare(counts).pvalue > 1e-3


def test_all_is_every_width_in_descending_order() -> None:
    assert draws("all", 1)[0] == FOUR.targets[::-1]


def test_sandwich_holds_both_ends_and_uniform_continuous_widths() -> None:
    inner = []
    for largest, smallest, *between in draws("sandwich(4)", 2000):
        assert (largest, smallest) == (FOUR.largest, FOUR.smallest)
        assert len(between) == 2
        inner += [sub_model["width"] for sub_model in between]
    assert kstest(inner, "uniform", args=(0.25, 0.75)).pvalue > 1e-3


def test_fixed_is_one_target() -> None:
    assert draws("fixed(w050)", 1)[0] == (SubModel(width=0.5),)
    assert draws("fixed(largest)", 1)[0] == (FOUR.largest,)


@pytest.mark.parametrize("text", ["uniform", "all", "sandwich(4)", "fixed(w075)"])
def test_stated_expectation_is_what_is_drawn(text: str) -> None:
    stated = sampler(text).expectation(FOUR)
    found = draws(text, 2000)
    assert sum(share for _, share in stated) == pytest.approx(np.mean([len(drawn) for drawn in found]))
    mean_width = sum(share * sub_model["width"] for sub_model, share in stated)
    assert mean_width == pytest.approx(np.mean([sum(s["width"] for s in drawn) for drawn in found]), rel=0.02)


@pytest.mark.parametrize("text", ["unifrom", "sandwich(1)", "sandwich(x)", "uniform(3)", "fixed(w033)", "a b"])
def test_a_sampler_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        tiny(sampler=text)


def test_objectives_train_what_the_paper_sums_over() -> None:
    half = (SubModel(width=0.5),)
    assert OBJECTIVES["stochastic-loss"](half, FOUR) == half
    assert OBJECTIVES["stochastic-summation"](half, FOUR) == (SubModel(width=0.5), SubModel(width=0.25))
    assert OBJECTIVES["sum"](FOUR.targets, FOUR) == FOUR.targets


def test_stochastic_summation_costs_two_and_a_half_passes_on_average() -> None:
    assert sum(share for _, share in expected_passes(tiny(objective="stochastic-summation"))) == pytest.approx(2.5)


def test_recipes_are_the_published_ones() -> None:
    assert (METHODS["NS"].sampler, METHODS["NS"].objective) == ("all", "sum")
    assert (METHODS["SortedNet"].sampler, METHODS["SortedNet"].objective) == ("uniform", "stochastic-loss")
    assert METHODS["US"] == METHODS["LCS-p"]
    assert tiny(method="US", norm="batch") == tiny(method="LCS-p", norm="batch")


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
    ledger, budget = UpdateLedger(FOUR), Budget(unit, amount)  # type: ignore[arg-type]
    while not budget.exhausted(ledger):
        for target in FOUR:
            ledger.record_pass(target, 1, 100)
        ledger.record_update()
    assert ledger.total.updates == 3
    assert budget.spent(ledger) == amount


def test_equal_amounts_are_what_training_every_target_would_take() -> None:
    assert tiny(equalize="updates").budget == 12
    assert tiny(equalize="passes").budget == 48
    one = tiny(equalize="macs", method="NS")
    per_step = one.budget / 12
    assert per_step == int(per_step)
    cifar = tiny(dataset="cifar10", equalize="macs", batch_size=128)
    assert cifar.budget / (12 * 128 * 33_753_600) == pytest.approx(1.884, abs=1e-3)  # paper notes: NS per step


def test_the_schedule_is_linear_then_cosine_per_epoch() -> None:
    config = tiny(warmup=0.025, schedule_stages=200, learning_rate=0.1)
    at_epoch = [learning_rate(config, (epoch + 0.5) / 200) for epoch in range(200)]
    assert at_epoch[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert at_epoch[100] == pytest.approx(0.05)
    assert at_epoch[5:] == sorted(at_epoch[5:], reverse=True)
    assert at_epoch[-1] < 1e-4
