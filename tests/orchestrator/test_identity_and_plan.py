import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UserError
from orchestrator.identity import canonical, fingerprint
from orchestrator.plan import Plan, make_plan
from orchestrator.study import Layout
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


@given(json_values, json_values)
def test_different_content_has_a_different_fingerprint(a: object, b: object) -> None:
    assert (fingerprint(x=a) == fingerprint(x=b)) == (canonical(a) == canonical(b))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {"a": {3}}, object(), b"x"])
def test_what_has_no_canonical_form_is_refused_with_its_path(value: object) -> None:
    with pytest.raises(TypeError, match=r"\$"):
        fingerprint(x=value)


def plan(*, seeds: tuple[int, ...] = (0,), only: tuple[tuple[str, str], ...] = (), **overrides: object) -> Plan:
    return make_plan(STUDY, ImageTrainer(), "smoke", overrides, seeds, Layout(only=only))


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
    amounts = {round(getattr(outlook, unit)) for outlook in outlooks}
    assert amounts == {made.trials[0].config["budget"]}


def test_a_factor_cannot_be_set_besides() -> None:
    with pytest.raises(UserError, match="--only"):
        plan(norm="batch")
