"""Our optimizers beside torch's own, the groups that parameters are parted into, and the shapes of a schedule."""

import copy
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny
from trainers.data.datasets import dataset
from trainers.errors import ConfigError
from trainers.optimizers.adamw import AdamW
from trainers.optimizers.groups import GroupRules, parameter_groups
from trainers.optimizers.optimizer import Optimizer
from trainers.optimizers.sgd import Sgd
from trainers.training.loop import fit
from trainers.training.schedule import SHAPES, Schedule
from trainers.trials.images import assemble
from trainers.weights import named_weights


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3))


def gradients(net: nn.Module, step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(parameter.shape, generator=generator) for parameter in net.parameters()]


def stepped(net: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        for parameter, gradient in zip(net.parameters(), gradients(net, step), strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(gradient)
        optimizer.rate.fill_(0.1 / (step + 1))
        optimizer.step()
        assert all(parameter.grad.eq(0).all() for parameter in net.parameters() if parameter.grad is not None)


PAIRS: dict[str, tuple[Callable[[nn.Module], Optimizer], Callable[..., Any], dict[str, Any]]] = {
    "sgd": (lambda net: Sgd(net, 0.9, 0.01), torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    "adamw": (lambda net: AdamW(net, 0.01, (0.8, 0.99), 1e-6), torch.optim.AdamW,
              {"betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.01}),
}  # fmt: skip


MAKERS: dict[str, Callable[..., Optimizer]] = {"sgd": partial(Sgd, momentum=0.0), "adamw": AdamW}


@pytest.mark.parametrize("name", PAIRS)
def test_ten_steps_are_those_of_torchs_own_optimizer(name: str) -> None:
    make, torchs, arguments = PAIRS[name]
    ours, theirs = network(), network()
    reference = torchs(theirs.parameters(), lr=torch.tensor(0.0), fused=True, **arguments)
    for step in range(10):
        for parameter, gradient in zip(theirs.parameters(), gradients(theirs, step), strict=True):
            parameter.grad = gradient
        reference.param_groups[0]["lr"].fill_(0.1 / (step + 1))
        reference.step()
    stepped(ours, make(ours), range(10))
    for mine, exact in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, exact)


@pytest.mark.parametrize("name", PAIRS)
def test_from_a_copied_state_steps_go_on_bit_for_bit(name: str) -> None:
    make = PAIRS[name][0]
    net = network()
    optimizer = make(net)
    stepped(net, optimizer, range(4))
    other = copy.deepcopy(net)
    resumed = make(other)
    kept = {key: tensor.clone() for key, tensor in optimizer.state().items()}
    assert resumed.state().keys() == kept.keys()
    for key, tensor in resumed.state().items():
        tensor.copy_(kept[key])
    stepped(net, optimizer, range(4, 8))
    stepped(other, resumed, range(4, 8))
    assert all(torch.equal(one, same) for one, same in zip(net.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", PAIRS)
def test_frozen_parameters_are_neither_moved_nor_decayed_and_have_no_state(name: str) -> None:
    net = network()
    net[0].weight.requires_grad_(False)
    before = net[0].weight.clone()
    optimizer = PAIRS[name][0](net)
    stepped(net, optimizer, range(3))
    assert torch.equal(net[0].weight, before)
    assert net[0].weight.grad is None
    assert not any("0.weight" in key for key in optimizer.state())
    assert any("0.bias" in key for key in optimizer.state())


def test_an_adamw_step_without_a_gradient_decays_and_goes_on_by_what_the_moments_hold() -> None:
    net = nn.Linear(1, 1, bias=False).double()
    optimizer = AdamW(net, weight_decay=0.5)
    optimizer.rate = torch.tensor(0.1, dtype=torch.float64)
    nn.init.ones_(net.weight)
    optimizer.step()
    assert net.weight.item() == pytest.approx(1 - 0.1 * 0.5)  # no moment yet
    assert net.weight.grad is not None
    net.weight.grad.fill_(1.0)
    optimizer.step()
    before, first = net.weight.item(), optimizer.state()["first/weight"].item()
    optimizer.step()
    assert optimizer.state()["first/weight"].item() == pytest.approx(0.9 * first)
    assert net.weight.item() < before * (1 - 0.1 * 0.5) - 1e-3
    assert optimizer.state()["steps"].tolist() == [3.0]


@pytest.mark.parametrize("name", PAIRS)
def test_groups_decay_matrices_alone_and_multiply_the_rate_by_pattern(name: str) -> None:
    rules = GroupRules("matrices", (("2.*", 0.0), ("*.bias", 3.0)))
    net = network()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimizer = MAKERS[name](net, weight_decay=0.5, rules=rules)
    optimizer.rate.fill_(0.1)
    optimizer.step()  # without gradients: what moves has decayed
    moved = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"0.weight"}
    assert len(optimizer.state()) == len(before) * (1 if name == "sgd" else 2) + (name == "adamw")

    plain, multiplied = network(), network()
    for each, given in ((plain, GroupRules()), (multiplied, GroupRules(rates=(("*.bias", 3.0),)))):
        stepped(each, MAKERS[name](each, weight_decay=0.0, rules=given), range(1))
    start = network()
    for key, value in start.state_dict().items():
        one, other = plain.state_dict()[key] - value, multiplied.state_dict()[key] - value
        torch.testing.assert_close(other, one * (3 if key.endswith("bias") else 1))


def test_a_pattern_finds_a_plain_networks_name_wherever_it_is_part_of_another() -> None:
    held = nn.ModuleDict({"w050": network()})
    groups = parameter_groups(held, 0.1, GroupRules(rates=(("2.*", 4.0),)))
    assert {group.multiple: group.names for group in groups}[4.0] == ("w050.2.weight", "w050.2.bias")


@pytest.mark.parametrize(
    ("rules", "hint"),
    [
        (lambda: GroupRules("matrixes"), "did you mean 'matrices'"),  # type: ignore[arg-type]
        (lambda: GroupRules(rates=(("head.*", -1.0),)), "0 or more"),
        (lambda: parameter_groups(network(), 0.0, GroupRules(rates=(("head.*", 2.0),))), "'head.*' matches no"),
    ],
)
def test_rules_that_cannot_be_are_refused_in_one_line(rules: Callable[[], object], hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules()
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "shares"), [("cosine", [1.0, 0.5, 0.0]), ("linear", [1.0, 0.5, 0.0]), ("constant", [1.0, 1.0, 1.0])]
)
def test_every_schedule_warms_up_and_then_goes_along_its_shape(shape: str, shares: list[float]) -> None:
    schedule = Schedule(shape, warmup=0.2)
    assert [schedule.share(progress) for progress in (0.0, 0.05, 0.1)] == pytest.approx([0.0, 0.25, 0.5])
    assert [schedule.share(progress) for progress in (0.2, 0.6, 1.0)] == pytest.approx(shares)
    assert Schedule(shape).share(0.0) == 1.0
    assert Schedule(shape, warmup=1.0).share(1.0) == 1.0
    staged = Schedule(shape, warmup=0.0, stages=2)
    assert staged.share(0.1) == staged.share(0.4) == 1.0


def test_a_quarter_of_the_way_the_shapes_differ() -> None:
    assert {shape: round(Schedule(shape).share(0.25), 6) for shape in SHAPES} == {
        "cosine": 0.853553, "linear": 0.75, "constant": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("given", [{"shape": "cosinus"}, {"warmup": 1.5}, {"stages": -1}])
def test_a_schedule_that_cannot_be_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Schedule(**given)


def trained(**settings: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a trial on the digits before and after training, by name."""
    config = tiny(updates=6, evaluations=1, method="NS", **settings)
    parts = assemble(config, 0, dataset("digits").load(None), torch.device("cpu"))
    before = {name: weight.clone() for name, weight in named_weights(parts.network).items()}
    *_, last = fit(parts.recipe, 0, parts.task, parts.network, parts.macs, torch.device("cpu"))
    assert last.final
    assert not last.diverged
    return before, named_weights(parts.network)


SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd"},
    "momentum": {"momentum": 0.5},
    "decay": {"weight_decay": 0.1},
    "decay of matrices": {"weight_decay": 0.1, "decayed": "matrices"},
    "rates": {"rates": [["classifier.*", 3]]},
    "clipping": {"clip_norm": 0.1},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.001},
    "adamw beta1": {"optimizer": "adamw", "learning_rate": 0.001, "beta1": 0.5},
    "adamw beta2": {"optimizer": "adamw", "learning_rate": 0.001, "beta2": 0.5},
    "adamw epsilon": {"optimizer": "adamw", "learning_rate": 0.001, "epsilon": 0.1},
    "adamw decay": {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.5},
}


def test_every_setting_of_an_optimizer_reaches_the_weights() -> None:
    ends = {name: trained(**settings)[1] for name, settings in SETTINGS.items()}
    flat = {name: torch.cat([weight.double().flatten() for weight in end.values()]) for name, end in ends.items()}
    for one, other in combinations(flat, 2):
        assert not torch.equal(flat[one], flat[other]), (one, other)


def test_what_a_config_freezes_stays_and_the_rest_is_trained() -> None:
    before, after = trained(optimizer="adamw", frozen=["stem.*", "blocks.0.*"])
    still = {name for name in before if torch.equal(before[name], after[name])}
    expected = {name for name in before if "stem." in name or "blocks.0." in name}
    assert still == expected
    assert len(expected) > 2


def test_a_trial_of_adamw_is_that_of_torchs_own_around_the_same_gradients() -> None:
    """One sub-model, one group at twice the rate, clipped: every number of the config arrives where it should."""
    config = tiny(
        optimizer="adamw", learning_rate=0.01, beta1=0.8, beta2=0.9, epsilon=1e-4, weight_decay=0.3, clip_norm=0.5,
        decayed="matrices", rates=[["classifier.*", 2]], widths=[1.0], updates=4, evaluations=1,
    )  # fmt: skip
    data, cpu = dataset("digits").load(None), torch.device("cpu")
    ours = assemble(config, 0, data, cpu)
    list(fit(ours.recipe, 0, ours.task, ours.network, ours.macs, cpu))
    theirs = assemble(config, 0, data, cpu)
    named = dict(theirs.network.named_parameters())
    parted: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        parted.setdefault(("classifier." in name, parameter.ndim >= 2), []).append(parameter)
    groups = [
        {"params": parameters, "twice": twice, "weight_decay": 0.3 * many}
        for (twice, many), parameters in parted.items()
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.8, 0.9), eps=1e-4, fused=True)
    theirs.network.train()
    for step in range(4):
        optimizer.zero_grad()
        batch = theirs.task.gather(theirs.task.selection(step))
        theirs.task.loss(theirs.network(*theirs.task.inputs(batch)), batch).backward()
        nn.utils.clip_grad_norm_(named.values(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = theirs.recipe.learning_rate((step + 0.5) / 4) * (2 if group["twice"] else 1)
        optimizer.step()
    for name, weight in named_weights(ours.network).items():
        torch.testing.assert_close(weight, named_weights(theirs.network)[name], rtol=1e-5, atol=1e-6)
