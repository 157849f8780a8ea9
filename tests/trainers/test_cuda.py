"""On a card: fused passes beside the layers', captured steps beside launched ones, resume. Skipped without one."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.replicas import check, seeds_of
from trainers.accelerated.cpreresnet import Fusion, fuse
from trainers.building.accelerators import accelerator
from trainers.building.image_networks import build
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.images import cifar10
from trainers.data.images.arrays import ImageArrays
from trainers.devices.cuda import own_stream
from trainers.nested.layers.norms import NormPolicy
from trainers.nested.network import NestedNetwork
from trainers.optimizers.sgd import Sgd
from trainers.submodel import SubModel
from trainers.tasks.images import ImageClassification
from trainers.training.graphs import Graphs
from trainers.training.loop import Snapshot
from trainers.training.state import WEIGHTS
from trainers.trials.images import resolve, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def noise() -> ImageArrays:
    """Images of CIFAR-10's shape that mean nothing."""
    generator = torch.Generator().manual_seed(0)

    def part(count: int) -> tuple[Tensor, Tensor]:
        images = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
        return images, torch.randint(10, (count,), generator=generator)

    return ImageArrays(*part(2000), *part(1000), cifar10.MEAN, cifar10.STD, "noise")


def config(**settings: Any) -> ImageTrialConfig:
    usual = {"batch_size": 64, "updates": 24, "evaluations": 2, "precision": "bf16", "learning_rate": 0.02}
    return resolve({**usual, **settings})


def weights(snapshot: Snapshot, folder: Path) -> dict[str, Tensor]:
    folder.mkdir()
    snapshot.save(folder)
    return load_file(folder / WEIGHTS)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("width", [1.0, 0.6, 0.25])
@pytest.mark.parametrize(
    ("norm", "fusion"),
    [
        pytest.param("instance", Fusion(), id="instance"),
        pytest.param("instance", Fusion(chained=4), id="instance chained 4"),
        pytest.param("instance", Fusion(chained=8), id="instance chained 8"),
        pytest.param("batch", Fusion(), id="batch"),
        pytest.param("batch", Fusion(joined=True), id="batch joined"),
    ],
)
def test_a_fused_pass_errs_no_more_than_the_layers_in_bf16(norm: NormPolicy, fusion: Fusion, width: float) -> None:
    torch.manual_seed(0)
    inputs, labels = torch.randn(128, 3, 32, 32, device=CUDA), torch.randint(10, (128,), device=CUDA)
    inputs = inputs.to(memory_format=torch.channels_last)

    def gradients(precise: bool, fused: bool) -> Tensor:
        nested = build(config(norm=norm), seed=0).train().to(CUDA)
        nested.to(memory_format=torch.channels_last)
        nested.activate(SubModel(width=width))
        kernels = fuse(nested.network, fusion)
        assert kernels is not None
        with torch.autocast("cuda", torch.bfloat16, enabled=not precise):
            outputs = kernels(inputs) if fused else nested.network(inputs)
        F.cross_entropy(outputs.float(), labels).backward()
        return torch.cat([p.grad.flatten().double() for p in nested.parameters() if p.grad is not None])

    allowed, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        exact = gradients(precise=True, fused=False)
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
    fused, layers = gradients(precise=False, fused=True), gradients(precise=False, fused=False)
    assert not torch.equal(fused, layers)
    assert (fused - exact).norm() <= 1.25 * (layers - exact).norm() < 0.25 * exact.norm()
    for _ in range(10):  # programs that did not wait for one another would differ some time
        assert torch.equal(fused, gradients(precise=False, fused=True))


def test_batches_and_losses_are_those_made_on_cpu(noise: ImageArrays) -> None:
    ours, theirs = (
        ImageClassification(noise, 128, 0, device, 4, True, True, accelerator(device).classification)
        for device in (CUDA, torch.device("cpu"))
    )
    for index in (0, 15):  # the second runs across the end of an epoch
        batch, expected = (task.gather(task.selection(index)) for task in (ours, theirs))
        torch.testing.assert_close(batch["inputs"].cpu(), expected["inputs"], rtol=1e-5, atol=1e-5)
        assert torch.equal(batch["targets"].cpu(), expected["targets"])
    logits = torch.randn(128, 10, generator=torch.Generator().manual_seed(0)).bfloat16()
    there, here = logits.double().requires_grad_(), logits.to(CUDA).requires_grad_()
    loss, truth = ours.loss(here, batch), F.cross_entropy(there, expected["targets"])
    loss.backward()
    truth.backward()
    assert abs(loss.item() - truth.item()) < 1e-5
    assert here.grad is not None
    assert there.grad is not None
    assert (here.grad.double().cpu() - there.grad).norm() < 2**-8 * there.grad.norm()


def test_streams_are_given_back() -> None:
    for _ in range(20):
        streams = [own_stream(CUDA) for _ in range(8)]
        assert len({stream.cuda_stream for stream in streams}) == 8
        del streams


def test_a_step_of_sgd_is_torchs() -> None:
    torch.manual_seed(0)
    there = torch.nn.Conv2d(40, 70, 3)
    here = copy.deepcopy(there).to(CUDA, memory_format=torch.channels_last)
    ours = Sgd(here, momentum=0.9, weight_decay=0.01, make_kernel=accelerator(CUDA).sgd)
    theirs = Sgd(there, momentum=0.9, weight_decay=0.01)
    for rate in (0.5, 0.25):
        for mine, true in zip(here.parameters(), there.parameters(), strict=True):
            assert mine.grad is not None
            assert true.grad is not None
            true.grad.normal_()
            mine.grad.copy_(true.grad)
        for optimizer in (ours, theirs):
            optimizer.rate.fill_(rate)
            optimizer.step()
    for mine, true in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(mine.cpu(), true, rtol=1e-5, atol=1e-6)
        assert mine.grad is not None
        assert mine.grad.eq(0).all()


@pytest.mark.parametrize("differentiated", ["in evaluation", "by its input"])
def test_gradients_that_fused_passes_do_not_have_are_the_layers(differentiated: str) -> None:
    nested = build(config(norm="batch"), seed=0).to(CUDA)
    nested.to(memory_format=torch.channels_last).train(differentiated == "by its input")
    inputs = torch.randn(8, 3, 32, 32, device=CUDA).to(memory_format=torch.channels_last)
    inputs.requires_grad_(differentiated == "by its input")
    with torch.autocast("cuda", torch.bfloat16):
        assert torch.equal(nested(inputs), nested.network(inputs))


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "NS", "norm": "instance"},
        {"method": "SortedNet", "norm": "batch"},
        {"method": "LCS-p", "norm": "batch"},
        {"method": "US-distilled", "norm": "batch-recalibrated"},
        {"method": "NS", "norm": "batch-switchable"},
        {"method": "NS", "norm": "group", "deterministic": True},
        {"method": "LCS-l", "norm": "instance", "deterministic": True},
        {"method": "NS", "norm": "batch", "precision": "fp32", "deterministic": True},
        {"method": "Independent", "norm": "batch", "deterministic": True},
    ],
    ids=lambda s: "-".join(map(str, s.values())),
)
def test_captured_launched_and_resumed_a_trial_ends_with_the_same_bits(
    settings: dict[str, Any], noise: ImageArrays, tmp_path: Path
) -> None:
    trial, kept = config(**settings), tmp_path / "kept"
    for snapshot in train(trial, 0, noise, CUDA):
        if snapshot.step == 13:
            kept.mkdir()
            snapshot.save(kept)
    assert snapshot.metrics["replayed_passes"] > (
        0.2 if settings["method"] in ("LCS-p", "US-distilled", "LCS-l") else 0.8
    )
    captured = weights(snapshot, tmp_path / "captured")
    *_, launched = train(trial, 0, noise, CUDA, graphs=Graphs(None))
    assert same(captured, weights(launched, tmp_path / "launched"))
    *_, resumed = train(trial, 0, noise, CUDA, resume_from=kept)
    assert same(captured, weights(resumed, tmp_path / "resumed"))
    accuracies = [name for name in snapshot.metrics if name.startswith("test_")]
    assert [resumed.metrics[name] for name in accuracies] == [snapshot.metrics[name] for name in accuracies]


def test_a_captured_pass_behind_concatenations_reads_its_places_after_many_others(
    noise: ImageArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.nested.ahead._PASSES", 2)
    trial = config(method="LCS-p", norm="batch", network="torchvision:densenet121", deterministic=True)
    *_, captured = train(trial, 0, noise, CUDA)
    assert captured.metrics["replayed_passes"] > 0.2
    *_, launched = train(trial, 0, noise, CUDA, graphs=Graphs(None))
    assert same(weights(captured, tmp_path / "captured"), weights(launched, tmp_path / "launched"))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_seeds_in_shared_launches_end_with_the_bits_that_each_has_alone(norm: NormPolicy, noise: ImageArrays) -> None:
    for width in (1.0, 0.25):
        check(partial(seeds_of, noise, norm, width, 3, 64, CUDA), CUDA)


@pytest.mark.parametrize("settings", [{"method": "NS", "norm": "instance"}, {"method": "LCS-p", "norm": "batch"}])
def test_passes_side_by_side_add_what_they_add_one_after_the_other(
    settings: dict[str, Any], noise: ImageArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, beside = train(config(**settings), 0, noise, CUDA)
    monkeypatch.setattr(NestedNetwork, "separable", lambda network, x: False)
    *_, alone = train(config(**settings), 0, noise, CUDA)
    assert same(weights(beside, tmp_path / "beside"), weights(alone, tmp_path / "alone"))
    beside.metrics.pop("replayed_passes")  # LCS-p's passes are captured once per place where they run side by side
    alone.metrics.pop("replayed_passes")
    assert beside.metrics == alone.metrics
