"""A pre-activation network's sub-models as a sequence of fused kernels on CUDA, in place of its layers one by one.

The same mathematics from the same parameters as the layers' own forward and backward, in bf16 with fp32 sums; the
gradients of prefixes are added to the parameters' directly. Everything is launched from tensors of fixed address and
without waiting for the device, so a pass can be captured as a CUDA graph, whatever its widths.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers.accelerated.layers import active_norm, affine_of, is_supported, projection_around, weight_of
from trainers.accelerated.replicas import Replicas
from trainers.devices.cuda import has_triton, own_stream
from trainers.nested.layers.batch_norm import NestedBatchNorm
from trainers.nested.layers.group_norm import NestedGroupNorm
from trainers.networks.cpreresnet import Bottleneck, CPreResNet20

if TYPE_CHECKING:
    from trainers.accelerated.additions import Additions
    from trainers.accelerated.maps import Behind, Convolved, Map, Norm, Weight

_MOST_PIXELS = 1024  # of an image: some programs hold all of them


@dataclass(frozen=True)
class Fusion:
    """Which launches of a pass are saved by programs that do more than one thing.

    Attributes:
        joined: moments and sums over a batch are joined by the last program that makes parts of them.
        chained: an image's pixels stay with one program through a bottleneck, under InstanceNorm, where they fit: of so
            many warps; 0: they don't.
    """

    joined: bool = False
    chained: int = 0


AS_MEASURED = Fusion()
"""The launches whose times on cards are known; no card has been asked yet whether fewer are faster."""


def fuse(network: nn.Module, fusion: Fusion = AS_MEASURED) -> "FusedNetwork | None":
    """The fused form of a network with nested layers; None where there is none, and its layers are to be run."""
    if not isinstance(network, CPreResNet20) or not has_triton():
        return None
    norms = (module for module in network.modules() if isinstance(module, NestedGroupNorm | NestedBatchNorm))
    plain = all(isinstance(block, Bottleneck) for block in network.blocks)
    learnt = all(parameter.requires_grad for parameter in network.parameters())
    return FusedNetwork(network, fusion=fusion) if plain and learnt and all(map(is_supported, norms)) else None


def fuse_together(networks: Sequence[nn.Module], fusion: Fusion = AS_MEASURED) -> "FusedNetwork | None":
    """The fused form of several networks alike, each laid in one storage; None where there is none.

    Raises:
        ValueError: they are not alike, or not laid so.
    """
    if any(fuse(network) is None for network in networks):
        return None
    first = networks[0]
    assert isinstance(first, CPreResNet20)
    return FusedNetwork(first, Replicas.of(networks), fusion)


@dataclass(frozen=True)
class _Block:
    """A bottleneck done, and the projection around it if there is one; chained: one program goes its way back."""

    convolved: "tuple[Convolved, ...]"
    projection: "Weight | None"
    chained: bool = False


@dataclass(frozen=True)
class _Done:
    """What a backward needs of a forward."""

    stem: "Convolved"
    blocks: list[_Block]
    last: "Map"
    norm: "Norm"
    classifier: "Convolved"


class FusedNetwork:
    """Runs the active sub-model of a nested cPreResNet20.

    Args:
        network: with nested layers; its norms per image and channel or per batch, with one affine for all widths.
        replicas: whose first it is: then a pass, in training, is one of all of them, with its active sub-model.
        fusion: which launches are saved.
    """

    def __init__(self, network: CPreResNet20, replicas: Replicas | None = None, fusion: Fusion = AS_MEASURED) -> None:
        self._network, self._replicas, self._fusion = network, replicas, fusion
        self._additions: dict[int, Additions] = {}  # by lane
        self._sides: dict[int, torch.cuda.Stream] = {}  # by lane too: cuBLAS has one workspace per stream
        self._lane, self._apart = 0, False

    def __deepcopy__(self, memo: dict[int, Any]) -> "FusedNetwork":
        return FusedNetwork(copy.deepcopy(self._network, memo), fusion=self._fusion)

    def suits(self, x: Tensor) -> bool:
        """Whether it can take these inputs: on CUDA, under bf16 autocast, small images.

        Gradients it has only for the parameters, and only in training, where BatchNorm's moments are the batch's.
        """
        bf16 = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") == torch.bfloat16
        known = not torch.is_grad_enabled() or (self._network.training and not x.requires_grad)
        return x.is_cuda and bf16 and known and x.shape[2] * x.shape[3] <= _MOST_PIXELS

    def __call__(self, x: Tensor) -> Tensor:
        """`(images, channels, height, width)` → logits `(images, classes)`, differentiable where gradients are on.

        Of replicas as many images each, one after another.
        """
        if torch.is_grad_enabled():
            logits: Tensor = _Logits.apply(torch.zeros(0, requires_grad=True), x, self)
        else:
            logits, _ = self.forward(x)
        return logits

    @contextmanager
    def apart(self, lane: int) -> Iterator["Additions"]:
        """A pass inside, forward and backward, leaves gradients and running moments as they are.

        What it would have added is given. A pass in another lane may run beside it, and so may its capture's replay
        beside that of the other's; the lane's next pass may not begin before it has been added.
        """
        self._lane, self._apart = lane, True
        additions = self._of_lane()
        additions.begin()
        try:
            yield additions
        finally:
            self._lane, self._apart = 0, False

    def _of_lane(self) -> "Additions":
        from trainers.accelerated.additions import Additions

        if self._lane not in self._additions:
            self._additions[self._lane] = Additions()
        return self._additions[self._lane]

    def forward(self, x: Tensor) -> tuple[Tensor, _Done]:
        """Logits, and what has been done, for `backward`."""
        from trainers.accelerated.map_norm import lift, pool

        bottlenecks = [block for block in self._network.blocks if isinstance(block, Bottleneck)]
        first_norm, *behinds = *(block.norm1 for block in bottlenecks), self._network.norm
        stem = _run(lift(x.detach(), self._replicas), None, self._network.stem, self._behind(first_norm))
        out, blocks = stem.y, []
        for block, following in zip(bottlenecks, behinds, strict=True):
            blocks.append(self._chained(block, out) or self._one_by_one(block, out, following))
            out = blocks[-1].convolved[-1].y
        norm = self._norm(self._network.norm, out)
        classifier = _run(pool(out, norm), None, self._network.classifier, None)
        logits = classifier.y.data.view(len(x), -1)[:, : classifier.y.channels]
        return logits, _Done(stem, blocks, out, norm, classifier)

    def _one_by_one(self, block: Bottleneck, x: "Map", following: nn.Module) -> _Block:
        """A bottleneck of `x`, convolution by convolution; `following` is the norm behind it."""
        projection = projection_around(block)
        first = _run(x, self._norm(block.norm1, x), block.conv1, self._behind(block.norm2))
        second = _run(first.y, self._norm(block.norm2, first.y), block.conv2, self._behind(block.norm3))
        norm3 = self._norm(block.norm3, second.y)
        third = _run(second.y, norm3, block.conv3, self._behind(following), x, projection)
        return _Block((first, second, third), projection)

    def _chained(self, block: Bottleneck, x: "Map") -> _Block | None:
        """A bottleneck of `x` by one program per image; None where that is not to be, or images are too large."""
        from trainers.accelerated.bottleneck import Parameters, convolve, suits

        weights = weight_of(block.conv1), weight_of(block.conv2), weight_of(block.conv3)
        norms = [active_norm(norm) for norm in (block.norm1, block.norm2, block.norm3)]
        of_images = all(isinstance(norm, NestedGroupNorm) for norm in norms)
        if not self._fusion.chained or not of_images or not suits(x, weights):
            return None
        one, two, three = (affine_of(norm) for norm in norms)
        projection, norm, strided = projection_around(block), self._norm(block.norm1, x), weights[1].stride > 1
        first = _run(x, norm, block.conv1, None) if strided else None
        parameters = Parameters(weights, (one, two, three), projection)
        convolved = convolve(x, norm, first, parameters, self._fusion.chained)
        return _Block(convolved, projection, chained=not strided)

    def _behind(self, module: nn.Module) -> "Behind | None":
        """A norm as what comes behind a map; None if it takes nothing over the batch."""
        from trainers.accelerated.maps import Behind

        norm = active_norm(module)
        if isinstance(norm, NestedGroupNorm) or not norm.training:
            return None
        later = self._of_lane() if self._apart else None
        return Behind((norm.running_mean, norm.running_var), norm.momentum, later, self._counters())

    def _norm(self, module: nn.Module, x: "Map") -> "Norm":
        """The norm's parameters and moments for `x`; in training BatchNorm's running moments move, now or later."""
        from trainers.accelerated.map_norm import batch_moments
        from trainers.accelerated.maps import Norm

        norm = active_norm(module)
        weight, bias = affine_of(norm)
        if isinstance(norm, NestedGroupNorm):
            return Norm.of_images(weight, bias, x)
        behind = self._behind(module)
        if behind is None:
            assert x.replicas is None
            return Norm.of_batch(weight, bias, norm.running_mean, norm.running_var)
        moments = x.batch or batch_moments(x, behind)
        return Norm.of_batch(weight, bias, *moments, 1 if x.replicas is None else x.each, self._counters())

    def _counters(self) -> Tensor | None:
        if not self._fusion.joined:
            return None
        replicas = 1 if self._replicas is None else len(self._replicas)
        return self._of_lane().counters(self._network.stem.weight.device, replicas)

    def backward(self, done: _Done, by_logits: Tensor) -> None:
        """Adds the gradients of all parameters to theirs, unless the pass is apart.

        The weights' own run beside the chain of activations' gradients, on a stream of their own.
        """
        from trainers.accelerated.convolution import convolve_back
        from trainers.accelerated.map_norm import pool_back
        from trainers.accelerated.maps import Convolved

        additions = self._of_lane()
        if not self._apart:
            additions.begin()
        classified = done.classifier
        logits = replace(classified.y, data=by_logits.reshape(*classified.y.data.shape[:2], -1))
        self._weight_gradient(logits.data, replace(classified, y=logits), additions)
        up = convolve_back(logits.data, logits, classified.x, classified.weight, None, additions)
        up = pool_back(up, done.last, done.norm, additions)
        in_use = [up]  # by the other stream, until it is waited for
        for number, block in enumerate(reversed(done.blocks), start=1):
            around, x = up, block.convolved[0].x
            if block.projection is not None:
                y = block.convolved[-1].y
                self._weight_gradient(up, Convolved(x, None, block.projection, y), additions)
                around = convolve_back(up, y, x, block.projection, None, additions)
            gradients = self._through(block, up, around, additions)
            up = gradients[-1]
            in_use += gradients
            if number == len(done.blocks) // 2 and not self._apart:  # of the widest weights: beside what is to come
                self._aside(additions.due().add_up)
        self._weight_gradient(up, done.stem, additions)
        if self._lane in self._sides:
            torch.cuda.current_stream(up.device).wait_stream(self._sides[self._lane])
        if not self._apart:
            additions.due().add_up()

    def _through(self, block: _Block, up: Tensor, around: Tensor, additions: "Additions") -> list[Tensor]:
        """The gradients of what a bottleneck's convolutions have met, the last one's first; those of weights aside."""
        from trainers.accelerated import bottleneck
        from trainers.accelerated.convolution import carries_weight, convolve_back

        if block.chained:
            gradients = bottleneck.convolve_back(up, around, block.convolved, additions, self._fusion.chained)
            for of, convolved in zip([up, *gradients[:-1]], reversed(block.convolved), strict=True):
                self._weight_gradient(of, convolved, additions)
            return gradients
        gradients = []
        for convolved in reversed(block.convolved):
            if not carries_weight(convolved.y, convolved.x, convolved.weight, convolved.norm):
                self._weight_gradient(up, convolved, additions)
            skip = around if convolved is block.convolved[0] else None
            up = convolve_back(up, convolved.y, convolved.x, convolved.weight, convolved.norm, additions, skip)
            gradients.append(up)
        return gradients

    def _weight_gradient(self, up: Tensor, of: "Convolved", additions: "Additions") -> None:
        from trainers.accelerated.convolution import weight_gradient

        x, norm = (of.x, of.norm) if of.rectified is None else (of.rectified, None)
        self._aside(lambda: weight_gradient(up, of.y, x, of.weight, norm, additions))

    def _aside(self, work: Callable[[], object]) -> None:
        device = self._network.stem.weight.device
        if device.type != "cuda":  # in Triton's interpreter
            work()
            return
        if self._lane not in self._sides:
            self._sides[self._lane] = own_stream(device)
        side = self._sides[self._lane]
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            work()


class _Logits(torch.autograd.Function):
    """The logits as a function of nothing that needs a gradient: the parameters' are written by hand."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, x: Tensor, network: FusedNetwork) -> Tensor:
        logits, ctx.done = network.forward(x)
        ctx.network = network
        return logits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        ctx.network.backward(ctx.done, gradients[0])
        ctx.done = None
        return None, None, None


def _run(
    x: "Map",
    norm: "Norm | None",
    conv: nn.Module,
    behind: "Behind | None",
    beside: "Map | None" = None,
    projection: "Weight | None" = None,
) -> "Convolved":
    """A convolution between norms; plus what lies beside it, projected if there is a projection."""
    from trainers.accelerated.convolution import convolve
    from trainers.accelerated.maps import Convolved

    weight, project = weight_of(conv), None if beside is None or projection is None else (beside, projection)
    y, rectified = convolve(x, weight, norm, None if project else beside, project, behind)
    return Convolved(x, norm, weight, y, rectified)
