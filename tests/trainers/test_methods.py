import pytest

from tests.conftest import FOUR, tiny
from trainers.ledger import Budget, UpdateLedger
from trainers.methods import METHODS
from trainers.objectives import OBJECTIVES
from trainers.schedule import learning_rate
from trainers.submodel import SubModel
from trainers.timing import expected_step


def test_objectives_train_what_the_paper_sums_over() -> None:
    half = (SubModel(width=0.5),)
    assert OBJECTIVES["stochastic-loss"](half, FOUR) == half
    assert OBJECTIVES["stochastic-summation"](half, FOUR) == (SubModel(width=0.5), SubModel(width=0.25))
    assert OBJECTIVES["sum"](FOUR.targets, FOUR) == FOUR.targets


def test_stochastic_summation_costs_two_and_a_half_passes_on_average() -> None:
    assert expected_step(tiny(objective="stochastic-summation")).all_passes == pytest.approx(2.5)


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
    ledger, budget = UpdateLedger(FOUR), Budget(unit, amount)
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
