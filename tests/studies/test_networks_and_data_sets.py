"""Data sets and networks as factors: every trial has its own data, costs and sub-models, from plan to report."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestrator.commands.command_line import run
from orchestrator.errors import UserError
from orchestrator.run.packing import heaviest
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Factor, Layout, Preset, Study
from orchestrator.trainer import Place
from studies.image_trainer import ImageTrainer
from tests.conftest import TINY
from trainers.data.datasets import DATASETS
from trainers.data.images.arrays import ImageArrays

SMALL = {name: value for name, value in TINY.items() if name != "dataset"} | {
    "updates": 2,
    "evaluations": 1,
    "batch_size": 4,
    "widths": [0.5, 1.0],
}
STUDY = Study(
    name="both",
    title="Data sets × networks",
    presets={"tiny": Preset(SMALL, 1, "")},
    factors=(
        Factor.of("dataset", ["digits", "negatives"]),
        Factor("network", {"published": {"network": "cpreresnet20"}, "plain": {"network": "resnet18"}}),
    ),
    baseline={"network": "published"},
    facets=("dataset",),
)
DEEPER = Study(
    name="deeper",
    title="Sub-models that not every arm has",
    presets={"tiny": Preset({**TINY, "updates": 2, "evaluations": 1, "batch_size": 4}, 1, "")},
    factors=(
        Factor(
            "targets", {"three": {"widths": [0.25, 0.5, 1.0]}, "two": {"widths": [0.5, 1.0]}, "one": {"widths": [1]}}
        ),
    ),
    baseline={"targets": "two"},
)


class Prepared(ImageTrainer):
    """Notes which data sets it was asked for."""

    def __init__(self) -> None:
        self.prepared: list[str] = []

    def prepare(self, config: Mapping[str, Any], place: Place) -> None:
        self.prepared.append(config["task"]["dataset"])
        super().prepare(config, place)


@pytest.fixture(autouse=True)
def negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers a second data set: the digits, white on black as black on white."""
    digits = DATASETS["digits"]

    def load(folder: Path | None) -> ImageArrays:
        arrays = digits.load(folder)
        return replace(arrays, train_images=255 - arrays.train_images, test_images=255 - arrays.test_images)

    monkeypatch.setitem(DATASETS, "negatives", replace(digits, checksum=lambda: "negatives 1", load=load))


def test_every_trial_of_a_plan_has_its_own_data_and_costs() -> None:
    trainer = ImageTrainer()
    plan = make_plan(STUDY, trainer, "tiny", {}, (0, 1))
    assert len(plan.trials) == len({trial.key for trial in plan.trials}) == 8
    for trial in plan.trials:
        assert trial.data_checksum == DATASETS[trial.config["task"]["dataset"]].checksum()
        assert list(trial.sub_models) == trainer.costs(trial.config)
    assert plan.data_checksums == (DATASETS["digits"].checksum(), "negatives 1")
    (ours, here), (plain, there) = plan.sub_models
    assert (here, there) == (
        ["digits · published", "negatives · published"], ["digits · plain", "negatives · plain"],
    )  # fmt: skip
    assert ours[-1].macs != plain[-1].macs
    assert heaviest(trainer, plan.trials).sub_models == max(ours, plain, key=lambda costs: costs[-1].macs)


def test_an_arm_has_the_same_key_and_parent_whatever_stands_beside_it() -> None:
    whole = make_plan(STUDY, ImageTrainer(), "tiny", {}, (0,))
    for only in ((("dataset", "negatives"),), (("network", "plain"),)):
        part = make_plan(STUDY, ImageTrainer(), "tiny", {}, (0,), Layout(only=only))
        assert part.base_key == whole.base_key
        assert {trial.key for trial in part.trials} < {trial.key for trial in whole.trials}


def test_arms_without_a_common_sub_model_are_refused_before_anything_starts() -> None:
    factor = Factor("targets", {"one": {"widths": [1.0]}, "deep": {"network": "mobilenet_v2", "depths": [1, 10]}})
    study = replace(DEEPER, factors=(factor,), baseline={})
    with pytest.raises(UserError, match=r"deep has no sub-model in common.*--only"):
        make_plan(study, ImageTrainer(), "tiny", {}, (0,))


def test_a_study_of_data_sets_and_networks_says_whose_cost_is_whose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = Prepared()
    assert run(STUDY, trainer, ["--debug", "--storage", str(tmp_path)]) == 0
    assert sorted(trainer.prepared) == ["digits", "negatives"]
    capsys.readouterr()
    assert run(STUDY, trainer, ["plan", "--json", "--storage", str(tmp_path)]) == 0
    arms = {arm["arm"]: arm for arm in json.loads(capsys.readouterr().out)["arms"]}
    table = pd.read_csv(tmp_path / "reports" / "both" / "tiny" / "results.csv")
    assert len(table) == 4 * 2
    for row in table.to_dict("records"):
        arm = arms[f"{row['dataset']} · {row['network']}"]
        assert arm["data_checksum"] == DATASETS[row["dataset"]].checksum()
        cost = {each["label"]: each for each in arm["sub_models"]}[row["sub_model"]]
        assert (row["macs"], row["parameters"]) == (cost["macs"], cost["parameters"])
    shown = (tmp_path / "reports" / "both" / "tiny" / "table.md").read_text()
    assert shown.count("The arms' networks differ.") == 2  # a table per data set
    for arm in arms.values():
        assert f"{arm['sub_models'][-1]['macs'] / 1e6:.3f} M" in shown
    page = (tmp_path / "reports" / "both" / "tiny" / "index.html").read_text()
    assert "negatives 1 (negatives · published, negatives · plain)" in page


def test_a_sub_model_that_an_arm_lacks_is_an_empty_cell_and_averages_are_over_what_all_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(DEEPER, ImageTrainer(), ["--debug", "--storage", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "reports" / "deeper" / "tiny" / "results.csv")
    full = table[table["sub_model"] == "w100"].set_index("arm")["test_acc"]
    lines = (tmp_path / "reports" / "deeper" / "tiny" / "table.md").read_text().splitlines()
    table_of_accuracies = [line.replace("*", "").split("|") for line in lines if line.startswith("|")][:6]
    cells = {line[1].strip(): line[2:5] for line in table_of_accuracies}
    assert [cell.strip() for cell in cells["w025"]][1:] == ["–", "–"]
    assert [cell.strip() for cell in cells["w050"]][2] == "–"
    assert [float(cell) for cell in cells["avg."]] == [round(full[arm], 2) for arm in ("three", "two", "one")]
    assert any("avg., and what is compared on it, is over those that every arm has (w100)" in line for line in lines)


TORCHVISIONS = {**SMALL, "dataset": "digits", "network": "torchvision:mobilenet_v3_small", "norm": "batch"}


def test_any_classifier_of_torchvision_s_has_widths_and_depths_by_stage(tmp_path: Path) -> None:
    own = {"widths": [], "widths_1": [0.5, 1.0], "widths_2": [0.5, 1.0], "depths_2": [1, 2]}
    study = Study(
        name="staged",
        title="Stages",
        presets={"tiny": Preset({**TORCHVISIONS, **own}, 1, "")},
        factors=(Factor.of("method", ["SortedNet"]),),
    )
    assert run(study, ImageTrainer, ["--preset", "tiny", "--debug", "--storage", str(tmp_path)]) == 0
    results = pd.read_csv(tmp_path / "reports" / "staged" / "tiny" / "results.csv")
    assert len(results) == 8
    assert {"d2-01_w1-050_w2-050", "d2-02_w1-100_w2-100"} <= {*results["sub_model"]}
    assert results["macs"].nunique() == 8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"network": "torchvision:vgg99"}, "unknown network of torchvision 'vgg99': did you mean 'vgg19'?"),
        (
            {"network": "vgg"},
            "unknown network 'vgg': choose from cpreresnet20, mobilenet_v2, resnet18, torchvision:NAME",
        ),
        ({"network": "torchvision:maxvit_t"}, r"Input size \(4, 4\) of block 0 is not divisible by partition size 7"),
        (
            {"network": "torchvision:inception_v3"},
            r"'Conv2d_4a_3x3\.conv'|'Mixed_6a'|does not run on an input of shape",
        ),
        ({"network": "torchvision:shufflenet_v2_x0_5"}, r"cannot nest layer 'stage2\.1\.branch2\.0' of ShuffleNetV2"),
        ({"widths_7": [0.5, 1.0]}, r"widths_7=\[0\.5, 1\.0\]: torchvision:mobilenet_v3_small has 4 stages"),
        ({"widths_2": [0.5, 0.7]}, r"widths_2=\[0\.5, 0\.7\]: the full width, 1, must be among them"),
        ({"depths_2": [1, 3]}, r"numbers from 1 to the 2 optional blocks of stage 2 of torchvision:mobilenet_v3_small"),
        (
            {"depths": [1, 9]},
            r"depths=\[1, 9\]: numbers from 1 to the 6 optional blocks of torchvision:mobilenet_v3_sm",
        ),
        (
            {"norm": "instance"},
            "norm=instance: torchvision:mobilenet_v3_small on digits has a norm that meets a single value of each ch",
        ),
        ({"network": "cpreresnet20", "norm": "instance"}, ""),
        ({"depths_1": []}, ""),
    ],
)
def test_what_a_network_of_torchvision_s_has_not_is_refused_in_a_line(settings: dict[str, Any], said: str) -> None:
    given = {**TORCHVISIONS, **settings}
    if not said:
        assert ImageTrainer().resolve(given)
        return
    with pytest.raises(UserError, match=said) as error:
        ImageTrainer().resolve(given)
    assert "\n" not in str(error.value)
