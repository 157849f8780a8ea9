import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UserError
from orchestrator.study.identity import canonical, fingerprint
from orchestrator.study.plan import Plan, elapsed, make_plan
from orchestrator.study.study import Layout
from studies.cifar_norm_ablation import STUDY
from studies.image_trainer import ImageTrainer

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values))
def test_canonical_form_survives_json_and_forgets_order(content: dict[str, object]) -> None:
    there_and_back = json.loads(json.dumps(dict(reversed(content.items()))))
    assert canonical(there_and_back) == canonical(content)


def same(a: object, b: object) -> bool:
    """Whether two JSON values say the same: numbers by value, true and false apart from 1 and 0, keys in any order."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(one, other) for one, other in zip(a, b, strict=True))
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def changed(value: object, how: st.DataObject) -> object:
    """The value with one thing in it exchanged for another, at any depth."""
    inner = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not inner or how.draw(st.booleans()):
        return how.draw(json_values)
    place = how.draw(st.sampled_from(inner))
    copied = dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value
    copied[place] = changed(copied[place], how)  # type: ignore[index]
    return copied


@given(json_values, st.data())
def test_two_contents_have_one_fingerprint_only_if_they_say_the_same(a: object, how: st.DataObject) -> None:
    b = changed(a, how)
    assert (fingerprint(x=a) == fingerprint(x=b)) == same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, True), (0, False), (0, None), (1, "1"), (None, "null"), ([], {}), ([], None), ("", None), ([1], 1),
        ([1, [2]], [[1], 2]), ([1, 2], [2, 1]), ({"a": 1, "b": 2}, {"a": 2, "b": 1}), ({"a": None}, {}),
        (0.1, 0.1 + 2**-56), (2**53, 2**53 + 1), ("ä", "a\u0308"), ('a","b', "a"), (["a,b"], ["a", "b"]),
    ],
)  # fmt: skip
def test_what_is_easily_mistaken_for_another_has_a_fingerprint_of_its_own(a: object, b: object) -> None:
    assert fingerprint(x=a) != fingerprint(x=b)
    assert fingerprint(x=a) != fingerprint(y=a)


def test_a_fingerprint_is_the_whole_sha_256_of_sorted_json() -> None:
    text = '{"config":{"lr":0.1,"widths":[0.25,1]},"seed":3,"trainer":"größer"}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert fingerprint(trainer="größer", seed=3.0, config={"widths": (0.25, 1.0), "lr": 0.1}) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {"a": {3}}, object(), b"x"])
def test_what_has_no_canonical_form_is_refused_with_its_path(value: object) -> None:
    with pytest.raises(TypeError, match=r"\$"):
        fingerprint(x=value)


def plan(*, seeds: tuple[int, ...] = (0,), only: tuple[tuple[str, str], ...] = (), **overrides: object) -> Plan:
    return make_plan(STUDY, ImageTrainer(), "smoke", overrides, seeds, Layout(only=only))


class Elsewhere(ImageTrainer):
    """Another trainer, or other data behind the same name."""

    def __init__(self, name: str = ImageTrainer.name, checksum: str | None = None) -> None:
        self.name = name
        self._checksum = checksum

    def data_checksum(self, config: Mapping[str, Any], data: Path | None) -> str:
        return self._checksum or super().data_checksum(config, data)


@pytest.mark.parametrize("trainer", [Elsewhere(name="another trainer"), Elsewhere(checksum="other pixels")])
def test_other_data_or_another_trainer_change_every_key(trainer: ImageTrainer) -> None:
    before, after = plan(seeds=(0, 1)), make_plan(STUDY, trainer, "smoke", {}, (0, 1))
    keys = {trial.key for trial in (*before.trials, *after.trials)}
    assert len(keys) == len(before.trials) + len(after.trials) == 24
    assert after.base_key != before.base_key
    same_again = make_plan(STUDY, Elsewhere(), "smoke", {}, (0, 1))
    assert [trial.key for trial in same_again.trials] == [trial.key for trial in before.trials]


def test_a_plan_holds_every_arm_with_every_seed_and_whole_sets_first() -> None:
    made = plan(seeds=(0, 1))
    assert len(made.trials) == 12
    assert [trial.seed for trial in made.trials] == [0] * 6 + [1] * 6
    assert len({trial.key for trial in made.trials}) == 12


def test_extending_keeps_every_key_and_leaves_the_new_ones_missing() -> None:
    before, after = plan(), plan(seeds=(0, 1))
    assert after.base_key == before.base_key
    missing = after.missing(trial.key for trial in before.trials)
    assert {trial.seed for trial in missing} == {1}
    part = plan(only=(("method", "NS"),))
    assert {trial.key for trial in part.trials} < {trial.key for trial in before.trials}


@pytest.mark.parametrize("change", [{"updates": 101}, {"learning_rate": 0.2}, {"precision": "bf16"}, {"batch_size": 8}])
def test_whatever_changes_a_result_changes_every_key(change: dict[str, object]) -> None:
    keys = {trial.key for trial in plan().trials}
    assert not keys & {trial.key for trial in plan(**change).trials}
    assert plan(**change).base_key != plan().base_key


@pytest.mark.parametrize("unit", ["updates", "passes", "macs"])
def test_every_arm_gets_the_same_amount_of_the_chosen_unit(unit: str) -> None:
    made = plan(equalize=unit)
    outlooks = [ImageTrainer().outlook(trial.config) for trial in made.trials]
    amounts = {round(outlook.totals[unit]) for outlook in outlooks}
    assert amounts == {made.trials[0].config["budget"]["amount"]}


def test_a_factor_cannot_be_set_besides() -> None:
    with pytest.raises(UserError, match="--only"):
        plan(norm="batch")


@pytest.mark.parametrize(
    ("seconds", "at_once", "expected"),
    [([], 2, 0), ([120], 2, 120), ([10, 10, 10], 2, 20), ([30, 10, 10, 10], 2, 30), ([10, 10, 30], 2, 40)],
)
def test_a_trial_is_as_long_as_it_is_however_many_could_run_at_once(
    seconds: list[float], at_once: int, expected: float
) -> None:
    assert elapsed(seconds, at_once) == expected
