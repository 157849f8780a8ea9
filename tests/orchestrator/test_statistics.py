"""Our statistics against SciPy's and statsmodels', and the rules that a table is marked by."""

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from orchestrator.declaration import Metric
from orchestrator.errors import UserError
from orchestrator.report.comparisons import Family, chosen_test, compare
from orchestrator.report.power import power, seeds_needed
from orchestrator.report.selection import pareto, select
from orchestrator.report.statistics import LEVEL, Paired, holm, paired, sign_flip_p, sortedness


def differences(n: int, seed: int = 0) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).normal(0.8, 1.0, n)]


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_interval_p_and_effect_are_those_of_scipy_and_statsmodels(n: int) -> None:
    values = differences(n)
    found = paired(values)
    reference = stats.ttest_rel(np.array(values) + 70, np.full(n, 70.0))
    assert found.p == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.low, found.high) == pytest.approx(DescrStatsW(values).tconfint_mean(0.05))
    assert found.effect == pytest.approx(np.mean(values) / np.std(values, ddof=1))
    assert found.effect == pytest.approx(reference.statistic / np.sqrt(n))


@pytest.mark.parametrize("n", [2, 3, 5, 8, 13])
def test_the_sign_flip_test_is_exact(n: int) -> None:
    values = differences(n, seed=n)
    reference = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(values) == pytest.approx(reference.pvalue)
    assert sign_flip_p([-value for value in values]) == sign_flip_p(values)
    assert sign_flip_p([1.0] * n) == 2 / 2**n
    assert sign_flip_p([0.0] * n) == sign_flip_p([1.0, -1.0] * n) == 1.0


def test_a_test_has_the_p_that_was_asked_for_and_with_one_seed_none() -> None:
    values = differences(6)
    assert paired(values, "exact sign-flip test").p == sign_flip_p(values)
    assert paired(values).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert paired([2.5]) == Paired(1, 2.5)
    with pytest.raises(ValueError, match="no seed"):
        paired([])


def test_equal_differences_are_no_certainty() -> None:
    """Accuracies of 360 images: 10.2777… − 10 and 9.7222… − 9.4444… differ by rounding alone."""
    found = paired([10.277777777777779 - 10.0, 9.722222222222221 - 9.444444444444445])
    assert found.mean == pytest.approx(0.2777, abs=1e-3)
    assert (found.p, found.effect, found.low) == (None, None, None)
    assert paired([0.0, 0.0]).p is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels_holm(p_values: list[float]) -> None:
    adjusted = holm(dict(enumerate(p_values)))
    reference = multipletests(p_values, method="holm")[1]
    assert [adjusted[index] for index in range(len(p_values))] == pytest.approx(list(reference))


def test_a_comparison_without_a_p_counts_in_its_family() -> None:
    assert holm({"equal": None, "other": 0.03}) == {"equal": 1.0, "other": 0.06}
    assert holm({"nan": math.nan, "other": 0.03, "third": 0.01}) == pytest.approx(
        {"nan": 1, "other": 0.06, "third": 0.03}
    )
    assert holm({"alone": None}) == {"alone": 1.0}
    assert holm({}) == {}


@pytest.mark.parametrize("values", [(math.nan, 1.0), (math.inf, 1.0), (math.inf, -math.inf), (math.nan,)])
def test_nothing_is_known_of_a_difference_that_is_no_number(values: tuple[float, ...]) -> None:
    for test in ("paired t-test", "exact sign-flip test"):
        found = paired(values, test)  # type: ignore[arg-type]
        assert math.isnan(found.mean)
        assert (found.p, found.sd, found.low, found.effect) == (None, None, None, None)


Row = dict[str, dict[int, float]]


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def row(**arms: Sequence[float]) -> Row:
    return {arm: by_seed(*values) for arm, values in arms.items()}


BEST, NEAR, FAR = (80.0, 82.0, 84.0), (79.0, 82.5, 83.0), (70.0, 72.1, 73.9)  # FAR is 10 below at every seed


def test_bold_is_the_highest_and_what_is_not_separated_from_it() -> None:
    found = compare({"w": row(near=NEAR, best=BEST, far=FAR)})
    assert found.highest == {"w": "best"}
    assert found.best["w"] == {"best", "near"}
    alone = compare({"w": row(best=BEST[:1], near=NEAR[:1], far=FAR[:1])})
    assert alone.best["w"] == {"best"}  # one seed: nothing is separated, and the highest is said
    assert compare({"w": row(a=[50.001], b=[50.0])}).best["w"] == {"a", "b"}
    assert compare({"w": row(a=[5, 6], b=[4, 5])}).best["w"] == {"a", "b"}  # no spread: not separated
    assert not compare({"w": row(only=BEST)}).best["w"]  # it has no other to be better than


def test_pairing_by_seed_separates_what_unpaired_means_would_not() -> None:
    one, other = (60.0, 70.0, 80.0, 90.0), (59.0, 69.1, 78.9, 89.0)
    assert compare({"w": row(one=one, other=other)}).best["w"] == {"one"}
    assert stats.ttest_ind(one, other).pvalue > 0.9


def test_the_family_is_every_pair_on_every_row_and_a_pair_that_cannot_be_tested_counts() -> None:
    rows = {"a": row(x=BEST, y=NEAR, z=FAR), "b": row(x=FAR, y=FAR, z=BEST), "c": row(x=[1, 2, 3], y=[2, 3, 4], z=NEAR)}
    found = compare(rows)
    assert len(found) == 3 * 3
    raw = [1.0 if pair.p is None or key in found.alike else pair.p for key, pair in found.pairs.items()]
    assert raw.count(1.0) == 2  # FAR twice, and x and y of c a point apart at every seed
    reference = multipletests(raw, method="holm")[1]
    assert [found.adjusted[key] for key in found.pairs] == pytest.approx(list(reference))
    against = found.between("a", "z", "x")
    assert against.statistics.mean == pytest.approx(-10)
    assert against.adjusted_p == found.between("a", "x", "z").adjusted_p
    assert against.statistics == paired([70.0 - 80, 72.1 - 82, 73.9 - 84], found.test)


def test_equal_differences_beside_others_do_not_make_them_look_better() -> None:
    for equal in ([1.0, 1.0], [1.0, 1.1]):
        found = compare({"a": row(x=[10, 10], y=[10 - value for value in equal]), "b": row(x=[5.1, 5.2], y=[0, 0])})
        assert found.between("b", "x", "y").adjusted_p == pytest.approx(2 * stats.ttest_1samp([5.1, 5.2], 0).pvalue)


def test_an_arm_that_is_no_number_is_never_best_and_still_counts() -> None:
    found = compare({"w": row(a=[math.nan, 90, 90], b=BEST, c=FAR)})
    assert found.best["w"] == {"b"}
    assert found.adjusted["w", "b", "c"] == pytest.approx(3 * paired([10.0, 9.9, 10.1]).p)
    assert found.between("w", "a", "b").adjusted_p == 1.0
    nothing = compare({"w": row(a=[math.nan] * 3, b=[math.inf] * 3)})
    assert (nothing.highest, nothing.best["w"]) == ({}, set())


def test_arms_of_unequal_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"b on w has the seeds \[0, 1\], another arm \[0, 1, 2\]"):
        compare({"w": row(a=BEST, b=NEAR[:2])})


def test_means_that_print_alike_are_equal_whatever_the_test_says() -> None:
    """Both bold beside a p of .0001 would contradict each other."""
    found = compare({"w": row(a=[50.003, 60.0031, 70.0029], b=[50.0, 60.0, 70.0], c=[1, 2, 3.1])})
    assert paired([0.003, 0.0031, 0.0029]).p < 0.001
    assert found.adjusted["w", "a", "b"] == 1.0
    assert found.best["w"] == {"a", "b"}
    assert found.between("w", "a", "b").seeds is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(1, 4), st.sampled_from([2, 3, 5, 14]))
def test_bold_and_p_never_contradict(seed: int, arms: int, rows: int, seeds: int) -> None:
    draws = np.random.default_rng(seed)
    accuracies = 50 + draws.normal(0, 1, (rows, arms, 1)) * 2 + draws.normal(0, 0.5, (rows, arms, seeds))
    found = compare(table(accuracies))
    for name, best in found.best.items():
        top = found.highest[name]
        for arm in map(str, range(arms)):
            if arm != top:
                assert (arm in best) == (not found.between(name, arm, top).separated)


def table(accuracies: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> dict[str, Row]:
    """Of an array of rows × arms × seeds."""
    return {
        str(number): {str(arm): by_seed(*values) for arm, values in enumerate(arms)}
        for number, arms in enumerate(accuracies.tolist())
    }


TABLES = 2000


def simulated(seeds: int, arms: int, rows: int, effect: float) -> list[Family]:
    """Tables whose first arm is better by `effect` SDs of a difference; seeds have a level of their own."""
    draws = np.random.default_rng(seeds)
    shared = draws.normal(50, 5, (TABLES, 1, 1, seeds))
    accuracies = shared + draws.normal(0, np.sqrt(0.5), (TABLES, rows, arms, seeds))
    accuracies[:, :, 0] += effect
    return [compare(table(each)) for each in accuracies]


@pytest.mark.parametrize(("arms", "rows"), [(3, 2), (2, 1)])
@pytest.mark.parametrize("seeds", [3, 5, 10, 13])
def test_under_the_null_at_most_one_table_in_twenty_says_anything(seeds: int, arms: int, rows: int) -> None:
    """Binomial: of 2,000 tables at 5 %, more than 132 have a chance below .001."""
    found = simulated(seeds, arms, rows, effect=0)
    false = sum(any(p < LEVEL for p in family.adjusted.values()) for family in found)
    bold = sum(any(len(best) < arms for best in family.best.values()) for family in found)
    assert bold <= false <= stats.binom.isf(0.001, TABLES, 0.05)


def test_more_seeds_never_separate_less() -> None:
    """One pair, from the t-test to the sign-flip test at 10 seeds: two SEs of a share of 2,000 are .022."""
    shares = []
    for seeds in (3, 5, 7, 8, 9, 10, 11, 13):
        found = simulated(seeds, 2, 1, effect=1.0)
        shares.append(sum(family.adjusted["0", "0", "1"] < LEVEL for family in found) / TABLES)
    assert {chosen_test(seeds, 1) for seeds in (3, 9)} == {"paired t-test"}
    assert {chosen_test(seeds, 1) for seeds in (10, 20)} == {"exact sign-flip test"}
    assert all(after > before - 0.022 for before, after in pairwise(shares))
    assert shares[-1] > 0.85


def test_five_points_apart_are_separated_by_any_number_of_seeds_above_three() -> None:
    """Five points with an SD of .7, two arms on five rows: the sign-flip test said nothing from 5 to 9 seeds."""
    for seeds in (5, 6, 7, 8, 9, 10, 12, 20, 21):
        draws = np.random.default_rng(seeds).normal(5, 0.7, (40, 5, seeds))
        separated = [
            p < LEVEL
            for each in draws
            for p in compare(table(50 + np.stack([each, 0 * each], axis=1))).adjusted.values()
        ]
        assert sum(separated) / len(separated) > 0.95


@pytest.mark.parametrize("comparisons", [1, 5, 15, 75, 100])
def test_the_sign_flip_test_is_taken_where_its_smallest_p_leaves_room(comparisons: int) -> None:
    seeds = [n for n in range(1, 40) if chosen_test(n, comparisons) == "exact sign-flip test"]
    assert seeds == list(range(seeds[0], 21))  # no way back and forth, and the t-test beyond
    assert comparisons * sign_flip_p([1.0] * seeds[0]) <= LEVEL / 20
    assert comparisons * sign_flip_p([1.0] * (seeds[0] - 1)) > LEVEL / 20


def test_power_is_that_of_statsmodels() -> None:
    compared = 0
    for level in (0.05, 0.01, 0.05 / 15, 0.05 / 75, 0.05 / 1014):
        for effect in (0.01, 0.1, 0.3, 0.7, 1.0, 2.0, 8.0):
            for seeds in (2, 3, 5, 10, 30, 100, 1000):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)  # where the reference is NaN
                    reference = TTestPower().power(effect, seeds, level)
                found = power(effect, seeds, level)
                assert 0 <= found <= 1
                assert found == pytest.approx(power(-effect, seeds, level), abs=1e-12)
                if math.isfinite(reference):
                    assert found == pytest.approx(reference, abs=1e-5)
                    compared += 1
    assert compared > 200


@pytest.mark.parametrize(("effect", "level"), [(0.5, 0.05), (1.2, 0.05 / 15), (2.0, 0.05 / 75)])
def test_the_seeds_needed_are_the_fewest_that_reach_the_power(effect: float, level: float) -> None:
    """Simulated, four SEs of a share of 20,000 being .012; and statsmodels', whose solver goes astray in the third
    case: it says 9, for which its own power is NaN and the simulated one .69."""
    needed = int(seeds_needed(effect, level))
    assert seeds_needed(-effect, level) == needed
    if level > 0.001:
        assert needed == math.ceil(TTestPower().solve_power(effect, power=0.8, alpha=level))
    for seeds in (needed - 1, needed):
        draws = np.random.default_rng(1).normal(effect, 1, (20_000, seeds))
        share = float(np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < level))
        assert share == pytest.approx(power(effect, seeds, level), abs=0.012)
        assert (power(effect, seeds, level) >= 0.8) == (seeds == needed)


def test_beyond_a_thousand_seeds_no_number_is_given() -> None:
    assert seeds_needed(0.0, 0.05) == math.inf
    assert seeds_needed(0.08, 0.05) == math.inf
    assert 900 < seeds_needed(0.09, 0.05) <= 1000
    assert seeds_needed(1e6, 0.05) == 2


def test_seeds_are_said_for_pairs_that_are_not_separated_and_have_a_spread() -> None:
    found = compare({"w": row(a=BEST, b=NEAR, c=FAR, d=[value - 1 for value in BEST])})
    near = found.between("w", "b", "a")
    assert near.statistics.effect is not None
    assert near.seeds == seeds_needed(near.statistics.effect, LEVEL / 6) > 3
    assert near.text.endswith(f", ≈ {near.seeds} seeds")
    assert found.between("w", "c", "a").seeds is None  # separated
    assert found.between("w", "d", "a").seeds is None  # equal differences
    assert "seeds" not in found.between("w", "d", "a").text
    flat = compare({"w": row(a=[50.0, 51.0, 52.0], b=[49.0, 52.0, 51.97])}).between("w", "a", "b")
    assert flat.text.endswith("> 1,000 seeds")


def test_seeds_that_did_not_suffice_are_not_said_to() -> None:
    """The t-test would find these differences at 16 seeds with 80 % power; the sign-flip test does not."""
    values = [1.0] * 11 + [-0.05] * 5
    found = compare({str(number): row(a=values, b=[0.0] * 16) for number in range(75)}).between("0", "a", "b")
    assert found.statistics.effect is not None
    assert not found.separated
    assert seeds_needed(found.statistics.effect, LEVEL / 75) <= 16
    assert found.seeds == 17


def test_sortedness_counts_nested_pairs_only() -> None:
    chain = [((0.25,), 50.0), ((0.5,), 60.0), ((1.0,), 58.0)]
    found = sortedness(chain)
    assert found is not None
    assert (found.share, found.shortfall) == pytest.approx((2 / 3, 2.0))
    grid = [((0.5, 2.0), 50.0), ((1.0, 1.0), 40.0)]  # neither is nested in the other
    assert sortedness(grid) is None
    assert sortedness([((0.5,), 1.0), ((1.0,), 1.0)]) is not None


ACCURACY = Metric("test_acc", "test accuracy", "%", primary=True, short="accuracy")
SUB_MODELS = pd.DataFrame(
    {
        "sub_model": ["w025", "w050", "w075", "w100"],
        "macs": [2.0, 8.0, 19.0, 34.0],
        "parameters": [1.0, 4.0, 9.0, 16.0],
        "test_acc": [60.0, 75.0, 70.0, 80.0],
    }
)


def test_selection_takes_the_largest_that_fits_without_looking_at_accuracy() -> None:
    assert select(SUB_MODELS, ACCURACY, max_macs=20)["sub_model"] == "w075"  # though w050 measured better
    assert select(SUB_MODELS, ACCURACY, max_parameters=4)["sub_model"] == "w050"
    assert select(SUB_MODELS, ACCURACY)["sub_model"] == "w100"
    assert select(SUB_MODELS, ACCURACY, reached=70)["sub_model"] == "w050"
    with pytest.raises(UserError, match="highest accuracy is 80"):
        select(SUB_MODELS, ACCURACY, reached=99)
    with pytest.raises(UserError, match="the smallest has 2 MACs"):
        select(SUB_MODELS, ACCURACY, max_macs=1)


def test_the_pareto_set_holds_what_nothing_cheaper_reaches() -> None:
    assert list(pareto(SUB_MODELS, ACCURACY)["sub_model"]) == ["w025", "w050", "w100"]
