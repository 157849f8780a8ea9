"""NS, US, LCS and the others against their published definitions: which widths, in which order, what is summed."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import FOUR, tiny
from trainers.building.accelerators import prefers_channels_last
from trainers.building.image_networks import build
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.images.arrays import ImageArrays
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.measuring.timing import expected_trial
from trainers.nested.layers.affine import LineAffine, line_cosine_squared
from trainers.nested.network import NestedNetwork
from trainers.optimizers.sgd import Sgd
from trainers.submodel import SubModel
from trainers.tasks.images import ImageClassification
from trainers.trials.images import IMAGES, train

CPU = torch.device("cpu")


@contextmanager
def watched(ran: list[SubModel]) -> Iterator[None]:
    """Notes the sub-model of every training forward."""
    forward = NestedNetwork.forward

    def noting(self: NestedNetwork, x: Tensor) -> Tensor:
        if self.training and len(x) > 1:
            ran.append(self.active)
        return forward(self, x)

    with patch.object(NestedNetwork, "forward", noting):
        yield


def first_step(config: ImageTrialConfig, data: ImageArrays) -> tuple[list[SubModel], dict[str, Tensor]]:
    """The widths of the first optimizer step and the gradients it took."""
    ran: list[SubModel] = []
    gradients: dict[str, Tensor] = {}
    step = Sgd.step

    def noting(self: Sgd) -> None:
        for index, parameter in enumerate(self._parameters):
            assert parameter.grad is not None
            gradients[str(index)] = parameter.grad.clone()
        step(self)

    with watched(ran), patch.object(Sgd, "step", noting):
        next(train(config, 0, data, CPU))
    return ran, gradients


def by_hand(
    config: ImageTrialConfig, data: ImageArrays, widths: list[SubModel], distilled: bool = False
) -> list[Tensor]:
    """The gradient of the summed losses of `widths` by plain autograd; the first of them teaches when `distilled`."""
    last = prefers_channels_last(config.norm.policy, config.precision.activations, CPU)
    layout = torch.channels_last if last else torch.contiguous_format  # the other rounds otherwise
    net = build(config, 0).to(memory_format=layout)
    images = config.task
    task = ImageClassification(data, images.batch_size, 0, CPU, images.crop_padding, images.flip, last)
    batch = task.gather(task.selection(0))
    total, teacher = torch.zeros(()), None
    net.train()
    for width in widths:
        net.activate(width)
        out = net(batch["inputs"])
        if teacher is None or not distilled:
            total = total + F.cross_entropy(out, batch["targets"])
        else:
            total = total - (teacher.softmax(1) * out.log_softmax(1)).sum(1).mean()
        teacher = out.detach() if teacher is None else teacher
    net.zero_grad(set_to_none=False)
    total.backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]


def test_ns_sums_every_width_in_descending_order_in_one_step(digits: ImageArrays) -> None:
    config = tiny(method="NS", norm="batch-switchable")
    ran, gradients = first_step(config, digits)
    assert ran == list(FOUR.targets[::-1])
    for ours, exact in zip(gradients.values(), by_hand(config, digits, ran), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["US", "LCS-p"])
def test_us_and_lcs_p_sum_the_sandwich_without_distillation(method: str, digits: ImageArrays) -> None:
    config = tiny(method=method)
    ran, gradients = first_step(config, digits)
    assert ran[:2] == [FOUR.smallest, FOUR.largest]  # LCS's order
    assert len(ran) == 4
    assert all(FOUR.smallest < width < FOUR.largest for width in ran[2:])
    for ours, exact in zip(gradients.values(), by_hand(config, digits, ran), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-6)


def test_us_in_place_distillation_teaches_the_others_with_the_detached_largest(digits: ImageArrays) -> None:
    config = tiny(method="US-distilled")
    ran, gradients = first_step(config, digits)
    assert ran[:2] == [FOUR.largest, FOUR.smallest]  # the teacher first, as in slimmable_networks
    for ours, exact in zip(gradients.values(), by_hand(config, digits, ran, distilled=True), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-6)
    plain = first_step(tiny(method="US"), digits)[1]
    assert any(not torch.allclose(plain[name], gradients[name]) for name in plain)


def test_a_teacher_that_is_not_among_the_trained_runs_forward_only_and_is_counted(digits: ImageArrays) -> None:
    config = tiny(sampler="fixed(w025)", distillation="in-place", updates=3, evaluations=1)
    ran: list[SubModel] = []
    with watched(ran):
        *_, last = train(config, 0, digits, CPU)
    assert ran == [FOUR.largest, FOUR.smallest] * 3
    alone = [*train(tiny(sampler="fixed(w025)", updates=3, evaluations=1), 0, digits, CPU)][-1]
    full = [*train(tiny(sampler="fixed(largest)", updates=3, evaluations=1), 0, digits, CPU)][-1]
    expected = alone.metrics["ledger/macs"] + full.metrics["ledger/macs"] / 3
    assert last.metrics["ledger/macs"] == pytest.approx(expected, rel=1e-9)
    assert (last.metrics["ledger/passes"], last.metrics["updates/w100"]) == (3, 0)
    assert expected_trial(IMAGES, config).macs == pytest.approx(expected)


def test_lcs_l_adds_the_squared_cosine_of_its_endpoints(digits: ImageArrays) -> None:
    """Between endpoints that differ, the penalty's gradient is all that a step with it has more than one without."""
    config = tiny(method="LCS-l")
    assert (config.norm.affine, config.norm.penalty, config.method.objective) == ("line", 1.0, "sum")
    assert tiny(method="LCS-p").norm.penalty == 0.0
    start = LineAffine.__init__

    def parted(self: LineAffine, channels: int, lattice: Lattice, dimension: str | None) -> None:
        start(self, channels, lattice, dimension)
        self.end.weight.data.copy_(torch.linspace(0.2, 1.8, channels))

    with patch.object(LineAffine, "__init__", parted):
        ran, with_penalty = first_step(tiny(method="LCS-l", line_penalty=3.0), digits)
        same, without = first_step(tiny(method="LCS-l", line_penalty=0.0), digits)
        net = build(config, 0)
    assert ran == same
    assert len(ran) == 4
    (3.0 * line_cosine_squared(net)).backward()
    expected = [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]
    assert sum(bool(gradient.any()) for gradient in expected) > 0
    for name, gradient in zip(with_penalty, expected, strict=True):
        torch.testing.assert_close(with_penalty[name] - without[name], gradient, rtol=1e-3, atol=1e-5)


def test_extracted_trains_the_largest_alone_and_tuning_gives_each_target_its_own_network(digits: ImageArrays) -> None:
    *_, plain = train(tiny(method="Extracted", updates=4, evaluations=1), 0, digits, CPU)
    assert [plain.metrics[f"updates/{t.label}"] for t in FOUR] == [0, 0, 0, 4]
    *_, tuned = train(tiny(method="Extracted-tuned", updates=4, extract_at=0.5, evaluations=1), 0, digits, CPU)
    assert [tuned.metrics[f"updates/{t.label}"] for t in FOUR] == [2, 2, 2, 4]
    assert expected_trial(IMAGES, tiny(method="Extracted-tuned", updates=32)).all_passes == pytest.approx(16 + 16 * 4)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"affine": "line", "norm": "batch-switchable"}, "another norm"),
        ({"affine": "line", "method": "Independent"}, "sharing=separate"),
        ({"method": "Independent", "distillation": "in-place"}, "sharing=nested"),
        ({"depths": [1, 2]}, "no optional blocks"),
        ({"network": "mobilenet_v2", "depths": [1, 2]}, "10 optional blocks"),
        ({"network": "mobilenet_v2", "depths": [0, 10]}, "depths="),
        ({"distillation": "in-palce"}, "'in-place'"),
        ({"extract_at": 2}, "from 0 to 1"),
    ],
)
def test_combinations_that_cannot_be_are_refused(settings: dict[str, object], hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny(**settings)
    assert hint in str(caught.value)
