"""Trials that start from a trained network's weights: what is read, what is refused, what a trial is known by."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trainers.building.initial_weights import initialise
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.datasets import dataset
from trainers.data.images.arrays import ImageArrays
from trainers.errors import ConfigError, DataError
from trainers.extraction.export import load
from trainers.nested.network import NestedNetwork
from trainers.nested.separate import SeparateNetworks
from trainers.networks.architectures import NETWORKS
from trainers.networks.trained_weights import read_weights
from trainers.submodel import SubModel
from trainers.training.state import WEIGHTS
from trainers.trials.images import IMAGES, resolve, train

CPU = torch.device("cpu")
SHAPE = dataset("digits").shape
SMALL = {"dataset": "digits", "batch_size": 16, "precision": "fp32", "updates": 4, "evaluations": 2, "norm": "batch"}


def trained_network(classes: int = 10, name: str = "cpreresnet20") -> nn.Module:
    """With random weights, affine parameters and statistics."""
    network = NETWORKS[name].build(SHAPE, classes)
    initialise(network, seed=5)
    generator = torch.Generator().manual_seed(6)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    return network


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A trained network's weights as safetensors."""
    save_file(trained_network().state_dict(), tmp_path / "trained.safetensors")
    return tmp_path / "trained.safetensors"


def start(file: Path, **settings: Any) -> Any:
    """A trial's network before its first update."""
    config = resolve({**SMALL, "weights": str(file), **settings})
    return IMAGES.assemble(config, 0, None, CPU).network


@pytest.mark.parametrize("order", ["trained", "l1", "gamma"])
def test_the_largest_sub_model_is_the_trained_network(order: str, file: Path) -> None:
    plain = trained_network().double().eval()
    nested = start(file, order=order).double().eval()
    assert isinstance(nested, NestedNetwork)
    x = torch.randn(3, *SHAPE, dtype=torch.double)
    torch.testing.assert_close(nested(x), plain(x), rtol=1e-12, atol=1e-12)
    weights = {name: value.float() for name, value in nested.network.state_dict().items() if value.ndim == 4}
    given = read_weights(file)
    assert all(torch.equal(value, given[name]) for name, value in weights.items()) is (order == "trained")


def test_networks_that_share_nothing_start_from_prefixes_of_it(file: Path) -> None:
    separate = start(file, method="Independent", order="l1")
    nested = start(file, order="l1")
    assert isinstance(separate, SeparateNetworks)
    x = torch.randn(3, *SHAPE)
    for target in nested.lattice:
        alone = separate.networks[target.module_name].eval()
        nested.activate(target)
        assert torch.equal(alone(x), nested.eval()(x))


def test_a_state_dict_is_read_as_safetensors_are(file: Path, tmp_path: Path) -> None:
    torch.save(trained_network().state_dict(), tmp_path / "trained.pt")
    one, other = read_weights(file), read_weights(tmp_path / "trained.pt")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_head_of_other_classes_is_drawn_from_the_seed(tmp_path: Path) -> None:
    save_file(trained_network(classes=7).state_dict(), tmp_path / "seven.safetensors")
    network = start(tmp_path / "seven.safetensors").network
    drawn = start(tmp_path / "seven.safetensors", weights="").network
    assert torch.equal(network.classifier.weight, drawn.classifier.weight)
    assert network.classifier.weight.shape == (10, 256, 1, 1)
    own = trained_network(classes=7).state_dict()
    assert all(
        torch.equal(value, own[name])
        for name, value in network.state_dict().items()
        if value.ndim == 4 and "classifier" not in name
    )


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """A network's state dict after a change."""
    state = dict(trained_network().state_dict())
    change(state)
    return state


class Evil:
    """Whose pickle would run a command."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (print, ("run",))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "no such file"),
        (lambda path: path.write_bytes(b""), "neither safetensors nor a state dict of tensors alone"),
        (lambda path: torch.save([1, 2], path), "it holds a list rather than a state dict"),
        (lambda path: path.write_text("weights"), "neither safetensors nor a state dict of tensors alone"),
        (lambda path: torch.save(Evil(), path), "neither safetensors nor a state dict of tensors alone"),
        (lambda path: torch.save(trained_network(), path), "neither safetensors nor a state dict of tensors alone"),
        (lambda path: torch.save({}, path), "it holds a dict rather than a state dict"),
        (lambda path: torch.save(torch.zeros(3), path), "it holds a Tensor rather than a state dict"),
        (
            lambda path: torch.save({"epoch": 3, "model": trained_network().state_dict()}, path),
            r"it holds more than tensors \('epoch', 'model'\)",
        ),
        (
            lambda path: save_file({f"module.{name}": v for name, v in trained_network().state_dict().items()}, path),
            r"it lacks '.*' and \d+ more and it has 'module\..*' and \d+ more: the weights are not those of CPreRes",
        ),
        (lambda path: save_file(trained_network(name="resnet18").state_dict(), path), "it lacks .* it has .*"),
        (lambda path: save_file(changed(lambda all_of_it: all_of_it.pop("stem.weight")), path), "it lacks 'stem"),
        (
            lambda path: save_file(changed(lambda all_of_it: all_of_it.update({"stem.weight": torch.ones(64)})), path),
            r"'stem\.weight' is of shape \(64,\) rather than \(16, 1, 3, 3\): the weights are of another network",
        ),
    ],
)  # fmt: skip
def test_what_is_no_such_networks_weights_is_refused_in_a_line(
    write: Callable[[Path], object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights"
    write(path)
    config = resolve({**SMALL, "weights": str(path)})
    with pytest.raises(DataError, match=said) as error:
        IMAGES.fetch(config, None)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert capsys.readouterr().out == ""


def test_an_order_of_what_was_never_trained_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"network\.order=l1: nothing is trained yet: give network\.weights, too"):
        resolve({**SMALL, "order": "l1"})


def test_a_trial_is_known_by_what_the_file_holds_and_not_by_where_it_lies(file: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "w.st"
    moved.parent.mkdir()
    shutil.copy(file, moved)
    here, there = (resolve({**SMALL, "weights": str(path)}) for path in (file, moved))
    assert here.identity() == there.identity()
    assert IMAGES.checksum(here, None) == IMAGES.checksum(there, None)
    without = resolve(SMALL)
    assert IMAGES.checksum(here, None).startswith(IMAGES.checksum(without, None))
    save_file(changed(lambda all_of_it: all_of_it["stem.weight"].add_(1)), moved)
    assert IMAGES.checksum(here, None) != IMAGES.checksum(there, None) != IMAGES.checksum(without, None)
    assert resolve({**SMALL, "weights": str(file), "order": "l1"}).identity() != here.identity()


def test_a_relative_path_is_that_of_the_folder_it_was_said_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    config = resolve({**SMALL, "weights": file.name})
    assert config.network.weights == str(file)
    assert resolve(config.as_dict()) == config
    assert ImageTrialConfig.from_dict(config.as_dict()) == config


def test_a_finished_trial_is_extracted_without_the_file(file: Path, tmp_path: Path, digits: ImageArrays) -> None:
    config = resolve({**SMALL, "weights": str(file), "order": "gamma"})
    *_, last = train(config, 0, digits, CPU)
    (tmp_path / "state").mkdir()
    last.save(tmp_path / "state")
    file.unlink()
    IMAGES.export(config, tmp_path / "state" / WEIGHTS, "w050", tmp_path / "out")
    assert load(tmp_path / "out")(torch.zeros(2, *SHAPE)).shape == (2, 10)


@pytest.fixture
def digits() -> ImageArrays:
    """The embedded data set."""
    return dataset("digits").load(None)


def test_the_start_is_evaluated_once_where_it_is_asked_for(file: Path, tmp_path: Path, digits: ImageArrays) -> None:
    config = resolve({**SMALL, "weights": str(file), "evaluates_start": True})
    snapshots = []
    for snapshot in train(config, 0, digits, CPU):
        snapshots.append(snapshot)
        if snapshot.step == 0:
            (tmp_path / "zero").mkdir()
            snapshot.save(tmp_path / "zero")
    assert [snapshot.step for snapshot in snapshots] == [0, 1, 2, 3, 4]
    first, last = snapshots[0].metrics, snapshots[-1].metrics
    assert "train_loss" not in first
    assert {*first} | {"train_loss"} == {*last}
    assert first["ledger/passes"] == first["updates/w100"] == 0
    nested = start(file).eval()
    nested.activate(SubModel(width=1.0))
    with torch.no_grad():
        inputs = (digits.test_images.float() / 255 - digits.mean[0]) / digits.std[0]
        loss = nn.functional.cross_entropy(nested(inputs), digits.test_labels).item()
    assert first["test_loss/w100"] == pytest.approx(loss, rel=1e-4)
    without = [s.metrics for s in train(resolve({**SMALL, "weights": str(file)}), 0, digits, CPU)]
    assert without == [snapshot.metrics for snapshot in snapshots[1:]]
    resumed = list(train(config, 0, digits, CPU, resume_from=tmp_path / "zero"))
    assert [snapshot.step for snapshot in resumed] == [1, 2, 3, 4]
    assert resumed[-1].metrics == last
