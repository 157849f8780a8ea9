"""Tied parameters and pretrained weights through building, saving and resuming."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.conftest import FOUR, tiny
from trainers.building.image_networks import build, multiply
from trainers.building.initial_weights import initialise, load_pretrained
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.nested.exchange import nest
from trainers.nested.separate import SeparateNetworks
from trainers.optimizers.adamw import AdamW
from trainers.training.ledger import UpdateLedger
from trainers.training.state import WEIGHTS, TrainingState
from trainers.weights import load_weights, named_weights

ONE, HALVES = Lattice.product(width=(1.0,)), Lattice.product(width=(0.5, 1.0))


class Tied(nn.Module):
    """A table of tokens that is the classifier's, too."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner, self.classifier = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9)
        self.classifier.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.inner(self.table(tokens)))
        return out


def state(seed: int) -> TrainingState:
    plain = Tied()
    initialise(plain, seed)
    separate = SeparateNetworks({ONE.largest: plain}, ONE)
    return TrainingState(separate, lambda network: AdamW(network, 0.1), UpdateLedger(ONE))


def stepped(of: TrainingState) -> None:
    of.network(torch.arange(9)).square().sum().backward()
    of.optimizer.rate.fill_(0.1)
    of.optimizer.step()


def test_tied_weights_are_saved_once_restored_tied_and_trained_on_as_one(tmp_path: Path) -> None:
    first, second = state(0), state(1)
    stepped(first)
    first.save(tmp_path)
    saved = load_file(tmp_path / WEIGHTS)
    assert "networks.w100.table.weight" in saved
    assert "networks.w100.classifier.weight" not in saved
    second.restore(tmp_path)
    stepped(first)
    stepped(second)
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[name]), name
    plain = second.network.networks["w100"]
    assert isinstance(plain, Tied)
    assert plain.table.weight is plain.classifier.weight


class TiedConvolutions(nn.Module):
    """Two blocks of one kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.classifier = nn.Linear(8, 5)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(self.stem(x).relu()).relu())
        logits: Tensor = self.classifier(y.mean((2, 3)))
        return logits


def gradients(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    network(x).square().sum().backward()
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


def test_what_is_tied_stays_so_in_a_nested_network_and_in_what_is_cut_out_of_it(tmp_path: Path) -> None:
    plain = TiedConvolutions()
    initialise(plain, 0)
    x = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    nested = nest(copy.deepcopy(plain), HALVES, "batch", (3, 9, 9), frozenset({"classifier"}))
    first, second = (nested.network.get_submodule(name) for name in ("first", "second"))
    assert first.weight is second.weight
    own = gradients(nested, x)
    for name, gradient in gradients(plain, x).items():
        assert torch.equal(own[f"network.{name}"], gradient), name
    nested.zero_grad(set_to_none=False)
    half = HALVES.smallest
    nested.activate(half)
    cut = nested.extract(half)
    assert isinstance(cut, TiedConvolutions)
    assert cut.first.weight is cut.second.weight
    inside, whole = gradients(cut, x)["first.weight"], gradients(nested, x)["network.first.weight"]
    assert torch.equal(whole[:4, :4], inside)
    assert not whole[4:].any()
    assert not whole[:, 4:].any()
    save_file(named_weights(nested), tmp_path / "weights.safetensors")  # refuses what shares memory
    optimizer = AdamW(nested, 0.1)
    assert "first/network.first.weight" in optimizer.state()
    assert "first/network.second.weight" not in optimizer.state()


def test_weights_with_a_name_too_few_or_too_many_are_refused() -> None:
    values = named_weights(Tied())
    load_weights(Tied(), values)
    with pytest.raises(RuntimeError, match="Missing"):
        load_weights(Tied(), {name: values[name] for name in values if name != "table.weight"})
    with pytest.raises(RuntimeError, match="Unexpected"):
        load_weights(Tied(), {**values, "more": torch.zeros(1)})


@pytest.mark.parametrize("name", ["table.weight", "classifier.weight"])
def test_a_tied_weight_that_was_loaded_by_one_of_its_names_is_not_drawn_anew(name: str) -> None:
    network, values = Tied(), torch.full((9, 4), 0.25)
    loaded = load_pretrained(network, {name: values})
    assert loaded == {"table.weight", "classifier.weight"}
    initialise(network, 0, loaded)
    drawn = Tied()
    initialise(drawn, 0)
    assert torch.equal(network.table.weight, values)
    assert torch.equal(network.inner.weight, drawn.inner.weight)
    assert not torch.equal(drawn.table.weight, values)


def test_a_network_is_built_from_pretrained_weights_and_the_seed_draws_the_rest(tmp_path: Path) -> None:
    values = {
        "stem.weight": torch.full((16, 1, 3, 3), 0.5),
        "norm.0.weight": torch.full((256,), 2.0),
        "norm.0.running_mean": torch.full((256,), 3.0),
    }
    save_file(values, tmp_path / "pretrained.safetensors")
    given = load_file(tmp_path / "pretrained.safetensors")
    usual, nested = (
        build(tiny(norm="batch"), 0, weights).extract(FOUR.largest).state_dict() for weights in (None, given)
    )
    for name, tensor in nested.items():
        assert torch.equal(tensor, values.get(name, usual[name])), name
        assert name not in values or not torch.equal(tensor, usual[name])
    separate = multiply(build(tiny(norm="batch"), 0, given), 0, given.keys())
    assert torch.equal(separate.networks["w050"].state_dict()["stem.weight"], values["stem.weight"][:8])


@pytest.mark.parametrize(
    ("weights", "hint"),
    [
        ({"inner.wieght": torch.zeros(4, 4)}, "did you mean 'inner.weight'"),
        ({"inner.weight": torch.zeros(4, 5)}, r"\(4, 5\) rather than \(4, 4\)"),
    ],
)
def test_pretrained_weights_of_another_network_are_refused(weights: dict[str, Tensor], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        load_pretrained(Tied(), weights)
