"""Passes that read parameters ahead do what layers do that read for themselves, whatever happens in between."""

import copy
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.trainers.test_nested_contract import images, randomised
from trainers.lattice import Lattice
from trainers.nested.ahead import ReadsAhead
from trainers.nested.exchange import nest
from trainers.nested.layers.norms import NormPolicy
from trainers.nested.network import NestedNetwork, unchanged
from trainers.submodel import SubModel

WIDTHS = Lattice.product(width=(0.25, 0.5, 1.0))


class Branches(nn.Module):
    """A concatenation, behind which places are read, and a grouped convolution, with every kind of layer that reads."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 16, 1, bias=False)
        self.norm, self.act = nn.BatchNorm2d(32), nn.ReLU()
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.mix, self.second_norm = nn.Conv2d(32, 24, 1), nn.BatchNorm2d(24)
        self.layer_norm, self.head = nn.LayerNorm(24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(torch.cat([self.first(x), self.second(x)], dim=1)))
        x = self.act(self.second_norm(self.mix(self.depthwise(x))))
        return self.head(self.layer_norm(x.mean((2, 3))))


def branches(norm: NormPolicy = "batch", affine: str = "shared") -> NestedNetwork:
    plain = randomised(Branches())
    return nest(plain, WIDTHS, norm, (3, 8, 8), frozenset({"head"}), affine=affine)


def forward(net: NestedNetwork, ahead: bool) -> Callable[[Tensor], Tensor]:
    return net if ahead else net.network


def trained(net: NestedNetwork, ahead: bool, sub_models: list[SubModel]) -> dict[str, Tensor]:
    """Outputs, gradients and buffers after passes that add up."""
    found = {}
    for place, sub_model in enumerate(sub_models):
        net.activate(sub_model)
        out = forward(net, ahead)(images(4, size=8))
        out.square().sum().backward()
        found[f"output {place}"] = out.detach()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
    return {**found, **gradients, **dict(net.named_buffers())}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


def reads_ahead(net: NestedNetwork) -> bool:
    """Whether a pass is under way that has read for a layer, or has left what takes memory."""
    layers = [layer for layer in net.modules() if isinstance(layer, ReadsAhead)]
    held = [layer._ahead for layer in layers if layer._ahead is not None]
    return any(ahead.of.thread or any(each is not None and each.grad_fn for each in ahead.values) for ahead in held)


@contextmanager
def during(net: NestedNetwork, do: Callable[[], object]) -> Iterator[None]:
    """Something done in the middle of every pass inside."""
    handle = net.network.get_submodule("mix").register_forward_pre_hook(lambda *_: do())
    yield
    handle.remove()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("norm", "affine"), [("batch", "shared"), ("batch", "line"), ("layer", "shared")])
def test_outputs_gradients_and_statistics_are_those_of_layers_that_read_for_themselves(
    norm: NormPolicy, affine: str, layout: torch.memory_format
) -> None:
    one = branches(norm, affine).to(memory_format=layout)
    other = copy.deepcopy(one)
    passes = [*WIDTHS, *WIDTHS, WIDTHS.smallest]
    assert_equal(trained(one, True, passes), trained(other, False, passes))


def test_a_second_pass_reads_ahead_and_leaves_nothing() -> None:
    net, seen = branches(), []
    with during(net, lambda: seen.append(reads_ahead(net))):
        for _ in range(3):
            net(images(2, size=8))
        net.activate(WIDTHS.smallest)
        net(images(2, size=8))
    assert seen == [False, True, True, False]
    assert not reads_ahead(net)


def test_a_pass_that_fails_leaves_nothing() -> None:
    net = branches()
    net(images(2, size=8))

    def fail() -> None:
        raise KeyboardInterrupt

    with during(net, fail), pytest.raises(KeyboardInterrupt):
        net(images(2, size=8))
    assert not reads_ahead(net)


@pytest.mark.parametrize("sub_model", WIDTHS, ids=lambda sub_model: sub_model.label)
@pytest.mark.parametrize("way", ["in place", "data in place", "data replaced", "loaded and assigned", "another dtype"])
def test_weights_changed_in_any_way_are_read(sub_model: SubModel, way: str) -> None:
    net = branches().eval()
    net.activate(sub_model)
    x = images(2, size=8)
    with torch.no_grad():
        net(x), net(x)
        if way == "in place":
            for parameter in net.parameters():
                parameter.mul_(2)
        elif way == "data in place":
            for parameter in net.parameters():
                parameter.data.mul_(2)
        elif way == "data replaced":
            for parameter in net.parameters():
                parameter.data = parameter.data * 2
        elif way == "loaded and assigned":
            net.load_state_dict({name: 2 * values for name, values in net.state_dict().items()}, assign=True)
        else:
            net.double()
            x = x.double()
        assert torch.equal(net(x), net.network(x))
        assert torch.equal(net(x), net.network(x))


def test_statistics_that_are_replaced_are_moved() -> None:
    net = branches()
    net.activate(WIDTHS.smallest)
    other = copy.deepcopy(net)
    for each, ahead in ((net, True), (other, False)):
        for _ in range(2):
            forward(each, ahead)(images(4, size=8))
        for norm in (each.network.norm, each.network.second_norm):
            norm.running_mean = torch.full_like(norm.running_mean, 0.5)
        forward(each, ahead)(images(4, size=8))
    assert_equal(dict(net.named_buffers()), dict(other.named_buffers()))


@pytest.mark.parametrize("set_to_none", [False, True])
def test_gradients_cleared_between_forward_and_backward_are_those_of_this_pass(set_to_none: bool) -> None:
    net = branches()
    net.activate(WIDTHS.smallest)
    expected = {}
    for _ in range(3):
        out = net(images(4, size=8)).square().sum()
        net.zero_grad(set_to_none=set_to_none)
        out.backward()
        found = {
            name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None
        }
        expected = expected or found
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_a_graph_that_is_kept_is_gone_through_twice() -> None:
    net = branches()
    net(images(4, size=8))
    loss = net(images(4, size=8)).square().sum()
    loss.backward(retain_graph=True)
    once = {name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None}
    loss.backward()
    for name, parameter in net.named_parameters():
        if name in once:
            assert torch.equal(parameter.grad, 2 * once[name])


def test_passes_of_all_modes_follow_one_another() -> None:
    net = branches()
    other = copy.deepcopy(net)
    modes = [torch.inference_mode, torch.no_grad, torch.enable_grad]
    for sub_model in (WIDTHS.smallest, WIDTHS.largest, WIDTHS.smallest):
        for mode in [*modes, *modes[::-1], *modes]:
            outputs = []
            for each, ahead in ((net, True), (other, False)):
                each.activate(sub_model)
                for _ in range(2):
                    with mode():
                        out = forward(each, ahead)(images(4, size=8))
                    if mode is torch.enable_grad:
                        out.square().sum().backward()
                    with torch.no_grad():
                        for parameter in each.parameters():
                            parameter.add_(0.01)
                outputs.append(out)
            assert torch.equal(*outputs)
    assert_equal(dict(net.named_buffers()), dict(other.named_buffers()))
    for (name, one), (_, two) in zip(net.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(one.grad, two.grad), name


def test_vectors_of_several_types_keep_theirs() -> None:
    net = branches().eval().bfloat16()
    net.network.norm.float()
    net.activate(WIDTHS.smallest)
    with torch.no_grad():
        expected = net.network(images(2, size=8).bfloat16())
        for _ in range(3):
            assert torch.equal(net(images(2, size=8).bfloat16()), expected)


def test_what_is_frozen_has_no_gradient_from_the_next_pass_on() -> None:
    net = branches()
    net.activate(WIDTHS.smallest)
    net(images(4, size=8))
    net.network.mix.weight.requires_grad_(False)
    net(images(4, size=8)).sum().backward()
    assert net.network.mix.weight.grad is None
    assert net.network.mix.bias.grad is not None
    net.requires_grad_(False)
    assert not net(images(4, size=8)).requires_grad


def test_gradients_of_inputs_alone_leave_the_parameters_theirs() -> None:
    net = branches()
    net(images(4, size=8))
    x = images(4, size=8).requires_grad_()
    (of_input,) = torch.autograd.grad(net(x).square().sum(), x)
    assert of_input.abs().sum() > 0
    assert all(parameter.grad is None for parameter in net.parameters())


def test_another_thread_that_evaluates_meanwhile_takes_no_gradient_away() -> None:
    net = branches()
    other = copy.deepcopy(net)
    for each in (net, other):
        each(images(4, size=8))
    training, evaluating, done = threading.get_ident(), threading.Event(), threading.Event()

    def evaluate() -> None:
        with torch.no_grad():
            net(images(2, size=8))

    thread = threading.Thread(target=evaluate)

    def meet() -> None:
        if threading.get_ident() == training:
            thread.start()
            assert evaluating.wait(60)
        else:
            evaluating.set()
            assert done.wait(60)

    with during(net, meet):
        loss = net(images(4, size=8)).square().sum()
        done.set()
        thread.join()
    loss.backward()
    other(images(4, size=8)).square().sum().backward()
    for (name, one), (_, two) in zip(net.named_parameters(), other.named_parameters(), strict=True):
        assert one.grad is not None, name
        assert torch.equal(one.grad, two.grad), name


def test_a_layer_that_meets_another_number_of_channels_reads_for_itself() -> None:
    net = branches().eval()
    with torch.no_grad():
        net(images(2, size=8))
        handle = net.network.head.register_forward_pre_hook(lambda _, inputs: inputs[0][:, :12])
        expected = net.network(images(2, size=8))
        assert torch.equal(net(images(2, size=8)), expected)
        handle.remove()
        assert not torch.equal(net(images(2, size=8)), expected)


def test_so_many_kinds_of_passes_are_known_that_any_width_can_be_drawn() -> None:
    net = branches().eval()
    with torch.no_grad():
        for width in range(100, 300):
            net.activate(SubModel(width=width / 300))
            assert torch.equal(net(images(1, size=8)), net.network(images(1, size=8)))
    assert len(net._passes._known) <= 64


class Copies(TorchDispatchMode):
    """Counts the operations that copy what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket in (torch.ops.aten.index_select, torch.ops.aten.copy_, torch.ops.aten.clone)
        return func(*args, **(kwargs or {}))


def copies(net: NestedNetwork) -> int:
    with Copies() as found:
        net(images(2, size=8))
    return found.count


class _Reads(TorchDispatchMode):
    """Notes the memory that operations take from elsewhere, as a graph captured of them would for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[StorageWeakRef] = []
        self._made: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = {tensor.untyped_storage()._cdata for tensor in self._made}
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in made:
                self.taken.append(StorageWeakRef(tensor.untyped_storage()))
        out = func(*args, **(kwargs or {}))
        self._made += [tensor for tensor in tree_leaves(out) if isinstance(tensor, Tensor)]
        return out


@pytest.mark.parametrize("learning", [True, False])
def test_what_a_captured_pass_reads_stays_for_as_long_as_the_network(
    learning: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes are forgotten, and copies for evaluations given up; a graph goes on reading where it has read."""
    monkeypatch.setattr("trainers.nested.ahead._PASSES", 2)
    net, inputs, (first, *others) = branches(), images(4, size=8), WIDTHS
    net.train(learning)

    def passed(sub_model: SubModel) -> None:
        net.activate(sub_model)
        with torch.set_grad_enabled(learning):
            out = net(inputs)
        if learning:
            out.square().sum().backward()

    for _ in range(3):
        passed(first)
    with monkeypatch.context() as patch, _Reads() as reads:
        patch.setattr("trainers.nested.ahead.capturing", lambda: True)
        passed(first)
    kept = list(reads.taken)
    reads._made.clear()
    for other in others:
        passed(other)
        passed(other)
    gc.collect()
    assert kept
    assert not [storage for storage in kept if storage.expired()]


@torch.no_grad()
def test_where_nothing_is_changed_weights_are_copied_for_the_first_pass_only() -> None:
    net = branches().eval()
    net.activate(WIDTHS.smallest)
    _, second, third = (copies(net) for _ in range(3))
    assert second == third > 0
    with unchanged(net):
        assert copies(net) == third
        with unchanged(net):
            assert copies(net) == 0
        assert copies(net) == 0
        net.activate(WIDTHS.largest)
        net(images(2, size=8)), net(images(2, size=8))
        net.activate(WIDTHS.smallest)
        assert copies(net) > 0
        assert copies(net) == 0
    assert copies(net) == third


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_was_changed_between_evaluations_or_by_training_amid_one_is_read(mode: Callable[[], Any]) -> None:
    net = branches().eval()
    net.activate(WIDTHS.smallest)

    def evaluated() -> None:
        with mode():
            for _ in range(3):
                assert torch.equal(net(images(2, size=8)), net.network(images(2, size=8)))

    def step() -> None:
        net(images(2, size=8)).sum().backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.data.add_(0.1)

    for _ in range(2):
        with unchanged(net):
            evaluated()
            step()
            evaluated()
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.data.mul_(1.5)


@torch.no_grad()
def test_an_evaluation_that_fails_ends_what_was_said_of_it() -> None:
    net = branches().eval()
    net.activate(WIDTHS.smallest)
    net(images(2, size=8)), net(images(2, size=8))
    with pytest.raises(RuntimeError), unchanged(net):
        net(images(2, size=8)).view(7)
    for parameter in net.parameters():
        parameter.mul_(2)
    assert torch.equal(net(images(2, size=8)), net.network(images(2, size=8)))
