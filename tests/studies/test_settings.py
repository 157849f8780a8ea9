"""What `settings` says is what can be set."""

import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.commands.command_line import run
from orchestrator.study.study import Preset, Study
from studies import cifar_norm_ablation, glue_bert_ablation
from studies.image_trainer import ImageTrainer
from studies.text_trainer import TextTrainer
from tests.orchestrator.planted import STUDY as PLANTED
from tests.orchestrator.planted import Planted
from trainers.config.part import leaves

KINDS: dict[str, tuple[Study, ImageTrainer | TextTrainer]] = {
    "images": (cifar_norm_ablation.STUDY, ImageTrainer()),
    "texts": (glue_bert_ablation.STUDY, TextTrainer()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_listed_with_its_meaning_and_its_default_is_what_is_when_nothing_is_said(kind: str) -> None:
    _, trainer = KINDS[kind]
    listed = {setting.name: setting for setting in trainer.settings()}
    fields = {name for name, _ in leaves(trainer.config) if name != "network.dimensions"}
    assert fields <= listed.keys()
    assert all(name.startswith("network.dimensions.") for name in listed.keys() - fields)
    unsaid: dict[str, Any] = trainer.config().model_dump(mode="json")
    checked = 0
    for name, setting in listed.items():
        part, _, field = name.partition(".")
        if field and field not in unsaid[part] and "dimensions" not in field:
            assert setting.default.endswith(("(sgd)", "(adamw)"))  # of the other optimizer
            continue
        value = unsaid[part] if not field else unsaid[part].get(field, "")
        try:
            default = json.loads(setting.default)
        except ValueError:
            default = setting.default
        if default == value:
            checked += 1
        else:  # decided by something else, one for each kind of its part, or a dimension
            assert setting.default.startswith(("the ", "[")) or "(sgd)" in setting.default
    assert checked > len(listed) / 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_shortest_names_are_taken_and_choices_are_what_is_taken(kind: str) -> None:
    _, trainer = KINDS[kind]
    settings = {setting.name: setting for setting in trainer.settings()}
    assert settings["optimizer.learning_rate"].short == "learning_rate"
    assert settings["optimizer.kind"].choices == ("sgd", "adamw")
    for setting in settings.values():
        assert trainer.full_names({setting.short: 1}) == {setting.name: 1}
        for choice in setting.choices[:1]:
            assert choice in setting.takes


def test_the_presets_values_and_who_varies_a_setting_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    study, trainer = KINDS["images"]
    study = replace(study, presets={"smoke": Preset({"learning_rate": 0.2, "updates": 100}, 1, "")})
    assert run(study, trainer, ["settings", "--preset", "smoke"]) == 0
    shown = capsys.readouterr().out
    assert "optimizer.learning_rate = 0.2\n    a number from 0; default: 0.1 (sgd), 0.001 (adamw)" in shown
    assert "budget.updates = 100\n" in shown
    assert "norm.policy = varied by norm: choose by --only\n" in shown
    assert run(study, trainer, ["settings", "rate", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["settings"]
    assert {"optimizer.learning_rate", "optimizer.rates"} <= {each["name"] for each in told}
    assert "evaluations" not in {each["name"] for each in told}


def test_a_word_that_is_nowhere_names_the_nearest_and_a_trainer_may_say_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    study, trainer = KINDS["images"]
    assert run(study, trainer, ["settings", "lerning_rate"]) == 2
    assert "did you mean 'learning_rate'?" in capsys.readouterr().err
    assert run(PLANTED, Planted, ["settings"]) == 2
    assert "noop 1 does not say what may be set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (["--set", "lr=1"], "'learning_rate'"),
        (["--set", "wd=1"], "'weight_decay'"),
        (["--set", "BS=1"], "'batch_size'"),
        (["--set", "Momentum=1"], "'momentum'"),
        (["--only", "method=ns"], "'NS'"),
        (["--only", "method=sn"], "'SortedNet'"),
        (["--only", "method=lcs"], "'LCS-p'"),
        (["--only", "Norm=batch"], "'norm'"),
        (["--design", "loo"], "'leave-one-out'"),
        (["--preset", "SMOKE"], "'smoke'"),
    ],
)
def test_abbreviations_and_other_cases_are_understood_enough_to_be_told(
    said: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study, trainer = KINDS["images"]
    assert run(study, trainer, ["plan", *said]) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err
