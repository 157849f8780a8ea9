"""The config of parts: names, values, what is resolved, what a trial is known by, and the defaults once released."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from studies.image_trainer import ImageTrainer
from studies.text_trainer import TextTrainer
from tests.conftest import tiny
from trainers.config.image_trial import ImageTrialConfig
from trainers.config.method import MethodConfig
from trainers.config.methods import METHODS
from trainers.config.names import full_names
from trainers.config.part import extra, leaves, parts
from trainers.config.text_trial import TextTrialConfig
from trainers.config.trial import TrialConfig
from trainers.errors import ConfigError
from trainers.trials.images import resolve
from trainers.trials.texts import TEXT_TRIALS

HERE = Path(__file__).parent
RELEASED: dict[str, tuple[str, type[TrialConfig], Callable[[Mapping[str, Any]], TrialConfig]]] = {
    "released_defaults.json": (ImageTrainer.name, ImageTrialConfig, resolve),
    "released_defaults_texts.json": (TextTrainer.name, TextTrialConfig, TEXT_TRIALS.resolve),
}

NAMES = {
    "optimizer.learning_rate": "optimizer.learning_rate",
    "learning_rate": "optimizer.learning_rate",
    "optimizer_learning_rate": "optimizer.learning_rate",
    "schedule_stages": "schedule.stages",
    "budget_scale": "budget.scale",
    "method": "method.name",
    "norm": "norm.policy",
    "network": "network.name",
    "precision": "precision.activations",
    "schedule": "schedule.shape",
    "widths": "network.dimensions.width",
    "depths": "network.dimensions.depth",
    "evaluations": "evaluations",
}


@pytest.mark.parametrize("said", NAMES)
def test_a_setting_goes_by_its_full_name_and_by_short_ones_that_mean_no_other(said: str) -> None:
    assert full_names({said: 1}, ImageTrialConfig) == {NAMES[said]: 1}


def test_whole_parts_may_be_said_at_once() -> None:
    said = {"optimizer": {"momentum": 0}, "dimensions": {"width": [1]}, "network": {"dimensions": {"depth": [2]}}}
    named = {"optimizer.momentum": 0, "network.dimensions.width": [1], "network.dimensions.depth": [2]}
    assert full_names(said, ImageTrialConfig) == named


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"lerning_rate": 1}, "unknown setting 'lerning_rate': did you mean 'learning_rate'?"),
    "unknown, full": ({"optimizer.lerning_rate": 1}, "did you mean 'optimizer.learning_rate'?"),
    "unknown in a part": ({"optimizer": {"momentun": 1}}, "did you mean 'optimizer.momentum'?"),
    "ambiguous": ({"name": "NS"}, "name is ambiguous: say task.name or network.name or method.name"),
    "twice": ({"learning_rate": 0.1, "optimizer.learning_rate": 0.2}, "optimizer.learning_rate is given twice"),
    "range": ({"momentum": 2}, "optimizer.momentum=2.0: must be from 0 to 1"),
    "range of what may be unsaid": ({"updates": 0}, "budget.updates=0: must be from 1 to "),
    "bool for a number": ({"learning_rate": True}, "optimizer.learning_rate=True: give a number"),
    "bool for a whole number": ({"batch_size": True}, "task.batch_size=True: give a whole number"),
    "text for a number": ({"batch_size": "3"}, "task.batch_size='3': give a whole number"),
    "fraction": ({"batch_size": 16.5}, "task.batch_size=16.5: give a whole number"),
    "number for a bool": ({"flip": 1}, "task.flip=1: give true or false"),
    "not finite": ({"warmup": float("inf")}, "schedule.warmup=inf: give a number"),
    "of 400 digits": ({"evaluations": 10**400}, "evaluations=a number of many digits: give a whole number"),
    "beyond 64 bits": ({"evaluations": 2**70}, "evaluations=a number of many digits: must be from 1 to 100000"),
    "long": ({"batch_size": "x" * 500}, f"task.batch_size='{'x' * 79}…: give a whole number"),
    "nested list": ({"widths": [[0.5], 1]}, "widths=[[0.5], 1]: give a list of numbers"),
    "fraction of a block": ({"depths": [1.5]}, "depths=[1.5]: give a list of whole numbers"),
    "no widths": ({"widths": []}, "widths=[]: give a list of numbers"),
    "too wide": ({"widths": [0.5, 1, 2]}, "width=2.0: give a share in (0, 1]"),
    "twice the same": ({"widths": [1, 1.0]}, "listed twice"),
    "unknown dimension": ({"dimensions": {"widht": [1]}}, "'network.dimensions.width'"),
    "name": ({"network": "resnt18"}, "unknown network 'resnt18': did you mean 'resnet18'?"),
    "policy": ({"norm": "instnace"}, "'instance'"),
    "kind": ({"optimizer": "sdg"}, "unknown optimizer.kind 'sdg': did you mean 'sgd'?"),
    "kind of no name": ({"optimizer": [1]}, "choose from adamw, sgd"),
    "another kind's": ({"optimizer": "adamw", "momentum": 0.9}, "optimizer.momentum: adamw has none"),
    "unknown of a kind": ({"optimizer": {"kind": "adamw", "beta3": 1}}, "did you mean 'optimizer.beta"),
    "range of a kind": ({"optimizer": "adamw", "beta2": 2}, "optimizer.beta2=2.0: must be from 0 to 1"),
    "rates by name": (
        {"rates": {"classifier.*": 2}},
        "give pairs of pattern and multiple",
    ),
    "rates below zero": ({"rates": [["classifier.*", -2]]}, "a number from 0 to 1e6"),
    "rates of nothing": ({"rates": [["head.*", 2]]}, "rates: 'head.*' matches no trained parameter"),
    "rates of what is frozen": (
        {"rates": [["classifier.*", 2]], "frozen": ["classifier.*"]},
        "rates: 'classifier.*' matches no trained",
    ),
    "frozen as a text": ({"frozen": "classifier.*"}, "optimizer.frozen='classifier.*': give a list of patterns"),
    "frozen that is not there": ({"frozen": ["head.*"]}, "frozen: 'head.*' matches no parameter"),
    "frozen altogether": ({"frozen": ["*"]}, "has no parameter to train"),
    "clipped to nothing": ({"clip_norm": 0}, "optimizer.clip_norm=0: must be from 1e-09 to 1e+09"),
    "equalize": ({"equalize": "pases"}, "'passes'"),
    "equalize by a number": ({"equalize": 3}, "choose from macs, passes, updates"),
    "shape": ({"schedule": "cosin"}, "'cosine'"),
    "amount and updates": ({"amount": 3, "updates": 2}, "budget.amount and budget.updates both say how long to train"),
    "epochs and updates": ({"epochs": 1, "updates": 2}, "budget.epochs and budget.updates both say how long to train"),
    "epochs and amount": ({"epochs": 1, "amount": 2}, "budget.amount and budget.epochs both say how long to train"),
    "unit alone": ({"budget.unit": "macs"}, "give budget.amount, too"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_a_line_with_its_name_what_it_got_and_what_it_takes(case: str) -> None:
    said, hint = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        resolve(said)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"method": "LCS-p", "norm": "batch"}, {"method.name": "US", "norm": {"policy": "batch"}}),
        ({"method": "SortedNet"}, {}),
        ({"method": "NS"}, {"sampler": "all", "objective": "sum"}),
        ({"updates": 24}, {"updates": 12, "budget_scale": 2}),
        ({"equalize": "passes", "updates": 12}, {"unit": "passes", "amount": 48}),
        ({"epochs": 2}, {"unit": "updates", "amount": round(2 * 1437 / 128)}),
        ({"epochs": 2, "accumulation": 2}, {"unit": "updates", "amount": round(1437 / 128), "accumulation": 2}),
        ({"crop_padding": None, "flip": "auto"}, {"crop_padding": 2, "flip": False}),
        ({"train_examples": 1437}, {}),
        ({"interim_examples": 100}, {}),  # without an evaluation before the last
        ({"interim_examples": 360, "evaluates_start": True}, {"evaluates_start": True}),
        ({"interim_sub_models": 2}, {}),
        ({"interim_sub_models": 4, "evaluates_start": True}, {"evaluates_start": True}),  # there are four
        ({"epochs": 2, "train_examples": 256}, {"updates": 4, "train_examples": 256}),
        ({"widths": [1, 0.25, 0.5, 0.75]}, {"dimensions": {"width": [0.25, 0.5, 0.75, 1.0]}}),
        ({"depths": []}, {}),
        ({"recalibration_batches": 3}, {}),  # without effect under this norm
        ({"line_penalty": 3}, {}),
        ({"extract_at": 0.1}, {}),
        ({"optimizer": "sgd"}, {}),
        ({"optimizer": {"kind": "adamw", "beta1": 0.9}}, {"optimizer": "adamw"}),
        ({"decayed": "matrices", "weight_decay": 0}, {"weight_decay": 0}),
        ({"clip_norm": None, "rates": [], "frozen": []}, {}),
    ],
)
def test_two_spellings_of_an_experiment_are_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    base = {"dataset": "digits", "precision": "fp32", "evaluations": 1}
    first, second = resolve({**base, **one}), resolve({**base, **other})
    assert first == second
    assert first.identity() == second.identity()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("equalize", ["updates", "passes", "macs"])
def test_a_resolved_config_resolves_to_itself_by_way_of_json(method: str, equalize: str) -> None:
    config = tiny(method=method, equalize=equalize, norm="batch-recalibrated")
    written = json.loads(json.dumps(config.as_dict()))
    assert ImageTrialConfig.from_dict(written) == resolve(written) == config
    assert "name" not in written["method"]
    assert "updates" not in written["budget"]


OTHER: dict[str, Any] = {
    "task.dataset": "digits", "task.batch_size": 3, "task.crop_padding": 1, "task.flip": False,
    "task.train_examples": 10, "task.interim_examples": 10, "task.name": "own", "task.metrics": ["own"],
    "network.name": "resnet18", "network.dimensions": {"width": [1.0]}, "network.order": "l1", "network.multiple": 8,
    "method.sampler": "linear", "method.objective": "stochastic-summation", "method.sharing": "separate",
    "method.extract_at": 0.25, "method.accumulation": 2, "method.distillation": "in-place",
    "norm.policy": "batch", "norm.recalibration_batches": 3, "norm.affine": "line", "norm.line_penalty": 2.0,
    "optimizer.learning_rate": 0.2, "optimizer.momentum": 0.5, "optimizer.weight_decay": 0.0,
    "optimizer.decayed": "matrices", "optimizer.rates": [["classifier.*", 10.0]], "optimizer.frozen": ["bn1.*"],
    "optimizer.clip_norm": 1.0,
    "schedule.shape": "linear", "schedule.warmup": 0.5, "schedule.stages": 3,
    "budget.unit": "passes", "budget.amount": 3,
    "precision.activations": "bf16", "precision.deterministic": True, "evaluations": 3, "evaluates_start": True,
    "interim_sub_models": 2,
}  # fmt: skip
LOCATED = {"network.weights"}  # a trial is known by what is there
SHOWN = {"task.primary"}  # which changes no result
NOT_RESOLVED = {"network.within", "method.name", "budget.updates", "budget.epochs", "budget.scale", "budget.equalize"}
OTHER_KINDS: dict[str, dict[str, dict[str, Any]]] = {
    "optimizer": {
        "adamw": {
            "learning_rate": 0.2, "weight_decay": 0.0, "beta1": 0.5, "beta2": 0.5, "epsilon": 0.1,
            "decayed": "matrices", "rates": [["classifier.*", 10.0]], "frozen": ["bn1.*"], "clip_norm": 1.0,
        }
    }
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_a_trial_is_known_by_what_is_not_at_its_default(name: str) -> None:
    """So a field that is added, at a default that changes nothing, re-keys nothing."""
    part, _, field = name.rpartition(".")
    written = {part: {field: OTHER[name]}} if part else {field: OTHER[name]}
    assert ImageTrialConfig.from_dict(written).identity() == written
    declared = defaults()[name]
    assert ImageTrialConfig.from_dict({part: {field: declared}} if part else {field: declared}).identity() == {}


@pytest.mark.parametrize(
    ("part", "kind", "field"),
    [(part, kind, field) for part, kinds in OTHER_KINDS.items() for kind, fields in kinds.items() for field in fields],
)
def test_of_another_kind_a_trial_is_known_by_it_and_by_what_is_not_at_its_default(
    part: str, kind: str, field: str
) -> None:
    written = {part: {"kind": kind, field: OTHER_KINDS[part][kind][field]}}
    assert ImageTrialConfig.from_dict(written).identity() == written
    declared = {part: {"kind": kind, field: defaults()[f"{part}({kind}).{field}"]}}
    assert ImageTrialConfig.from_dict(declared).identity() == {part: {"kind": kind}}


@pytest.mark.parametrize("name", SHOWN)
def test_what_only_decides_what_is_shown_is_no_part_of_what_a_trial_is_known_by(name: str) -> None:
    part, _, field = name.rpartition(".")
    assert ImageTrialConfig.from_dict({part: {field: "own"}}).identity() == {}


def test_every_field_is_tried() -> None:
    of_kinds = {
        f"{part}({kind}).{field}"
        for part, kinds in OTHER_KINDS.items()
        for kind, fields in kinds.items()
        for field in (*fields, "kind")
    }
    assert defaults().keys() == OTHER.keys() | LOCATED | SHOWN | NOT_RESOLVED | {"optimizer.kind"} | of_kinds


@pytest.mark.parametrize("kind", [ImageTrialConfig, TextTrialConfig])
def test_every_field_is_declared_with_a_sentence_and_numbers_with_a_range(kind: type[TrialConfig]) -> None:
    for name, field in leaves(kind):
        assert field.description, name
        assert field.description.endswith("."), name
        if field.annotation in (int, float):
            assert len([limit for limit in field.metadata if hasattr(limit, "ge") or hasattr(limit, "le")]) == 2, name
        if field.default is None:
            assert not extra(field, "usual"), name  # it would be written and read as unsaid


def test_parts_are_frozen_and_refuse_what_they_do_not_know() -> None:
    for name, field in ImageTrialConfig.model_fields.items():
        for kind in parts(field):
            with pytest.raises(ValidationError):
                kind.model_validate({"nothing": 1})
            with pytest.raises(ValidationError):
                setattr(kind(), next(iter(kind.model_fields)), 1)
            assert name in ImageTrialConfig().as_dict()


def test_widths_are_shares_and_depths_are_counts_whatever_json_makes_of_them() -> None:
    config = tiny(network="mobilenet_v2", widths=[1], depths=[10, 2.0])
    for read in (config, ImageTrialConfig.from_dict(json.loads(json.dumps(config.as_dict())))):
        assert [target.label for target in read.lattice] == ["d02_w100", "d10_w100"]
        assert repr(read.network.dimensions) == "{'width': (1.0,), 'depth': (2, 10)}"


def test_sorted_net_is_what_nothing_said_means() -> None:
    recipe = METHODS["SortedNet"]
    for field in ("sampler", "objective", "sharing", "accumulation", "distillation"):
        assert MethodConfig.model_fields[field].default == getattr(recipe, field)
    assert ImageTrialConfig().norm.affine == recipe.affine


def defaults(of: type[TrialConfig] = ImageTrialConfig) -> dict[str, Any]:
    """By full name; of a part of several kinds the first is the usual one, of others the name tells the kind."""
    found: dict[str, Any] = {}
    for name, field in of.model_fields.items():
        kinds = parts(field)
        if not kinds:
            found[name] = field.default
        for kind in kinds:
            prefix = name if kind is kinds[0] else f"{name}({kind.model_fields['kind'].default})"
            found |= {f"{prefix}.{inner}": declared.default for inner, declared in kind.model_fields.items()}
    return dict(json.loads(json.dumps(found)))


def released(file: str) -> dict[str, Any]:
    """What this version holds, to be compared with what was released."""
    name, kind, resolve = RELEASED[file]
    resolved = resolve({"precision": "fp32"})
    return {
        "trainer": name,
        "defaults": defaults(kind),
        "usual": kind().as_dict(),
        "resolved": resolved.as_dict(),
        "identity": resolved.identity(),
    }


@pytest.mark.parametrize("file", RELEASED)
def test_a_default_once_released_does_not_change_under_the_same_name_of_the_trainer(file: str) -> None:
    was, now = json.loads((HERE / file).read_text()), released(file)
    mend = (
        "Fields at their default are left out of a trial's key: one that changes gives old keys to new experiments. "
        f"Raise the number in the trainer's name (now {now['trainer']!r}), say so in CHANGELOG.md, and write "
        f"{file} anew from released(). A field that is added needs only its line there."
    )
    for part, held in now.items():
        assert held == was[part], mend
