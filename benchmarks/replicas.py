"""Several seeds of one arm in the same launches, beside the same seeds on streams of their own and one after another.

    python -m benchmarks.replicas [--replicas 3] [--batch 128] [--turns 5] [--norm batch]... [--width 0.25]...

Needs a CUDA device. A step is a batch, a forward and backward of one sub-model and an update, each seed's with its own
weights, order and augmentation, captured as a graph. Three ways in turns: `in turn`, a graph per seed, one after
another; `beside`, the same graphs on a stream each; `together`, one graph whose launches they share
(`trainers.accelerated.replicas`). First all three do some steps from the same start and must end with the same bits.
Milliseconds for a step of all seeds, median over the turns, with how many times as fast as `in turn`; appended to
benchmarks/results/replicas.csv.

Seeds of one arm share launches only where they draw the same sub-model at once: always under NS, under SortedNet a seed
with whichever others wait for the same one.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.measuring import Spread, append, flat
from trainers.accelerated.cpreresnet import FusedNetwork, fuse, fuse_together
from trainers.accelerated.replicas import lay_in_one
from trainers.acceleration import ClassificationKernels, MakeSgdKernel
from trainers.building.accelerators import accelerator
from trainers.building.image_networks import build
from trainers.config.norm import NormPolicy
from trainers.data.datasets import dataset
from trainers.data.images.arrays import ImageArrays
from trainers.nested.network import NestedNetwork
from trainers.optimizers.sgd import Sgd
from trainers.submodel import SubModel
from trainers.tasks.images import ImageClassification
from trainers.training.graphs import Graphs
from trainers.trials.images import resolve

_CHECKED, _MOMENTUM, _DECAY, _RATE = 4, 0.9, 5e-4, 0.1
_WARM_UP, _STEPS = 20, 300


class Seeds:
    """Steps of some seeds of one arm, all of one sub-model; by themselves or in shared launches.

    Args:
        networks: of each seed, with that sub-model active, on the device, which become laid in one storage each.
        tasks: of each seed, over the same images.
        losses, make_steps: the kernels.
    """

    def __init__(
        self,
        networks: Sequence[NestedNetwork],
        tasks: Sequence[ImageClassification],
        losses: ClassificationKernels,
        make_steps: MakeSgdKernel,
    ) -> None:
        for network in networks:
            lay_in_one(network.network)
        self.networks, self._losses = networks, losses
        optimizers = [Sgd(network, _MOMENTUM, _DECAY, make_kernel=make_steps) for network in networks]
        parameters = [parameter for network in networks for parameter in network.parameters()]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.momenta = [momentum for optimizer in optimizers for momentum in optimizer.momenta]
        self._update_all = make_steps(parameters, gradients, self.momenta, _MOMENTUM, _DECAY)
        self._optimizers, self._tasks = optimizers, tasks
        self._rate = torch.full((), _RATE, device=parameters[0].device)
        self._alone = [_fused(fuse(network.network)) for network in networks]
        self._together = _fused(fuse_together([network.network for network in networks]))
        self._selections = [task.selection(0).clone() for task in tasks]
        self._selection = torch.cat(self._selections, 1)

    def show(self, index: int) -> None:
        """From now on steps are on batch number `index`."""
        for selection, task in zip(self._selections, self._tasks, strict=True):
            selection.copy_(task.selection(index))
        torch.cat(self._selections, 1, out=self._selection)

    def alone(self, seed: int) -> None:
        """A step of one seed."""
        batch = self._tasks[seed].gather(self._selections[seed])
        self._losses.cross_entropy(self._alone[seed](batch["inputs"]), batch["targets"]).backward()
        self._optimizers[seed].rate.copy_(self._rate)
        self._optimizers[seed].step()

    def together(self) -> None:
        """A step of all of them in shared launches: of the images that each has chosen, one gathers all."""
        batch = self._tasks[0].gather(self._selection)
        logits = self._together(batch["inputs"])
        self._losses.cross_entropy(logits, batch["targets"], len(self.networks)).sum().backward()
        self._update_all.step(self._rate)

    def state(self) -> list[Tensor]:
        """All that steps change."""
        kept = [tensor for network in self.networks for tensor in (*network.parameters(), *network.buffers())]
        return [tensor.detach().clone() for tensor in (*kept, *self.momenta)]


def _fused(network: FusedNetwork | None) -> FusedNetwork:
    if network is None:
        raise click.ClickException("this network has no fused kernels here")
    return network


def seeds_of(
    data: ImageArrays, norm: NormPolicy, width: float, replicas: int, batch: int, device: torch.device
) -> Seeds:
    """So many seeds of SortedNet with cPreResNet20 at one width.

    Raises:
        ClickException: there are no kernels for the device.
    """
    config, kernels = resolve({"norm": norm, "batch_size": batch, "precision": "bf16"}), accelerator(device)
    losses, make_steps = kernels.classification, kernels.sgd
    if losses is None or make_steps is None:
        raise click.ClickException("needs a CUDA device, Triton and a C compiler")
    networks = [build(config, seed).to(device) for seed in range(replicas)]
    for network in networks:
        network.train().to(memory_format=torch.channels_last)
        network.activate(SubModel(width=width))
    augmentation = config.task.crop_padding, config.task.flip
    tasks = [ImageClassification(data, batch, seed, device, *augmentation, True, losses) for seed in range(replicas)]
    return Seeds(networks, tasks, losses, make_steps)


def ways(seeds: Seeds, graphs: Graphs) -> dict[str, Callable[[], None]]:
    """A step of all seeds, by how it is launched."""
    each = [partial(seeds.alone, seed) for seed in range(len(seeds.networks))]

    def in_turn() -> None:
        for seed, step in enumerate(each):
            graphs.run(("in turn", seed), step)

    def beside() -> None:
        for _ in graphs.side_by_side(list(enumerate(each))):
            pass

    return {"in turn": in_turn, "beside": beside, "together": partial(graphs.run, "together", seeds.together)}


def check(make: Callable[[], Seeds], device: torch.device) -> None:
    """Some steps on different batches each way.

    Raises:
        ClickException: they do not end with the same bits.
    """
    ends = {}
    for name in ("in turn", "beside", "together"):
        seeds = make()
        step = ways(seeds, Graphs.on(device))[name]
        for index in range(_CHECKED):
            seeds.show(index)
            step()
        ends[name] = seeds.state()
    for name, state in ends.items():
        if not all(torch.equal(one, other) for one, other in zip(state, ends["in turn"], strict=True)):
            raise click.ClickException(f"{name} the seeds have other bits than in turn")


def measured(seeds: Seeds, device: torch.device, turns: int) -> dict[str, Spread]:
    """Milliseconds of a step of all seeds, by how it is launched."""
    steps = ways(seeds, Graphs.on(device))
    for step in steps.values():
        timed(step, _WARM_UP)
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            found[name].append(timed(step, _STEPS))
    return {name: Spread.over(times) for name, times in found.items()}


def timed(step: Callable[[], None], count: int) -> float:
    """Milliseconds of a step, the mean over so many, on CUDA."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(count):
        step()
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - started) / count


@click.command()
@click.option("--replicas", type=click.IntRange(2), default=3, show_default=True)
@click.option("--batch", default=128, show_default=True)
@click.option("--turns", default=5, show_default=True)
@click.option("--norm", "norms", multiple=True, default=("instance", "batch"), show_default=True)
@click.option("--width", "widths", multiple=True, type=float, default=(1.0, 0.25), show_default=True)
def main(replicas: int, batch: int, turns: int, norms: tuple[NormPolicy, ...], widths: tuple[float, ...]) -> None:
    """Measures and appends to the results."""
    device, data = torch.device("cuda"), dataset("cifar10").load(None)
    for norm in norms:
        for width in widths:
            make = partial(seeds_of, data, norm, width, replicas, batch, device)
            check(make, device)
            found = measured(make(), device, turns)
            row: dict[str, Any] = {"norm": norm, "width": width, "replicas": replicas, "batch": batch, "turns": turns}
            row |= {f"{name.replace(' ', '_')}_ms": times for name, times in found.items()}
            row |= {
                f"{name}_to_in_turn": found["in turn"].median / found[name].median for name in ("beside", "together")
            }
            append("replicas", [flat(row)])


if __name__ == "__main__":
    main()
