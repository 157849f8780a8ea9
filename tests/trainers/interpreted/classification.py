"""Batches and losses of the kernels beside torch's own."""

import torch
import torch.nn.functional as F

from trainers.accelerated.accelerator import classification
from trainers.accelerated.triton_classification import CrossEntropy
from trainers.data.images.arrays import ImageArrays
from trainers.tasks.images import ImageClassification

CPU = torch.device("cpu")


def batches(size: tuple[int, int, int], padding: int, flip: bool, channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (9, *size), generator=generator, dtype=torch.uint8)
    spread = (0.3,) * size[0], (0.2,) * size[0]
    images = ImageArrays(pixels, torch.arange(9), pixels, torch.arange(9), *spread, "noise")
    layout = torch.channels_last if channels_last else torch.contiguous_format
    task = ImageClassification(images, 7, 0, CPU, padding, flip, channels_last)
    for index in range(4):
        selection = task.selection(index)
        task._kernels = None
        expected = task.gather(selection)
        task._kernels = classification()
        made = task.gather(selection)
        assert torch.equal(made["inputs"], expected["inputs"])
        assert made["inputs"].is_contiguous(memory_format=layout)
        assert torch.equal(made["targets"], expected["targets"])
    logits = torch.randn(7, 9, generator=generator)
    assert isinstance(task.loss(logits.requires_grad_(), expected).grad_fn, torch.autograd.function.BackwardCFunction)
    many = {**expected, "targets": torch.zeros(7, dtype=torch.int64)}
    assert torch.equal(task.loss(torch.zeros(7, 5000), many), F.cross_entropy(torch.zeros(7, 5000), many["targets"]))


def losses(rows: int, classes: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(rows)
    logits = (5 * torch.randn(rows, classes + 6, generator=generator) + 30).to(dtype)[:, :classes]
    labels = torch.randint(classes, (rows,), generator=generator)
    ours, exact = logits.detach().requires_grad_(), logits.detach().double().requires_grad_()
    share = torch.tensor(0.25)
    loss, truth = CrossEntropy.apply(ours, labels, None), F.cross_entropy(exact, labels)
    loss.backward(share)
    truth.backward(share.double())
    assert abs(loss - truth) < 1e-6 * truth
    assert ours.grad is not None
    assert exact.grad is not None
    assert ours.grad.dtype == dtype
    bound = 1e-5 if dtype == torch.float32 else 2**-8
    assert (ours.grad.double() - exact.grad).norm() < bound * exact.grad.norm()
    for poison in (float("nan"), float("inf")):
        poisoned = logits.clone()
        poisoned[-1, 0] = poison
        assert CrossEntropy.apply(poisoned, labels, None).isnan()
    poisoned[-1] = float("-inf")
    assert CrossEntropy.apply(poisoned, labels, None).isnan()


def batches_and_losses_are_torchs() -> None:
    batches((3, 8, 8), 2, flip=True, channels_last=True)
    batches((3, 20, 17), 3, flip=True, channels_last=False)  # more pixels than a program's
    batches((1, 8, 8), 0, flip=False, channels_last=True)
    for dtype in (torch.float32, torch.bfloat16):
        losses(128, 10, dtype)
        losses(300, 10, dtype)  # more rows than a program's
        losses(5, 1000, dtype)
