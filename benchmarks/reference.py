"""The training loop to be compared with, as the authors' public code describes it (LCS, slimmable_networks).

torchvision's DataLoader with two workers and per-image PIL crop, flip, ToTensor and Normalize; eager fp32 in the
default layout; layers that slice their weights; a Python loop over widths whose losses are summed for one backward; one
SGD step; loss and accuracy read with `.item()` at every step. Written from that description, no line of it is theirs.
"""

import random
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from trainers.data.images.arrays import ImageArrays
from trainers.networks.cpreresnet import CPreResNet20

TARGETS = (1.0, 0.75, 0.5, 0.25)


class _Width:
    """The width that every layer reads, as a global switch."""

    now = 1.0


def _kept(channels: int) -> int:
    return max(1, round(channels * _Width.now))


class SlicedConv2d(nn.Conv2d):
    """Keeps a share of its outputs; inputs follow the incoming tensor."""

    head = False

    def forward(self, input: Tensor) -> Tensor:
        outputs = self.out_channels if self.head else _kept(self.out_channels)
        return F.conv2d(input, self.weight[:outputs, : input.shape[1]], None, self.stride, self.padding)


class SlicedBatchNorm2d(nn.BatchNorm2d):
    """One set of statistics and parameters, sliced."""

    def forward(self, input: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        c = input.shape[1]
        mean, var = self.running_mean[:c], self.running_var[:c]
        return F.batch_norm(input, mean, var, self.weight[:c], self.bias[:c], self.training, 0.1, self.eps)


class SlicedInstanceNorm2d(nn.BatchNorm2d):
    """Per image and channel, parameters sliced."""

    def forward(self, input: Tensor) -> Tensor:
        c = input.shape[1]
        return F.instance_norm(input, weight=self.weight[:c], bias=self.bias[:c], eps=self.eps)


class _Pictures(Dataset[tuple[Tensor, int]]):
    def __init__(self, data: ImageArrays) -> None:
        self.images = data.train_images.permute(0, 2, 3, 1).numpy()
        self.labels = data.train_labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(np.ascontiguousarray(self.images[index])), self.labels[index]


def network(norm: str) -> nn.Module:
    """cPreResNet20 with sliced layers, Kaiming-normal weights."""
    net = CPreResNet20()
    for path, module in list(net.named_modules()):
        if isinstance(module, nn.Conv2d):
            assert not isinstance(module.padding, str)
            size, stride, padding = module.kernel_size[0], module.stride[0], module.padding[0]
            conv = SlicedConv2d(module.in_channels, module.out_channels, size, stride, padding, bias=False)
            conv.head = path == "classifier"
            nn.init.kaiming_normal_(conv.weight)
            net.set_submodule(path, conv)
        elif isinstance(module, nn.BatchNorm2d):
            kind = SlicedInstanceNorm2d if norm == "instance" else SlicedBatchNorm2d
            net.set_submodule(path, kind(module.num_features))
    return net


def use_width(width: float) -> None:
    """Switches every layer."""
    _Width.now = width


def widths(method: str) -> tuple[float, ...]:
    """The widths of one step."""
    if method == "NS":
        return TARGETS
    if method == "SortedNet":
        return (random.choice(TARGETS),)
    return (0.25, 1.0, *(random.uniform(0.25, 1.0) for _ in range(2)))


def steps(net: nn.Module, method: str, data: ImageArrays, batch: int, rates: Iterator[float]) -> Iterator[int]:
    """Trains where the network is, as long as there are learning rates; yields the images passed in each step."""
    device = next(net.parameters()).device
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    while True:
        for pair in DataLoader(_Pictures(data), batch, shuffle=True, num_workers=2, drop_last=True):
            inputs, labels = (tensor.to(device) for tensor in pair)
            rate = next(rates, None)
            if rate is None:
                return
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            total, chosen = torch.zeros((), device=device), widths(method)
            for width in chosen:
                use_width(width)
                out = net(inputs)
                total = total + F.cross_entropy(out, labels)
                (out.argmax(1) == labels).float().mean().item()
            total.backward()
            total.item()
            optimizer.step()
            yield len(labels) * len(chosen)
