"""Each sampler states its exact distribution, and draws from it."""

import math

import numpy as np
import pytest
from scipy.stats import chisquare, kstest, norm, truncnorm

from tests.conftest import FOUR, tiny
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.randomness import stream
from trainers.sampling.names import sampler
from trainers.sampling.sampler import Moment
from trainers.submodel import SubModel
from trainers.timing import expected_step, expected_trial

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
    constant, annealed = expected_step(tiny()), tiny(sampler="annealed(largest,1)")
    largest = expected_step(tiny(sampler="fixed(largest)")).macs
    assert expected_step(annealed, 0.0).macs == pytest.approx(largest)
    assert expected_step(annealed, 1.0).macs == pytest.approx(constant.macs)
    assert expected_trial(annealed).macs == pytest.approx(12 * (largest + constant.macs) / 2)
