"""Passes with fewer launches, beside the same passes as they are: what each kind of `Fusion` gains on a card.

    python -m benchmarks.fusion [--batch 128] [--turns 5] [--norm batch]...

Needs a CUDA device. Of each kind, in turns: a pass (forward and backward of one sub-model) of full width, one of a
quarter, and all four side by side and added up, as NS makes them; captured as graphs. First every kind must give the
gradients of the kernels as they are, up to bf16's rounding, and its own ones twice with the same bits. Milliseconds,
median over the turns, with how many times as fast as `none`; appended to benchmarks/results/fusion.csv. The one that is
faster becomes the rule (`AS_MEASURED` in trainers/accelerated/cpreresnet.py), and the other goes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.measuring import Spread, append, flat
from benchmarks.replicas import timed
from trainers.accelerated.cpreresnet import Fusion, fuse
from trainers.building.accelerators import accelerator
from trainers.building.image_networks import build
from trainers.config.norm import NormPolicy
from trainers.submodel import SubModel
from trainers.training.graphs import Graphs
from trainers.trials.images import resolve

_WIDTHS = (1.0, 0.75, 0.5, 0.25)
_WARM_UP, _STEPS = 20, 300
_FAR = 0.05  # of the gradients' norm: those in bf16 lie some 0.02 from fp32's


def kinds(norm: NormPolicy) -> dict[str, Fusion]:
    """What there is to compare under a norm."""
    if norm == "instance":
        return {"none": Fusion(), "chained_4": Fusion(chained=4), "chained_8": Fusion(chained=8)}
    return {"none": Fusion(), "joined": Fusion(joined=True)}


class Passes:
    """Passes of one network over one batch of noise.

    Args:
        norm: of its layers.
        fusion: of its kernels.
        batch: images.
        device: where they are.
    """

    def __init__(self, norm: NormPolicy, fusion: Fusion, batch: int, device: torch.device) -> None:
        self.network = build(resolve({"norm": norm, "precision": "bf16"}), 0).to(device).train()
        self.network.to(memory_format=torch.channels_last)
        fused, losses = fuse(self.network.network, fusion), accelerator(device).classification
        if fused is None or losses is None:
            raise click.ClickException("needs a CUDA device, Triton and a C compiler")
        self._fused, self._losses = fused, losses
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(batch, 3, 32, 32, generator=generator)
        self._images = images.to(device).to(memory_format=torch.channels_last)
        self._labels = torch.randint(10, (batch,), generator=generator).to(device)

    def alone(self, width: float) -> None:
        """One pass."""
        self.network.activate(SubModel(width=width))
        with torch.autocast(self._images.device.type, torch.bfloat16):
            logits = self._fused(self._images)
        self._losses.cross_entropy(logits, self._labels).backward()

    def beside(self, graphs: Graphs) -> None:
        """One of each width, side by side, added up in turn."""

        def apart(place: int, width: float) -> Callable[[], None]:
            with self._fused.apart(place) as additions:
                self.alone(width)
                return additions.due().add_up

        work = [(width, partial(apart, place, width)) for place, width in enumerate(_WIDTHS)]
        for place, add_up in enumerate(graphs.side_by_side(work)):
            graphs.run(("addition", place), add_up)

    def gradients(self, width: float) -> Tensor:
        """Of one pass, all in a row, in double."""
        for parameter in self.network.parameters():
            parameter.grad = None
        self.alone(width)
        return torch.cat([p.grad.flatten().double() for p in self.network.parameters() if p.grad is not None])


def check(norm: NormPolicy, batch: int, device: torch.device) -> None:
    """All kinds beside the kernels as they are.

    Raises:
        ClickException: one gives other gradients, or others every time.
    """
    for width in _WIDTHS:
        plain = Passes(norm, Fusion(), batch, device).gradients(width)
        for name, fusion in kinds(norm).items():
            passes = Passes(norm, fusion, batch, device)
            found = passes.gradients(width)
            if not (found - plain).norm() <= _FAR * plain.norm():
                raise click.ClickException(f"{norm}, {width}: {name} gives other gradients")
            if not torch.equal(found, passes.gradients(width)):
                raise click.ClickException(f"{norm}, {width}: {name} gives other bits the second time")


def measured(norm: NormPolicy, batch: int, device: torch.device, turns: int) -> dict[str, dict[str, Spread]]:
    """Milliseconds, by what is made and of what kind."""
    steps: dict[str, dict[str, Callable[[], None]]] = {"width_1": {}, "width_025": {}, "four_beside": {}}
    for name, fusion in kinds(norm).items():
        passes, graphs = Passes(norm, fusion, batch, device), Graphs.on(device)
        steps["width_1"][name] = partial(graphs.run, 1.0, partial(passes.alone, 1.0))
        steps["width_025"][name] = partial(graphs.run, 0.25, partial(passes.alone, 0.25))
        steps["four_beside"][name] = partial(passes.beside, graphs)
    found: dict[str, dict[str, list[float]]] = {what: {name: [] for name in of} for what, of in steps.items()}
    for what, of in steps.items():
        for step in of.values():
            timed(step, _WARM_UP)
        for _ in range(turns):
            for name, step in of.items():
                found[what][name].append(timed(step, _STEPS))
    return {what: {name: Spread.over(times) for name, times in of.items()} for what, of in found.items()}


@click.command()
@click.option("--batch", default=128, show_default=True)
@click.option("--turns", default=5, show_default=True)
@click.option("--norm", "norms", multiple=True, default=("instance", "batch"), show_default=True)
def main(batch: int, turns: int, norms: tuple[NormPolicy, ...]) -> None:
    """Measures and appends to the results."""
    device = torch.device("cuda")
    for norm in norms:
        check(norm, batch, device)
        for what, of in measured(norm, batch, device, turns).items():
            for name, times in of.items():
                row: dict[str, Any] = {"norm": norm, "of": what, "fusion": name, "batch": batch, "turns": turns}
                row |= {"ms": times, "to_none": of["none"].median / times.median}
                append("fusion", [flat(row)])


if __name__ == "__main__":
    main()
