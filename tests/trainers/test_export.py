"""What comes out of a trial: a network of its own, a program for plain PyTorch, one network for every size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.conftest import tiny
from tests.trainers.own_tables import put_back
from trainers import register
from trainers.building.image_costs import target_costs
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.images.arrays import ImageArrays
from trainers.errors import ConfigError
from trainers.extraction.anytime import Anytime
from trainers.extraction.export import export, load, trained
from trainers.nested.network import NestedNetwork
from trainers.trials.images import train

ALONE = """
import sys, torch
program = torch.export.load(sys.argv[1])
torch.save(program.module()(torch.load(sys.argv[2])), sys.argv[3])
assert not any(name.startswith("trainers") for name in sys.modules)
"""


@pytest.fixture(autouse=True)
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes seconds each time, and has tests of its own."""
    monkeypatch.setattr("trainers.extraction.export.can_write_onnx", lambda: False)


def finished(config: ImageTrialConfig, data: ImageArrays, folder: Path) -> Path:
    *_, last = train(config, 0, data, torch.device("cpu"))
    folder.mkdir()
    last.save(folder)
    return folder / "weights.safetensors"


@pytest.mark.parametrize("settings", [{"norm": "instance"}, {"norm": "batch-switchable"}, {"method": "Independent"}])
def test_an_exported_sub_model_answers_as_the_nested_one(
    settings: dict[str, str], digits: ImageArrays, tmp_path: Path
) -> None:
    config = tiny(**settings, updates=2, evaluations=1)
    weights = finished(config, digits, tmp_path / "trial")
    export(config, weights, "w050", tmp_path / "out")
    images = torch.randn(5, 1, 16, 16)
    network = trained(config, weights)
    network.activate(config.lattice.targets[1])
    alone = load(tmp_path / "out")
    assert all(type(module).__module__.startswith(("torch", "trainers.networks")) for module in alone.modules())
    with torch.no_grad():
        assert torch.equal(alone(images), network(images))
    about = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (about["label"], about["input_shape"]) == ("w050", [1, 16, 16])
    assert (about["mean"], about["std"]) == (list(digits.mean), list(digits.std))
    assert about["macs"] == target_costs(config)["w050"].macs
    assert about["parameters"] == sum(parameter.numel() for parameter in alone.parameters())

    torch.save(images, tmp_path / "in.pt")
    files = [str(tmp_path / name) for name in ("out/model.pt2", "in.pt", "answer.pt")]
    subprocess.run([sys.executable, "-c", ALONE, *files], check=True, cwd=tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / "answer.pt"), network(images))


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_trial_to_be_extracted_is_loaded_whether_it_was_or_not(
    share: float, digits: ImageArrays, tmp_path: Path
) -> None:
    config = tiny(method="Extracted-tuned", extract_at=share, updates=2, evaluations=1)
    network = trained(config, finished(config, digits, tmp_path / "trial"))
    assert isinstance(network, NestedNetwork) == (share == 1.0)


def test_what_was_trained_on_data_of_ones_own_and_with_a_sampler_of_ones_own_is_loaded_where_neither_is_known(
    digits: ImageArrays, tmp_path: Path
) -> None:
    with put_back():
        own = ImageArrays.of(digits.train_images, digits.train_labels % 3, digits.test_images, digits.test_labels % 3)
        register.dataset("thirds")(lambda: own)
        register.sampler("evenly")(lambda moment: [1.0 for _ in moment.lattice])
        config = tiny(dataset="thirds", sampler="evenly", updates=2, evaluations=1)
        export(config, finished(config, own, tmp_path / "trial"), "w050", tmp_path / "out")
    with pytest.raises(ConfigError, match="unknown dataset 'thirds'"):
        tiny(dataset="thirds")
    with torch.no_grad():
        assert load(tmp_path / "out")(torch.zeros(2, *digits.test_images.shape[1:])).shape == (2, 3)


def test_an_unknown_target_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown target 'w033'"):
        export(tiny(), tmp_path / "none", "w033", tmp_path / "out")


def test_a_disk_that_fills_up_leaves_nothing_that_could_be_loaded(digits: ImageArrays, tmp_path: Path) -> None:
    config = tiny(updates=2, evaluations=1)
    weights = finished(config, digits, tmp_path / "trial")
    export(config, weights, "w050", tmp_path / "out")
    (tmp_path / "out" / "model.pt2").unlink()
    (tmp_path / "out" / "model.pt2").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        export(config, weights, "w075", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load(tmp_path / "out")


def test_anytime_switches_per_call_and_copies_nothing(digits: ImageArrays, tmp_path: Path) -> None:
    config = tiny(updates=2, evaluations=1)
    network = trained(config, finished(config, digits, tmp_path / "trial"))
    assert isinstance(network, NestedNetwork)
    addresses = [parameter.data_ptr() for parameter in network.parameters()]
    anytime = Anytime(network)
    images = torch.randn(3, 1, 16, 16)
    for target in config.lattice:
        plain: nn.Module = network.extract(target)
        with torch.no_grad():
            assert torch.equal(anytime(images, target.label), plain(images))
    assert [parameter.data_ptr() for parameter in network.parameters()] == addresses
    assert torch.equal(anytime(images, max_macs=anytime.macs["w075"] + 1), anytime(images, "w075"))
    assert torch.equal(anytime(images), anytime(images, "w100"))
    with pytest.raises(ValueError, match="the smallest has"):
        anytime(images, max_macs=1)
    with pytest.raises(ConfigError, match="unknown target 'w051'"):
        anytime(images, "w051")
    with pytest.raises(ValueError, match="not both"):
        anytime(images, "w050", max_macs=1e9)
