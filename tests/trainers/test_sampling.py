"""Each sampler states its exact distribution, and draws from it."""

import math
from bisect import bisect
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest, norm, truncnorm

from tests.conftest import FOUR, tiny
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.measuring.timing import expected_step, expected_trial
from trainers.randomness import stream
from trainers.sampling.names import SAMPLERS, sampler
from trainers.sampling.sampler import Moment
from trainers.submodel import SubModel
from trainers.trials.images import IMAGES

MACS = {0.25: 2.0, 0.5: 8.0, 0.75: 19.0, 1.0: 34.0}


def moment(index: int = 0, progress: float = 0.3, **gaps: float) -> Moment:
    return Moment(FOUR, lambda sub_model: int(MACS[sub_model["width"]]), index, progress, gaps)


def drawn(text: str, count: int, at: Moment | None = None) -> list[tuple[SubModel, ...]]:
    chosen = sampler(text)
    return [chosen.sample(stream(7, "sub-models", index), at or moment(index)) for index in range(count)]


def normal(mean: float, deviation: float) -> list[float]:
    weights = [float(norm.pdf(place, mean, deviation)) for place in (0, 1 / 3, 2 / 3, 1)]
    return [weight / sum(weights) for weight in weights]


STATED = {
    "uniform": [0.25] * 4,
    "categorical(.44,.31,.15,.10)": [0.44, 0.31, 0.15, 0.10],
    "categorical(w025:.5, w100:.5)": [0.5, 0, 0, 0.5],
    "linear": [0.1, 0.2, 0.3, 0.4],
    "macs": [2 / 63, 8 / 63, 19 / 63, 34 / 63],
    "inverse-macs": [x / (1 / 2 + 1 / 8 + 1 / 19 + 1 / 34) for x in (1 / 2, 1 / 8, 1 / 19, 1 / 34)],
    "geometric(0.5)": [8 / 15, 4 / 15, 2 / 15, 1 / 15],
    "truncated-normal(0.5,0.25)": normal(0.5, 0.25),
    "truncated-normal(1,0.3)": normal(1, 0.3),
    "log-uniform": [4 / (25 / 3), 2 / (25 / 3), (4 / 3) / (25 / 3), 1 / (25 / 3)],
    "annealed(largest,0.6)": [0.125, 0.125, 0.125, 0.625],
    "annealed(smallest,0.6)": [0.625, 0.125, 0.125, 0.125],
    "annealed(largest,0.2)": [0.25] * 4,
    "adaptive(0.1)": [0.25] * 4,
    "round-robin": [0.25] * 4,
    "fixed(w050)": [0, 1, 0, 0],
}


@pytest.mark.parametrize("text", STATED)
def test_draws_follow_the_stated_probabilities_which_are_the_defined_ones(text: str) -> None:
    stated = dict(sampler(text).expectation(moment()))
    probabilities = [stated.get(target, 0.0) for target in FOUR]
    assert probabilities == pytest.approx(STATED[text])
    draws = drawn(text, 4000)
    counts = [draws.count((target,)) for target in FOUR]
    possible = [(n, 4000 * p) for n, p in zip(counts, probabilities, strict=True) if p > 0]
    assert sum(n for n, _ in possible) == 4000
    assert len(possible) == 1 or chisquare(*zip(*possible, strict=True)).pvalue > 1e-3


def test_adaptive_prefers_what_lies_furthest_above_its_best() -> None:
    gaps = {"w025": 0.0, "w050": 0.05, "w075": 0.2, "w100": 0.0}
    soft = np.exp(np.array(list(gaps.values())) / 0.1)
    stated = [share for _, share in sampler("adaptive(0.1)").expectation(moment(**gaps))]
    assert stated == pytest.approx(list(0.025 + 0.9 * soft / soft.sum()))
    draws = drawn("adaptive(0.1)", 4000, moment(**gaps))
    assert chisquare([draws.count((t,)) for t in FOUR], [4000 * p for p in stated]).pvalue > 1e-3


def test_round_robin_takes_turns() -> None:
    assert [d[0] for d in drawn("round-robin", 8)] == [*FOUR, *FOUR]


def test_arms_share_their_random_numbers() -> None:
    """A draw under a distribution leaning to the large is never smaller than the uniform draw of the same index."""
    for small, large in zip(drawn("uniform", 200), drawn("linear", 200), strict=True):
        assert small[0] <= large[0]


def test_all_is_every_width_in_descending_order() -> None:
    assert drawn("all", 1)[0] == FOUR.targets[::-1]


CONTINUOUS = {
    "log-uniform(continuous)": lambda w: math.log(w / 0.25) / math.log(4),
    "truncated-normal(0.5,0.25,continuous)": lambda w: truncnorm.cdf((w - 0.25) / 0.75, -2, 2, 0.5, 0.25),
}


@pytest.mark.parametrize("text", CONTINUOUS)
def test_continuous_widths_follow_their_distribution(text: str) -> None:
    widths = [sub_model["width"] for (sub_model,) in drawn(text, 2000)]
    assert 0.25 <= min(widths) < max(widths) <= 1
    assert kstest([CONTINUOUS[text](width) for width in widths], "uniform").pvalue > 1e-3
    stated = sum(share * s["width"] for s, share in sampler(text).expectation(moment()))
    assert stated == pytest.approx(np.mean(widths), rel=0.02)


def test_sandwich_holds_both_ends_and_uniform_continuous_widths() -> None:
    inner = []
    for smallest, largest, *between in drawn("sandwich(4)", 2000):
        assert (largest, smallest) == (FOUR.largest, FOUR.smallest)
        assert len(between) == 2
        inner += [sub_model["width"] for sub_model in between]
    assert kstest(inner, "uniform", args=(0.25, 0.75)).pvalue > 1e-3
    assert sum(share for _, share in sampler("sandwich(4)").expectation(moment())) == pytest.approx(4)


LATTICES = {
    "one target": Lattice.product(width=(0.5,)),
    "one target of two dimensions": Lattice.product(width=(1.0,), depth=(3,)),
    "widths apart": Lattice.product(width=(0.25, 0.3, 1.0)),
    "depths": Lattice.product(depth=(1, 2, 3, 4)),
    "depths apart": Lattice.product(depth=(1, 2, 10)),
    "one width, two depths": Lattice.product(width=(1.0,), depth=(1, 4)),
    "two dimensions": Lattice.product(width=(0.25, 0.5, 1.0), depth=(1, 4, 10)),
    "three dimensions": Lattice.product(width=(0.5, 0.6, 1.0), depth=(2, 3), heads=(1, 4)),
    "no product": Lattice(
        (SubModel(width=0.25, depth=1), SubModel(width=0.25, depth=4), SubModel(width=0.7, depth=2),
         SubModel(width=1.0, depth=4))
    ),
}  # fmt: skip
SAMPLED = (
    "uniform", "linear", "macs", "inverse-macs", "geometric(0.5)", "geometric(0.9)", "truncated-normal(0.5,0.25)",
    "truncated-normal(4,0.1)", "truncated-normal(0.9,0.4,continuous)", "truncated-normal(-0.5,0.2,continuous)",
    "log-uniform", "log-uniform(continuous)", "round-robin", "annealed(largest,0.6)", "annealed(smallest,0.6)",
    "adaptive(0.1)", "categorical", "fixed(largest)", "all", "sandwich(2)", "sandwich(3)", "sandwich(5)",
)  # fmt: skip
widths = st.lists(st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.75, 1.0]), min_size=1, max_size=4, unique=True)
depths = st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True)
lattices = st.one_of(
    st.builds(lambda w: Lattice.product(width=tuple(w)), widths),
    st.builds(lambda d: Lattice.product(depth=tuple(d)), depths),
    st.builds(lambda w, d: Lattice.product(width=tuple(w), depth=tuple(d)), widths, depths),
)


def cell(lattice: Lattice, sub_model: SubModel) -> tuple[int, ...]:
    """Where it is counted: of whole numbers each alone, of shares the interval between neighbouring targets."""
    place = []
    for name, value in sub_model.dims:
        targets = sorted({target[name] for target in lattice})
        place.append(int(value) if isinstance(value, int) else min(bisect(targets, value), len(targets) - 1))
    return tuple(place)


def agreement(text: str, lattice: Lattice, count: int) -> float:
    """The p-value of a χ² test of `count` draws of a sampler against what it states."""
    chosen, rng = sampler(text), stream(11, text)
    at = Moment(lattice, lambda sub_model: round(100 * math.prod(sub_model.values)), progress=0.3)
    stated = chosen.expectation(at)
    assert len({sub_model for sub_model, _ in stated}) == len(stated)
    expected: dict[tuple[int, ...], float] = defaultdict(float)
    found: dict[tuple[int, ...], int] = defaultdict(int)
    for sub_model, times in stated:
        assert sub_model in lattice or (chosen.continuous and lattice.smallest <= sub_model <= lattice.largest)
        expected[cell(lattice, sub_model)] += times * count
    draws = [chosen.sample(rng, replace(at, index=index)) for index in range(count)]
    assert sum(expected.values()) == pytest.approx(count * len(draws[0]))
    for place in zip(*draws, strict=True):
        if len(set(place)) == 1:  # always there, which a χ² test cannot weigh
            expected[cell(lattice, place[0])] -= count
        else:
            for sub_model, times in Counter(place).items():
                found[cell(lattice, sub_model)] += times
    assert all(expected[drawn] > 1e-6 for drawn in found)
    cells = sorted(((times, found[drawn]) for drawn, times in expected.items()), reverse=True)
    assert cells[-1][0] > -1e-6
    while len(cells) > 1 and cells[-1][0] < 10:  # too rare for χ² on its own
        rare, seen = cells.pop()
        cells[-1] = (cells[-1][0] + rare, cells[-1][1] + seen)
    if len(cells) == 1:
        return 1.0
    times, drawn_times = zip(*cells, strict=True)
    return float(chisquare(drawn_times, times).pvalue)


def fitting(text: str, lattice: Lattice) -> str:
    """The sampler's text; where it takes a probability per target, in the ratio 1 : 2 : 3 …"""
    if text != "categorical":
        return text
    total = len(lattice) * (len(lattice) + 1) / 2
    return f"categorical({','.join(f'{(rank + 1) / total:.9f}' for rank in range(len(lattice)))})"


def test_every_sampler_is_held_to_what_it_states() -> None:
    assert {text.partition("(")[0] for text in SAMPLED} == SAMPLERS.keys()


@pytest.mark.parametrize("text", SAMPLED)
def test_what_a_sampler_states_is_what_it_draws_on_any_lattice(text: str) -> None:
    for name, lattice in LATTICES.items():
        count = 20_000 if name == "two dimensions" else 1_000
        assert agreement(fitting(text, lattice), lattice, count) > 1e-6, name


@settings(max_examples=6, deadline=None, derandomize=True)
@given(text=st.sampled_from(SAMPLED), lattice=lattices)
def test_what_a_sampler_states_is_what_it_draws_on_lattices_found_at_random(text: str, lattice: Lattice) -> None:
    assert agreement(fitting(text, lattice), lattice, 20_000) > 1e-6


def marginals(text: str, lattice: Lattice, name: str) -> dict[float, float]:
    """The stated probabilities of one dimension's values."""
    found: dict[float, float] = {}
    for sub_model, share in sampler(text).expectation(Moment(lattice, lambda _: 1)):
        found[sub_model[name]] = found.get(sub_model[name], 0.0) + share
    return found


def test_whole_numbers_between_targets_are_stated_with_the_probabilities_of_their_cells() -> None:
    four = Lattice.product(width=(0.5, 1.0), depth=(1, 4))
    logarithmic = [math.log((depth + 0.5) / (depth - 0.5)) / math.log(9) for depth in (1, 2, 3, 4)]
    assert marginals("log-uniform(continuous)", four, "depth") == pytest.approx(
        dict(zip((1, 2, 3, 4), logarithmic, strict=True))
    )
    assert logarithmic == pytest.approx([0.5, 0.2325, 0.1531, 0.1144], abs=5e-5)
    edges = truncnorm.cdf([0, 0.25, 0.5, 0.75, 1], -2, 2, 0.5, 0.25)
    assert marginals("truncated-normal(0.5,0.25,continuous)", four, "depth") == pytest.approx(
        dict(zip((1, 2, 3, 4), np.diff(edges), strict=True))
    )
    ten = Lattice.product(width=(0.25, 1.0), depth=(1, 4, 10))
    inner = dict.fromkeys(range(2, 10), 0.2) | {1: 1.2, 10: 1.2}  # of two draws, each of ten depths as likely
    assert marginals("sandwich(4)", ten, "depth") == pytest.approx(inner)


def test_widths_between_two_targets_have_the_exact_probability_of_the_interval() -> None:
    uneven = Lattice.product(width=(0.25, 0.3, 1.0), depth=(1, 3))
    widths = marginals("log-uniform(continuous)", uneven, "width")
    narrow = sum(share for width, share in widths.items() if width < 0.3)
    assert narrow == pytest.approx(math.log(0.3 / 0.25) / math.log(4))


def test_geometric_counts_every_dimension_on_its_own() -> None:
    """Not depth first: on each dimension it is nested dropout, whatever the other one's draw."""
    grid = Lattice.product(width=(0.25, 0.3, 1.0), depth=(1, 2, 10))
    thirds = [9 / 13, 3 / 13, 1 / 13]
    stated = dict(sampler("geometric(0.3333333333333333)").expectation(Moment(grid, lambda _: 1)))
    for (width, p), (depth, q) in product(
        zip((0.25, 0.3, 1.0), thirds, strict=True), zip((1, 2, 10), thirds, strict=True)
    ):
        assert stated[SubModel(width=width, depth=depth)] == pytest.approx(p * q)
    assert marginals("geometric(0.5)", LATTICES["no product"], "depth") == pytest.approx(
        {1: 1 / (1 + 1 / 4 + 1 / 4 + 1 / 16), 2: 0.16, 4: (1 / 4 + 1 / 16) / (1 + 1 / 4 + 1 / 4 + 1 / 16)}
    )


def test_a_normal_far_from_every_target_is_drawn_as_its_densities_relate() -> None:
    stated = dict(sampler("truncated-normal(90,1)").expectation(moment()))
    assert sum(stated.values()) == pytest.approx(1)
    ratio = stated[SubModel(width=0.75)] / stated[FOUR.largest]
    assert ratio == pytest.approx(math.exp((89**2 - (89 + 1 / 3) ** 2) / 2))


def test_the_outlook_of_sums_over_nested_targets_is_exact_for_continuous_widths() -> None:
    config = tiny(sampler="log-uniform(continuous)", objective="stochastic-summation")
    log = math.log
    assert expected_step(IMAGES, config).all_passes == pytest.approx(1 + log(1 / 0.5) / log(4) + log(1 / 0.75) / log(4))


def test_a_counted_dimension_is_drawn_in_whole_numbers_each_as_likely() -> None:
    grid = Lattice.product(width=(0.5, 1.0), depth=(1, 2, 3, 4))
    at = Moment(grid, lambda _: 1)
    depths = [s["depth"] for d in drawn("sandwich(3)", 2000, at) for s in d[2:]]
    assert chisquare([depths.count(depth) for depth in (1, 2, 3, 4)]).pvalue > 1e-3


REFUSED = {
    "unifrom": "'uniform'",
    "sandwich(1)": "2 or more",
    "sandwich(x)": "sandwich",
    "uniform(3)": "0 arguments",
    "fixed(w033)": "w033",
    "a b": "name(argument",
    "categorical(.5,.4,.05,.02)": "sum to 0.97",
    "categorical(.5,.7,-.2,0)": "negative",
    "categorical(.5,.5)": "2 probabilities for 4 targets",
    "categorical(w025:.5,w033:.5)": "'w033'",
    "categorical(w025:.5,w025:.5)": "twice",
    "geometric(1)": "between 0 and 1",
    "annealed(middle)": "'middle'",
    "annealed(largest,2)": "not at 2",
    "adaptive(0)": "above 0",
    "truncated-normal(0.5,0)": "above 0",
    "truncated-normal(90,1,continuous)": "nothing between",
    "truncated-normal(nan,1)": "finite number",
    "truncated-normal(0.5,inf,continuous)": "finite number",
    "categorical(nan,.5,.5,0)": "finite number",
    "categorical(w025:nan)": "finite number",
    "annealed(largest,nan)": "finite number",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_sampler_that_cannot_be_is_refused_before_anything_starts(text: str) -> None:
    with pytest.raises(ConfigError, match=r".*") as caught:
        tiny(sampler=text)
    assert REFUSED[text] in str(caught.value)


def test_continuous_widths_and_switchable_norms_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="batch-switchable"):
        tiny(sampler="log-uniform(continuous)", norm="batch-switchable")


def test_the_outlook_of_a_changing_distribution_follows_it() -> None:
    constant, annealed = expected_step(IMAGES, tiny()), tiny(sampler="annealed(largest,1)")
    largest = expected_step(IMAGES, tiny(sampler="fixed(largest)")).macs
    assert expected_step(IMAGES, annealed, 0.0).macs == pytest.approx(largest)
    assert expected_step(IMAGES, annealed, 1.0).macs == pytest.approx(constant.macs)
    assert expected_trial(IMAGES, annealed).macs == pytest.approx(12 * (largest + constant.macs) / 2)
