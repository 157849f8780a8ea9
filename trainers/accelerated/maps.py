"""Maps on CUDA: activations of a batch as the programs of this room hold them, and what is done with them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.accelerated.additions import Additions
from trainers.accelerated.replicas import Replicas


@dataclass(frozen=True)
class Map:
    """Activations of a batch, and what the norm behind them needs.

    Attributes:
        data: (images, height · width, room) bf16, zero beyond `channels`.
        channels: that mean something.
        height, width: in pixels.
        replicas: whose images they are, as many of each in turn; None: of one network.
        mean, variance: (images, parts, room) fp32, of parts of equal size of every image's channels.
        batch: mean and variance of all images, (room,) fp32 each, of replicas (replicas, room); None: not joined yet.
    """

    data: Tensor
    channels: int
    height: int
    width: int
    replicas: Replicas | None
    mean: Tensor | None = None
    variance: Tensor | None = None
    batch: tuple[Tensor, Tensor] | None = None

    @property
    def count(self) -> int:
        """Of replicas."""
        return 1 if self.replicas is None else len(self.replicas)

    @property
    def each(self) -> int:
        """Images of a replica: the only number of images on which tiles and sums may depend."""
        return self.images // self.count

    @property
    def whose(self) -> tuple[Tensor | None, int]:
        """What programs find their image's replica by."""
        return (None, 0) if self.replicas is None else (self.replicas.apart, self.each)

    @property
    def images(self) -> int:
        return self.data.shape[0]

    @property
    def room(self) -> int:
        return self.data.shape[2]

    @property
    def pixels(self) -> int:
        return self.height * self.width


@dataclass(frozen=True)
class Norm:
    """How a map is normalised.

    Attributes:
        weight, bias: (≥ channels,) fp32, the parameters themselves; of replicas the first one's.
        mean, variance: (images, parts, room) per image; (≥ channels,) for all of them; (replicas, room) for each's.
        whole: the same of whole images, (images, 1, room); written by the first that normalises, where there are parts.
        share: images in a row that are normalised by the same moments; 1, too, where all are.
        counters: of programs, by which the last one knows that it joins what BatchNorm's way back sums up (see
            `Additions.counters`); None: a program of its own does.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor
    whole: tuple[Tensor, Tensor]
    share: int = 1
    counters: Tensor | None = None

    @classmethod
    def of_images(cls, weight: Tensor, bias: Tensor, x: Map) -> "Norm":
        """InstanceNorm of `x`."""
        assert x.mean is not None
        assert x.variance is not None
        whole = x.mean, x.variance
        if x.mean.shape[1] > 1:
            mean, variance = torch.empty(2, x.images, 1, x.room, device=x.mean.device)
            whole = mean, variance
        return cls(weight, bias, x.mean, x.variance, whole)

    @classmethod
    def of_batch(
        cls,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        share: int = 1,
        counters: Tensor | None = None,
    ) -> "Norm":
        """BatchNorm by these moments."""
        return cls(weight, bias, mean, variance, (mean, variance), share, counters)

    @property
    def instance(self) -> bool:
        """Whether every image has moments of its own."""
        return self.mean.ndim == 3

    @property
    def stride(self) -> int:
        """From one image's, or replica's, moments to the next one's."""
        return self.mean.stride(0) if self.mean.ndim > 1 else 0

    @property
    def whole_stride(self) -> int:
        """The same of the moments of whole images."""
        return self.whole[0].stride(0) if self.mean.ndim > 1 else 0

    @property
    def parts(self) -> int:
        return self.mean.shape[1] if self.instance else 1

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """What normalising takes."""
        return self.mean, self.variance, self.weight, self.bias, *self.whole

    @property
    def operands_back(self) -> tuple[Tensor, ...]:
        """What the way back takes, once it has been normalised."""
        return *self.whole, self.weight, self.bias


@dataclass(frozen=True)
class Behind:
    """The BatchNorm behind a map, in training.

    Attributes:
        running: its running mean and variance, (≥ channels,) fp32; of replicas the first one's.
        momentum: by what share of the way they move towards a batch's.
        later: what they are to move with; None: they move at once.
        counters: of programs, by which the last one of those that write the map knows that it joins its moments; None:
            a program of its own does.
    """

    running: tuple[Tensor, Tensor]
    momentum: float
    later: Additions | None
    counters: Tensor | None

    def place(self, x: Map) -> Tensor:
        """Where moments of the batch go, (3, room) or (3, replicas, room): mean, variance, and the unbiased one."""
        shape = (3, x.room) if x.replicas is None else (3, x.count, x.room)
        return torch.empty(shape, device=x.data.device) if self.later is None else self.later.room(shape, x.data.device)

    def moments(self, x: Map, place: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance, once they are there; running ones that move later are noted."""
        mean, variance, unbiased = place.unbind()
        if self.later is not None:
            for moment, moved in zip((mean, unbiased), self.running, strict=True):
                self.later.to_running(moment, moved, x.channels, self.momentum, x.replicas)
        return mean, variance


@dataclass(frozen=True)
class Weight:
    """A convolution's prefix of a parameter, and how it is applied.

    Attributes:
        full: (outputs, inputs, K, K) fp32, the parameter itself.
        outputs: that are kept; inputs follow the map.
    """

    full: Tensor
    outputs: int
    stride: int
    padding: int


@dataclass(frozen=True)
class Convolved:
    """A convolution done: of what, behind which norm, what came of it; and what it met behind the norm, if written."""

    x: Map
    norm: Norm | None
    weight: Weight
    y: Map
    rectified: Map | None = None
