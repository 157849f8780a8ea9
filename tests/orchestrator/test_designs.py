from typing import Any

import pytest

from orchestrator.errors import UserError
from orchestrator.study.study import Factor, Layout, Preset, Study
from studies import cifar_objective_ablation as objectives

STUDY = Study(
    name="toy",
    title="Toy",
    presets={"only": Preset({}, 1, "")},
    factors=(
        Factor.of("method", ["NS", "US", "SortedNet"]),
        Factor.of("norm", ["instance", "batch", "layer"], usual=("instance", "batch")),
        Factor("warm", {"warm-up": {"warmup": 0.1}, "none": {"warmup": 0.0}}, without="none"),
    ),
)
BASELINE = {"method": "SortedNet", "norm": "instance", "warm": "warm-up"}


def labels(study: Study = STUDY, **layout: Any) -> list[str]:
    return [arm.label for arm in study.arms({}, Layout(**layout))]


def test_factorial_is_every_combination_of_the_usual_levels() -> None:
    assert len(labels()) == 3 * 2 * 2
    assert not any("layer" in label for label in labels())
    assert labels(only=(("norm", "layer"), ("method", "US"), ("warm", "none"))) == ["US · layer · none"]


def test_one_factor_at_a_time_changes_one_level_of_the_baseline() -> None:
    assert set(labels(design="one-factor-at-a-time", baseline=BASELINE)) == {
        "SortedNet · instance · warm-up",
        "NS · instance · warm-up",
        "US · instance · warm-up",
        "SortedNet · batch · warm-up",
        "SortedNet · instance · none",
    }


def test_leave_one_out_lacks_one_thing_of_the_baseline_each() -> None:
    study = Study(
        name="toy",
        title="Toy",
        presets={},
        factors=tuple(Factor(n, {"with": {n: 1}, "without": {n: 0}}, without="without") for n in ("a", "b", "c")),
    )
    full = dict.fromkeys("abc", "with")
    assert labels(study, design="leave-one-out", baseline=full) == [
        "with · with · with", "with · with · without", "with · without · with", "without · with · with",
    ]  # fmt: skip


def test_the_objective_study_can_leave_out_each_of_its_parts() -> None:
    full = {"objective": "sum over all", "accumulation": "×2", "distillation": "in-place"}
    assert set(labels(objectives.STUDY, design="leave-one-out", baseline=full)) == {
        "sum over all · ×2 · in-place",
        "stochastic loss · ×2 · in-place",
        "sum over all · ×1 · in-place",
        "sum over all · ×2 · none",
    }


@pytest.mark.parametrize(
    ("layout", "hint"),
    [
        ({"design": "factorail"}, "'factorial'"),
        ({"design": "one-factor-at-a-time"}, "--baseline method=LEVEL"),
        ({"design": "leave-one-out"}, "--baseline method=LEVEL"),
        ({"design": "leave-one-out", "baseline": BASELINE}, "method, norm of this study cannot be left out"),
        ({"baseline": {"method": "SN"}}, "level of method 'SN'"),
        ({"baseline": {"nrom": "batch"}}, "'norm'"),
    ],
)
def test_a_design_that_cannot_be_says_what_is_missing(layout: dict[str, object], hint: str) -> None:
    with pytest.raises(UserError) as caught:
        labels(**layout)
    assert hint in str(caught.value)


def test_what_the_baseline_lacks_already_cannot_be_left_out() -> None:
    study = Study(name="s", title="", presets={}, factors=(Factor("a", {"on": {}, "off": {}}, without="off"),))
    with pytest.raises(UserError, match="lacks a=off already"):
        labels(study, design="leave-one-out", baseline={"a": "off"})
