"""cPreResNet20 at any width, its norm layers included."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.trainers.naive.recipe import WIDTHS, stream

CLASSES, EPS = 10, 1e-5


def kept(channels: int, width: float) -> int:
    return max(1, round(channels * width))


class Network:
    """cPreResNet20, every parameter by the name it has in the plain network.

    Args:
        seed: of the trial.
        norm: norm policy; `batch-switchable` has a norm of its own for each of the four widths.
        channels: of an image.
        line: whether norm parameters lie on a line between two endpoints.
        share: of the published channels, for a network that is trained apart; it is itself run at width 1.

    Attributes:
        macs: multiply-accumulates of the last forward pass, per image.
    """

    def __init__(self, seed: int, norm: str, channels: int, line: bool = False, share: float = 1.0) -> None:
        self.seed, self.kind, self.channels, self.line = seed, norm, channels, line
        self.switchable = norm == "batch-switchable"
        self.parameters: dict[str, Tensor] = {}
        self.statistics: dict[str, Tensor] = {}
        self.macs = 0
        planes, out = [16, 32, 64], 16
        self._convolution("stem", kept(16, share), channels, 3)
        for block in range(6):
            inner, name, incoming = planes[block // 2], f"blocks.{block}", kept(out, share)
            middle, out = kept(inner, share), 4 * inner
            for norm, size in (("norm1", incoming), ("norm2", middle), ("norm3", middle)):
                self._norm(f"{name}.{norm}.0", size)
            self._convolution(f"{name}.conv1", middle, incoming, 1)
            self._convolution(f"{name}.conv2", middle, middle, 3)
            self._convolution(f"{name}.conv3", kept(out, share), middle, 1)
            if block % 2 == 0:
                self._convolution(f"{name}.shortcut", kept(out, share), incoming, 1)
        self._norm("norm.0", kept(out, share))
        self._convolution("classifier", CLASSES, kept(out, share), 1)

    def _convolution(self, name: str, outputs: int, inputs: int, kernel: int) -> None:
        """Kaiming-normal over the inputs."""
        drawn = stream(self.seed, f"init {name}.weight").standard_normal((outputs, inputs, kernel, kernel))
        scaled = torch.from_numpy(drawn * math.sqrt(2 / (inputs * kernel * kernel)))
        self.parameters[f"{name}.weight"] = scaled.requires_grad_()

    def _norm(self, name: str, channels: int) -> None:
        """γ 1 and β 0; the second endpoint of a line starts at γ ½."""
        sizes = {f"{name}@{width}": kept(channels, width) for width in WIDTHS if self.switchable} or {name: channels}
        for key, size in sizes.items():
            for end, gamma in (("", 1.0), ("@end", 0.5))[: 2 if self.line else 1]:
                self.parameters[f"{key}.weight{end}"] = torch.full((size,), gamma, dtype=torch.float64).requires_grad_()
                self.parameters[f"{key}.bias{end}"] = torch.zeros(size, dtype=torch.float64).requires_grad_()
            if self.kind.startswith("batch"):
                self.statistics[f"{key}.running_mean"] = torch.zeros(size, dtype=torch.float64)
                self.statistics[f"{key}.running_var"] = torch.ones(size, dtype=torch.float64)

    def __call__(self, x: Tensor, width: float, training: bool, momentum: float = 0.1) -> Tensor:
        """Logits `(N, 10)` of images `(N, C, H, W)`; `momentum` of the running statistics."""
        self.macs = 0

        def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
            weight = self.parameters[f"{name}.weight"]
            outputs = len(weight) if name == "classifier" else kept(len(weight), width)
            weight = weight[:outputs, : x.shape[1]]
            y = F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)
            self.macs += y[0].numel() * weight[0].numel()
            return y

        def norm_relu(name: str, x: Tensor) -> Tensor:
            return self._normalised(name, x, width, training, momentum).clamp(min=0)

        x = conv("stem", x)
        for block in range(6):
            name, stride = f"blocks.{block}", 2 if block in (2, 4) else 1
            y = conv(f"{name}.conv1", norm_relu(f"{name}.norm1.0", x))
            y = conv(f"{name}.conv2", norm_relu(f"{name}.norm2.0", y), stride)
            y = conv(f"{name}.conv3", norm_relu(f"{name}.norm3.0", y))
            x = y + (conv(f"{name}.shortcut", x, stride) if block % 2 == 0 else x)
        x = norm_relu("norm.0", x)
        self.macs += x[0].numel()
        return conv("classifier", x.mean((2, 3), keepdim=True)).flatten(1)

    def affine(self, name: str, width: float) -> tuple[Tensor, Tensor]:
        """γ and β at a width."""
        if self.switchable:
            return self.parameters[f"{name}@{width}.weight"], self.parameters[f"{name}@{width}.bias"]
        start = self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]
        if not self.line:
            return start
        end, place = (self.parameters[f"{name}.{part}@end"] for part in ("weight", "bias")), (width - 0.25) / 0.75
        gamma, beta = ((1 - place) * one + place * other for one, other in zip(start, end, strict=True))
        return gamma, beta

    def _normalised(self, name: str, x: Tensor, width: float, training: bool, momentum: float) -> Tensor:
        count, channels = x.shape[:2]
        if self.kind.startswith("batch"):
            x = self._by_batch(f"{name}@{width}" if self.switchable else name, x, training, momentum)
        else:
            size = {"instance": 1, "group": 4, "layer": channels}[self.kind]
            whole = channels - channels % size
            groups = [x[:, :whole].reshape(count, -1, size, *x.shape[2:])] if whole else []
            groups += [x[:, whole:].unsqueeze(1)] if whole < channels else []  # what is left over is a group
            x = torch.cat([standardised(group, (2, 3, 4)).flatten(1, 2) for group in groups], 1)
        gamma, beta = (value[:channels].view(-1, 1, 1) for value in self.affine(name, width))
        return x * gamma + beta

    def _by_batch(self, key: str, x: Tensor, training: bool, momentum: float) -> Tensor:
        channels = x.shape[1]
        mean, var = (self.statistics[f"{key}.running_{what}"][:channels] for what in ("mean", "var"))
        if not training:
            return (x - mean.view(-1, 1, 1)) / (var.view(-1, 1, 1) + EPS).sqrt()
        pixels = x.detach().transpose(0, 1).flatten(1)
        mean.copy_((1 - momentum) * mean + momentum * pixels.mean(1))
        var.copy_((1 - momentum) * var + momentum * pixels.var(1, unbiased=True))
        return standardised(x, (0, 2, 3))

    def cut(self, width: float) -> "Network":
        """A plain network that holds what this one uses at a width."""
        own = Network(self.seed, "batch" if self.switchable else self.kind, self.channels, share=width)
        for name, parameter in own.parameters.items():
            layer, _, kind = name.rpartition(".")
            used = dict(zip(("weight", "bias"), self.affine(layer, width), strict=True)) if "norm" in layer else {}
            source = used.get(kind, self.parameters.get(name)).detach()
            parameter.data.copy_(source[tuple(map(slice, parameter.shape))])
        for name, value in own.statistics.items():
            layer, _, kind = name.rpartition(".")
            value.copy_(self.statistics[f"{layer}@{width}.{kind}" if self.switchable else name][: len(value)])
        return own


def standardised(x: Tensor, dimensions: tuple[int, ...]) -> Tensor:
    mean, var = x.mean(dimensions, keepdim=True), x.var(dimensions, unbiased=False, keepdim=True)
    return (x - mean) / (var + EPS).sqrt()
