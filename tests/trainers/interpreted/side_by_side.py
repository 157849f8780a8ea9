"""Steps whose passes run side by side, captured, end with the bits of steps whose passes follow one another."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from triton.runtime import interpreter

from tests.conftest import tiny
from trainers.accelerated import additions
from trainers.accelerated.accelerator import OF_NETWORKS, classification
from trainers.accelerated.cpreresnet import FusedNetwork, Fusion, fuse
from trainers.building.initial_weights import initialise
from trainers.data.images.arrays import ImageArrays
from trainers.lattice import Lattice
from trainers.nested.dimensions import Dimensions
from trainers.nested.exchange import exchange
from trainers.nested.network import NestedNetwork
from trainers.networks.cpreresnet import CPreResNet20
from trainers.optimizers.sgd import Sgd
from trainers.tasks.images import ImageClassification
from trainers.training.graphs import Graphs
from trainers.training.ledger import UpdateLedger
from trainers.training.recipe import Recipe
from trainers.training.state import TrainingState
from trainers.training.step import Step

CPU = torch.device("cpu")
THIN = Lattice.product(width=(1 / 16, 1 / 8))


class Again:
    """In a graph's place: what is recorded leaves nothing behind, and is called again into the same results."""

    def __init__(self, live: Callable[[], list[Tensor]], forget: Callable[[], None]) -> None:
        self.live, self.forget = live, forget

    def start(self, function: Callable[[], Any]) -> Any:
        return function()

    def join(self) -> None:
        pass

    def another(self) -> "Again":
        return Again(self.live, self.forget)

    def record(self, function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        before = [(tensor, tensor.clone()) for tensor in self.live()]
        result = function()
        for tensor, value in before:
            tensor.detach().copy_(value)

        def replay() -> None:
            for made, out in zip(parts(result), parts(function()), strict=True):
                if isinstance(made, Tensor):
                    made.copy_(out)
            self.forget()

        return replay, result


def parts(result: Any) -> list[Any]:
    return list(result.values()) if isinstance(result, dict) else list(result or ())


def trained(images: ImageArrays, apart: bool, fusion: Fusion) -> list[Tensor]:
    """All that four steps leave behind, and their losses."""
    plain = CPreResNet20(channels=3, size=4)
    plain.blocks = plain.blocks[::4]  # the first and one with stride: fewer programs, to interpret
    initialise(plain, 0)
    heads = frozenset({"classifier"})  # exchanged unasked: the second block meets half of what it was made for
    kernels = replace(OF_NETWORKS, network=partial(fuse, fusion=fusion))
    network = exchange(plain, Dimensions(THIN), "batch", (3, 4, 4), heads, "shared", {}, kernels)
    network.to(memory_format=torch.channels_last)
    state = TrainingState(network, partial(Sgd, momentum=0.9, weight_decay=0), UpdateLedger(THIN))

    def live() -> list[Tensor]:
        gradients = [parameter.grad for parameter in network.parameters()]
        return [*network.parameters(), *gradients, *network.buffers(), *state.optimizer.momenta, state.loss_sum]

    def forget() -> None:
        """A graph's replay leaves nothing in Python of what it has done."""
        for of_a_lane in fused._additions.values():
            of_a_lane.begin()

    fused = network._kernels
    assert isinstance(fused, FusedNetwork)
    graphs = Graphs(Again(live, forget) if apart else None)
    task = ImageClassification(images, 2, 0, CPU, crop_padding=1, flip=True, channels_last=True)
    task._kernels = classification()
    step = Step(Recipe.from_config(tiny(method="NS", norm="batch")), state, task, CPU, graphs)
    small, large = THIN
    losses = []
    with (
        patch.object(FusedNetwork, "suits", lambda network, x: True),
        patch.object(NestedNetwork, "separable", lambda network, x: apart),
    ):
        for index, order in enumerate([(large, small), (large, small), (small, large), (large, small)]):
            losses += [float(loss) for _, loss in step.passes(order, step.batch(index))]
            step.update(0.1)
    assert graphs.replayed == (4 if apart else 0)
    return [torch.tensor(losses), *(tensor.detach().clone() for tensor in live())]


def side_by_side_is_one_after_the_other(fusion: Fusion) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (8, 3, 4, 4), generator=generator, dtype=torch.uint8)
    noise = ImageArrays(pixels, torch.arange(8), pixels, torch.arange(8), (0.5,) * 3, (0.5,) * 3, "noise")
    unchecked = replace(interpreter.interpreter_builder.options, sanitize_overflow=False)
    with (
        patch.object(additions, "_WEIGHTS", 2048),  # fewer programs, to interpret
        patch.object(interpreter.interpreter_builder, "options", unchecked),  # as all else does: it takes the half
    ):
        alone, beside = (trained(noise, apart, fusion) for apart in (False, True))
    assert len(alone) > 60
    assert all(torch.equal(one, other) for one, other in zip(alone, beside, strict=True))
