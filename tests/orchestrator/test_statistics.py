"""Our statistics against SciPy's and statsmodels', and the rules that a table is marked by."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from orchestrator.errors import UserError
from orchestrator.report.selection import pareto, select
from orchestrator.report.statistics import Paired, holm, inseparable_from_best, paired, sign_flip_p, sortedness


def differences(n: int, seed: int = 0) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).normal(0.8, 1.0, n)]


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_interval_p_and_effect_are_those_of_scipy_and_statsmodels(n: int) -> None:
    values = differences(n)
    found = paired(values)
    reference = stats.ttest_rel(np.array(values) + 70, np.full(n, 70.0))
    assert found.t_p == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.low, found.high) == pytest.approx(DescrStatsW(values).tconfint_mean(0.05))
    assert found.effect == pytest.approx(np.mean(values) / np.std(values, ddof=1))
    assert found.effect == pytest.approx(reference.statistic / np.sqrt(n))


@pytest.mark.parametrize("n", [5, 8, 12])
def test_the_sign_flip_test_is_exact(n: int) -> None:
    values = differences(n, seed=n)
    reference = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(values) == pytest.approx(reference.pvalue)
    assert paired(values).p == pytest.approx(reference.pvalue)


def test_below_five_seeds_the_t_test_is_reported_and_with_one_nothing() -> None:
    four = paired(differences(4))
    assert (four.flip_p, four.p) == (None, four.t_p)
    assert sign_flip_p([1.0] * 5) == 2 / 32
    assert paired([2.5]) == Paired(1, 2.5)
    with pytest.raises(ValueError, match="no seed"):
        paired([])


def test_equal_differences_are_no_certainty() -> None:
    """Accuracies of 360 images: 10.2777… − 10 and 9.7222… − 9.4444… differ by rounding alone."""
    found = paired([10.277777777777779 - 10.0, 9.722222222222221 - 9.444444444444445])
    assert found.mean == pytest.approx(0.2777, abs=1e-3)
    assert (found.t_p, found.effect, found.low) == (None, None, None)
    assert paired([0.0, 0.0]).p is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels_holm(p_values: list[float]) -> None:
    adjusted = holm(dict(enumerate(p_values)))
    reference = multipletests(p_values, method="holm")[1]
    assert [adjusted[index] for index in range(len(p_values))] == pytest.approx(list(reference))


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def test_bold_is_the_best_and_what_is_not_separated_from_it() -> None:
    arms = {
        "best": by_seed(80.0, 82.0, 84.0),
        "near": by_seed(79.0, 82.5, 83.0),
        "far": by_seed(70.0, 72.1, 73.9),  # 10 below at every seed: its own spread does not matter
    }
    assert inseparable_from_best(arms) == {"best", "near"}
    alone = {arm: by_seed(values[0]) for arm, values in arms.items()}
    assert inseparable_from_best(alone) == {"best"}
    assert inseparable_from_best({"a": by_seed(50.001), "b": by_seed(50.0)}) == {"a", "b"}  # printed alike
    assert inseparable_from_best({"a": by_seed(5, 6), "b": by_seed(4, 5)}) == {"a", "b"}  # no spread: not separated


def test_pairing_by_seed_separates_what_unpaired_means_would_not() -> None:
    one = by_seed(60.0, 70.0, 80.0, 90.0)
    other = by_seed(59.0, 69.1, 78.9, 89.0)
    assert inseparable_from_best({"one": one, "other": other}) == {"one"}
    assert stats.ttest_ind(list(one.values()), list(other.values())).pvalue > 0.9


def test_sortedness_counts_nested_pairs_only() -> None:
    chain = [((0.25,), 50.0), ((0.5,), 60.0), ((1.0,), 58.0)]
    found = sortedness(chain)
    assert found is not None
    assert (found.share, found.shortfall) == pytest.approx((2 / 3, 2.0))
    grid = [((0.5, 2.0), 50.0), ((1.0, 1.0), 40.0)]  # neither is nested in the other
    assert sortedness(grid) is None
    assert sortedness([((0.5,), 1.0), ((1.0,), 1.0)]) is not None


SUB_MODELS = pd.DataFrame(
    {
        "sub_model": ["w025", "w050", "w075", "w100"],
        "macs": [2.0, 8.0, 19.0, 34.0],
        "parameters": [1.0, 4.0, 9.0, 16.0],
        "test_acc": [60.0, 75.0, 70.0, 80.0],
    }
)


def test_selection_takes_the_largest_that_fits_without_looking_at_accuracy() -> None:
    assert select(SUB_MODELS, max_macs=20)["sub_model"] == "w075"  # though w050 measured better
    assert select(SUB_MODELS, max_parameters=4)["sub_model"] == "w050"
    assert select(SUB_MODELS)["sub_model"] == "w100"
    assert select(SUB_MODELS, min_accuracy=70)["sub_model"] == "w050"
    with pytest.raises(UserError, match="highest accuracy is 80"):
        select(SUB_MODELS, min_accuracy=99)
    with pytest.raises(UserError, match="the smallest has 2 MACs"):
        select(SUB_MODELS, max_macs=1)


def test_the_pareto_set_holds_what_nothing_cheaper_reaches() -> None:
    assert list(pareto(SUB_MODELS)["sub_model"]) == ["w025", "w050", "w100"]
