"""A nested network's pass beside the plain network's that it stands for, at every width, of six published families.

    python -m benchmarks.nested_overhead [--device cpu] [--turns 5] [--seconds 0.5] [--batch 128] [--family NAME …]
                                         [--pass KIND …] [--control]

At full width the plain network is the one that was nested, elsewhere the sub-model cut out. A training pass is forward,
loss and backward into gradients that are there already; an evaluation pass is forward without gradients, one of many
during which no weight changes: both as in our loop. Norms are shared BatchNorms, which do what the plain ones do, and
both networks lie in memory as a trial's would, in fp32. Their passes alternate in one process, and there are turns of
them, the first of which is not counted; a turn's ratio is the median of those of neighbouring passes, which whatever
slows the machine for longer slows alike.

`--control` has a copy of the plain network in the nested one's place: how far from 1 ratios are on this machine where
nothing can be lost.

Memory: `peak` is the most that a training pass allocates at once beside what lies there before, by torch's allocators,
what kernels ask for while they run included (on CPU as torch's profiler records it; the same at every pass). `state` is
what lies there: parameters, gradients, buffers and places. A nested network's holds all its sub-models, so only at full
width is it comparable.

Results go to benchmarks/results/nested_overhead.csv.
"""

import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torchvision import models

from benchmarks.measuring import Spread, append, flat, in_a_process
from trainers.building.accelerators import prefers_channels_last
from trainers.devices.cpu import prepare_cpu
from trainers.devices.cuda import prepare_cuda
from trainers.lattice import Lattice
from trainers.nested.exchange import nest
from trainers.nested.layers.layer import PlacedLayer
from trainers.nested.network import unchanged

FAMILIES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "ResNet-18": (models.resnet18, "fc"),
    "MobileNet v2": (lambda: models.mobilenet_v2(dropout=0), "classifier.1"),
    "DenseNet-121": (models.densenet121, "classifier"),
    "EfficientNet-b0": (lambda: models.efficientnet_b0(dropout=0, stochastic_depth_prob=0), "classifier.1"),
    "ConvNeXt-tiny": (lambda: models.convnext_tiny(stochastic_depth_prob=0), "classifier.2"),
    # Parts of 8 × 8 pixels, 6 blocks of 256 features in 8 heads.
    "ViT": (lambda: models.VisionTransformer(_SIDE, 8, 6, 8, 256, 1024), "heads.head"),
}
"""Constructors, and the paths of the heads."""
WIDTHS = Lattice.product(width=(0.25, 0.5, 0.75, 1.0))
_SIDE = 64  # pixels
_FEWEST = 3  # passes of each in a turn
_CLASSES = 1000


def training_pass(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    F.cross_entropy(network(images), labels).backward()


def evaluation_pass(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    with torch.no_grad():
        network(images)


PASSES = {"training": training_pass, "evaluation": evaluation_pass}


def race(both: Sequence[Callable[[], None]], turns: int, seconds: float, device: torch.device) -> dict[str, Spread]:
    """Milliseconds of nested and plain, and their ratio turn by turn."""
    taken = [turn(both, seconds, device) for _ in range(turns + 1)][1:]
    names = "nested_ms", "plain_ms", "ratio"
    return {name: Spread.over(values) for name, values in zip(names, zip(*taken, strict=True), strict=True)}


def turn(both: Sequence[Callable[[], None]], seconds: float, device: torch.device) -> tuple[float, float, float]:
    """Milliseconds of a pass of each, and their ratio: medians of passes that alternate for so many seconds."""
    taken: tuple[list[float], list[float]] = [], []
    started = time.perf_counter()
    while time.perf_counter() - started < 2 * seconds or len(taken[0]) < _FEWEST:
        for place in (0, 1) if len(taken[0]) % 2 else (1, 0):  # either goes first as often
            taken[place].append(1000 * _seconds(both[place], device))
    nested, plain = taken
    ratio = statistics.median(one / other for one, other in zip(nested, plain, strict=True))
    return statistics.median(nested), statistics.median(plain), ratio


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def peak_bytes(work: Callable[[], None], device: torch.device) -> int:
    """The most that is allocated at once beside what was before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        events = [event for event in json.loads(path.read_text())["traceEvents"] if event["name"] == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]
        most = max(most, held)
    return most


def state_bytes(network: nn.Module) -> int:
    """Of parameters, gradients, buffers and places; what several share counts once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _state(network)}
    return sum(storages.values())


def _state(network: nn.Module) -> Iterator[Tensor]:
    yield from chain(network.parameters(), network.buffers())
    yield from (parameter.grad for parameter in network.parameters() if parameter.grad is not None)
    for layer in network.modules():
        if isinstance(layer, PlacedLayer) and layer.places is not None:
            yield layer.places


def measured(
    family: str,
    device: torch.device,
    threads: int,
    batch: int,
    turns: int,
    seconds: float,
    kinds: Sequence[str],
    control: bool,
) -> list[dict[str, Any]]:
    """A row per width and kind of pass."""
    torch.set_num_threads(threads)
    prepare_cpu()
    prepare_cuda(deterministic=False)
    torch.manual_seed(0)
    channels_last = prefers_channels_last("batch", "fp32", device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    make, head = FAMILIES[family]
    full = make().to(device).to(memory_format=layout)
    nested = nest(copy.deepcopy(full), WIDTHS, "batch", (3, _SIDE, _SIDE), frozenset({head}))
    nested.to(memory_format=layout)
    images = torch.randn(batch, 3, _SIDE, _SIDE, device=device).to(memory_format=layout)
    labels = torch.randint(_CLASSES, (batch,), device=device)
    rows = []
    for sub_model in WIDTHS:
        nested.activate(sub_model)
        plain = full if sub_model == WIDTHS.largest else nested.extract(sub_model).to(memory_format=layout)
        for kind in kinds:
            sides = {"nested": copy.deepcopy(plain) if control else nested, "plain": plain}
            passes = {
                name: partial(PASSES[kind], network.train(kind == "training"), images, labels)
                for name, network in sides.items()
            }
            with unchanged(sides["nested"]) if kind == "evaluation" else nullcontext():
                found = race(tuple(passes.values()), turns, seconds, device)
            rows.append(
                {
                    **{"width": sub_model["width"], "pass": kind, **found},
                    **{f"{name}_peak_mb": peak_bytes(work, device) / 1e6 for name, work in passes.items()},
                    **{f"{name}_state_mb": state_bytes(network) / 1e6 for name, network in sides.items()},
                }
            )
    return rows


@click.command()
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--batch", default=128, show_default=True, help="Images of 64 × 64 pixels.")
@click.option("--turns", default=5, show_default=True)
@click.option("--seconds", default=0.5, show_default=True, help="Of each side in a turn.")
@click.option("--family", "families", multiple=True, type=click.Choice(list(FAMILIES)), help="Unless given, all.")
@click.option("--pass", "kinds", multiple=True, type=click.Choice(list(PASSES)), help="Unless given, both.")
@click.option("--control", is_flag=True, help="A copy of the plain network in the nested one's place.")
def main(
    device: str,
    threads: int,
    batch: int,
    turns: int,
    seconds: float,
    families: tuple[str, ...],
    kinds: tuple[str, ...],
    control: bool,
) -> None:
    """Measures and appends to the results."""
    of_passes = {"batch": batch, "turns": turns, "seconds": seconds, "control": control}
    settings = {"device": device, "threads": threads, **of_passes}
    for family in families or FAMILIES:
        how = threads, batch, turns, seconds, kinds or tuple(PASSES), control
        rows = in_a_process(measured, family, torch.device(device), *how)
        append("nested_overhead", [{**settings, "family": family, **flat(row)} for row in rows])


if __name__ == "__main__":
    main()
