"""The seam behind which kernels stand that were written for one network, layout or card.

Whoever builds a trial hands an `Accelerator` in. The rooms that take one know these protocols and none of the kernels,
and do without any: `Accelerator()` has none, and everything runs on torch's own.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


class Addition(Protocol):
    """What a pass, or a part of one, adds to gradients and running moments."""

    def add_up(self) -> None:
        """Adds it: once."""


class Additions(Protocol):
    """What passes of one lane have not added yet."""

    def due(self) -> Addition:
        """What has been noted since this was asked last, fixed: it stays what it is when another pass begins."""


class NetworkKernels(Protocol):
    """Runs the active sub-model of one network in place of its layers."""

    def suits(self, x: Tensor) -> bool:
        """Whether it can take these inputs, here and now (device, precision, gradients)."""

    def __call__(self, x: Tensor) -> Tensor:
        """As the network's forward, differentiable where gradients are on."""

    def apart(self, lane: int) -> AbstractContextManager[Additions]:
        """A pass inside, forward and backward, leaves gradients and running moments as they are.

        What it would have added is given. A pass in another lane may run beside it, and so may its capture's replay
        beside that of the other's; the lane's next pass may not begin before it has been added.
        """


class NormKernels(Protocol):
    """Normalisation, affine and ReLU in one pass each way."""

    def available(self, device: torch.device, group: int | None) -> bool:
        """Whether there are kernels for a device and for groups of so many channels; None: of all of them."""

    def suits(self, x: Tensor) -> bool:
        """Whether `batch_norm` and `known_norm` can take the activations `x: (N, C, H, W)` at hand."""

    def image_norm(self, x: Tensor, weight: Tensor, bias: Tensor, group: int, relu: bool, eps: float) -> Tensor | None:
        """Statistics per image over `group` channels at a time; None where there is no kernel for `x`."""

    def batch_norm(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        relu: bool,
        eps: float,
    ) -> Tensor:
        """Statistics over the batch, which also move the running ones in place."""

    def known_norm(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        relu: bool,
        eps: float,
    ) -> Tensor:
        """Normalised by the running statistics; not differentiable."""


class ClassificationKernels(Protocol):
    """Batches of cropped images, and their loss."""

    most_classes: int

    def cropped(
        self,
        selection: Tensor,
        images: Tensor,
        labels: Tensor,
        scale: Tensor,
        shift: Tensor,
        padding: int,
        layout: torch.memory_format,
    ) -> tuple[Tensor, Tensor]:
        """The images of a micro-batch and their labels; `selection: (4, N)` as `ImageClassification.selection`."""

    def cross_entropy(self, logits: Tensor, labels: Tensor, replicas: int | None = None) -> Tensor:
        """The mean over rows, a scalar fp32; of at most `most_classes` classes.

        Of so many replicas, whose rows follow one another, that of each: (replicas,).
        """


class SgdKernel(Protocol):
    """Steps of the same parameters, whose tensors lie where they do for good."""

    def step(self, rate: Tensor) -> None:
        """Moves the parameters by `rate`, a scalar on their device; the gradients are zero afterwards."""


MakeSgdKernel = Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor], float, float], SgdKernel]


@dataclass(frozen=True)
class AdamWRule:
    """What every step of AdamW does with the parameters of a group.

    Attributes:
        betas: β₁ and β₂, how much of the first and second moment stays at a step.
        epsilon: added to the root of the second moment.
        weight_decay: decoupled; times the rate.
    """

    betas: tuple[float, float]
    epsilon: float
    weight_decay: float


class AdamWKernel(Protocol):
    """Steps of one parameter, whose tensors lie where they do for good."""

    def step(self, rate: float, count: int) -> None:
        """Step number `count`, from 1 on; the gradient is zero afterwards."""

    def forget(self) -> None:
        """The moments may be others from now on."""


MakeAdamWKernel = Callable[[Tensor, Tensor, Tensor, Tensor, AdamWRule], AdamWKernel | None]


@dataclass(frozen=True)
class Accelerator:
    """What there is beyond torch's own, each part by itself; None where there is nothing.

    Attributes:
        network: the kernels of a network with nested layers; None for one that has no such form.
        norms: of norm layers.
        classification: of images on the device.
        sgd: (parameters, gradients, momenta, momentum, weight decay) → its kernel.
        adamw: (parameter, gradient, first moment, second moment, rule) → its kernel; None for what is left to torch.
    """

    network: Callable[[nn.Module], NetworkKernels | None] | None = None
    norms: NormKernels | None = None
    classification: ClassificationKernels | None = None
    sgd: MakeSgdKernel | None = None
    adamw: MakeAdamWKernel | None = None
