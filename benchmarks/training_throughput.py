"""Images through forward and backward per second, ours beside the reference loop, per method and norm.

    python -m benchmarks.training_throughput [--device cpu] [--batch 128] [--threads 2] [--rounds 5]

The two run in turns of some seconds each, so that a noisy machine disturbs both; the ratio is the median over rounds.
Results go to benchmarks/results/training_throughput.csv, with machine, versions and date.
"""

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import repeat
from multiprocessing.connection import Connection

import click
import torch

from benchmarks import reference
from benchmarks.measuring import ARMS, append, warm_up_steps
from trainers.data.datasets import dataset
from trainers.data.images.arrays import ImageArrays
from trainers.trials.images import resolve, train

_REFERENCE_WARM_UP_STEPS = 20
"""Its kernels for LCS-p's widths never last on CPU: oneDNN remembers 1,024, which are those of some fifteen widths."""


def ours(
    method: str, norm: str, data: ImageArrays, batch: int, device: torch.device, deterministic: bool
) -> Iterator[int]:
    """Images passed forward and backward in each optimizer step."""
    settings = {"method": method, "norm": norm, "batch_size": batch, "deterministic": deterministic}
    config = resolve({**settings, "updates": 1 << 30, "evaluations": 1})
    for _ in train(config, 0, data, device):
        yield batch * (1 if method == "SortedNet" else 4)


def side(
    name: str,
    method: str,
    norm: str,
    batch: int,
    threads: int,
    device: torch.device,
    deterministic: bool,
    turns: Connection,
) -> None:
    """One of the two in a process of its own: sends 0 once warm, then images per second for every turn's seconds."""
    torch.set_num_threads(threads)
    data = dataset("cifar10").load(None)
    if name == "ours":
        steps = ours(method, norm, data, batch, device, deterministic)
        warm_up = warm_up_steps(method, device)
    else:
        warm_up = _REFERENCE_WARM_UP_STEPS
        steps = reference.steps(reference.network(norm).train().to(device), method, data, batch, repeat(0.1))
    for _ in range(warm_up):
        next(steps)
    turns.send(0.0)  # ready: nothing is measured while the other still warms up
    while (seconds := turns.recv()) > 0:
        images, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            images += next(steps)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        turns.send(images / (time.perf_counter() - started))


def _turn(end: Connection, seconds: float) -> float:
    end.send(seconds)
    rate: float = end.recv()
    return rate


@click.command()
@click.option("--batch", default=128, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=8.0, show_default=True, help="Of each turn.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--deterministic", is_flag=True, help="Ours on CUDA with algorithms that give the same bits every time.")
def main(batch: int, threads: int, rounds: int, seconds: float, device: str, deterministic: bool) -> None:
    """Measures and appends to the results."""
    spawn = multiprocessing.get_context("spawn")
    opened = click.get_current_context().with_resource(ExitStack())  # a side whose end is closed goes, too

    def started(name: str, method: str, norm: str) -> Connection:
        here, there = spawn.Pipe()
        arguments = (name, method, norm, batch, threads, torch.device(device), deterministic, there)
        spawn.Process(target=side, args=arguments).start()
        there.close()
        return opened.enter_context(here)

    together = len(ARMS) if device == "cuda" else 1  # that warm up side by side, on a machine with cores to do so
    for first in range(0, len(ARMS), together):
        arms = ARMS[first : first + together]
        pairs = [tuple(started(name, *arm) for name in ("ours", "reference")) for arm in arms]
        for end in (end for ends in pairs for end in ends):
            end.recv()
        for (method, norm), ends in zip(arms, pairs, strict=True):
            rates = [tuple(_turn(end, seconds) for end in ends) for _ in range(rounds)]
            for end in ends:
                end.send(0.0)
            mine, theirs = (statistics.median(column) for column in zip(*rates, strict=True))
            ratios = [a / b for a, b in rates]
            row = {
                "device": device,
                "deterministic": deterministic,
                "threads": threads,
                "method": method,
                "norm": norm,
                "batch": batch,
                "rounds": rounds,
                "ours_images_per_s": round(mine),
                "reference_images_per_s": round(theirs),
                "median_ratio": round(statistics.median(ratios), 2),
                "least_ratio": round(min(ratios), 2),
                "greatest_ratio": round(max(ratios), 2),
            }
            append("training_throughput", [row])


if __name__ == "__main__":
    main()
