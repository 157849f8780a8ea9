"""Table 1 on one GPU, as fast as it goes, and how far that is from what the card could do.

    python -m benchmarks.gpu [--updates 78200] [--seed 0] [--arm SortedNet-instance]... [--at-once 1] [--device cuda]

Trains NS, LCS-p and SortedNet under InstanceNorm and BatchNorm at equal updates, one after the other or some side by
side, with the published recipe. Needs `trainers` alone: no Ray, no MLflow. Prints seconds, accuracies and the share of
the floor that was reached, and appends them to benchmarks/results/gpu_table1.csv. The floor of an update is the larger
of its multiply-accumulates over the card's measured bf16 rate and its bytes over the card's measured bandwidth, a pass
being three times its forward's multiply-accumulates, and its bytes every convolution's output written and read once
forward, its gradient likewise and itself once more backward, all bf16: norms can be applied while reading.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import click
import torch
from torch import Tensor, nn

from benchmarks.measuring import ARMS, append
from trainers.building.image_costs import mac_counter
from trainers.building.image_networks import build
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.datasets import dataset
from trainers.data.images.arrays import ImageArrays
from trainers.devices.cuda import own_stream
from trainers.measuring.timing import expected_trial
from trainers.submodel import SubModel
from trainers.trials import images
from trainers.trials.images import IMAGES, resolve

_SIDE, _COPIED, _REPEATS = 8192, 1 << 30, 20
_MOST_AT_ONCE = 3  # at nine streams each, of 32
_TOUCHES = 5  # of every element that a convolution puts out, in a forward and a backward


def rates(device: torch.device) -> tuple[float, float]:
    """Multiply-accumulates per second of a large bf16 product, and bytes per second of a copy, read and written."""
    side = _SIDE if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    source = torch.zeros(_COPIED if device.type == "cuda" else 1 << 26, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return side**3 / _seconds(lambda: a @ a, device), 2 * len(source) / _seconds(lambda: target.copy_(source), device)


def _seconds(work: Any, device: torch.device) -> float:
    for _ in range(3):
        work()
    _wait(device)
    started = time.perf_counter()
    for _ in range(_REPEATS):
        work()
    _wait(device)
    return (time.perf_counter() - started) / _REPEATS


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def elements(config: ImageTrialConfig) -> dict[SubModel, int]:
    """Outputs of all convolutions of a target, for one image."""
    nested = build(config, seed=0)
    found = {}
    for target in config.lattice:
        network, counted = nested.extract(target).eval(), [0]

        def count(module: nn.Module, inputs: Any, output: Tensor, counted: list[int] = counted) -> None:
            counted[0] += output.numel()

        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(count)
        with torch.no_grad():
            network(torch.zeros(1, 3, 32, 32))
        found[target] = counted[0]
    return found


def floor_seconds(config: ImageTrialConfig, mac_rate: float, bandwidth: float) -> tuple[float, float]:
    """The least a trial's passes can take by arithmetic, and by memory."""
    macs, outputs = mac_counter(config), elements(config)
    arithmetic, memory = 0.0, 0.0
    for sub_model, count in expected_trial(IMAGES, config).passes.items():
        nearest = min(outputs, key=lambda target: abs(macs(target) - macs(sub_model)))
        size = outputs[nearest] * macs(sub_model) ** 0.5 / macs(nearest) ** 0.5  # outputs grow with width, MACs squared
        arithmetic += 3 * count * config.task.batch_size * macs(sub_model) / mac_rate
        memory += count * config.task.batch_size * size * 2 * _TOUCHES / bandwidth
    return arithmetic, memory


def train(
    config: ImageTrialConfig, name: str, seed: int, data: ImageArrays, device: torch.device
) -> tuple[float, dict[str, float]]:
    """Seconds and final metrics of a trial; on CUDA on a stream of its own, beside which others may run."""
    started = time.perf_counter()
    with torch.cuda.stream(own_stream(device)) if device.type == "cuda" else nullcontext():
        for last in images.train(config, seed, data, device):
            if last.metrics:
                accuracies = (
                    f"{target.label} {last.metrics[f'test_acc/{target.label}']:.2f}" for target in config.lattice
                )
                seconds = time.perf_counter() - started
                print(f"{name}: {last.progress:.0%} after {seconds:.1f} s: {', '.join(accuracies)}", flush=True)
    return time.perf_counter() - started, last.metrics


@click.command()
@click.option("--updates", default=78_200, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--evaluations", default=20, show_default=True)
@click.option("--batch", default=128, show_default=True)
@click.option("--arm", "arms", multiple=True, help="METHOD-norm; all six unless given.")
@click.option(
    "--at-once",
    type=click.IntRange(1, _MOST_AT_ONCE),
    default=1,
    show_default=True,
    help="Arms that train side by side, on streams of one process.",
)
@click.option("--device", "name", default="cuda", show_default=True)
@click.option("--deterministic", is_flag=True)
def main(
    updates: int,
    seed: int,
    evaluations: int,
    batch: int,
    arms: tuple[str, ...],
    at_once: int,
    name: str,
    deterministic: bool,
) -> None:
    """Trains, measures and appends to the results."""
    device, data = torch.device(name), dataset("cifar10").load(None)
    mac_rate, bandwidth = rates(device)
    print(f"bf16 product {mac_rate / 1e12:.1f} T MAC/s, copy {bandwidth / 1e12:.2f} TB/s", flush=True)

    def measured(method: str, norm: str) -> None:
        settings = {"method": method, "norm": norm, "batch_size": batch, "updates": updates}
        config = resolve({**settings, "evaluations": evaluations, "precision": "bf16", "deterministic": deterministic})
        seconds, metrics = train(config, f"{method}-{norm}", seed, data, device)
        arithmetic, memory = floor_seconds(config, mac_rate, bandwidth)
        row: dict[str, Any] = {"method": method, "norm": norm, "updates": updates, "seed": seed, "batch": batch}
        row |= {"deterministic": deterministic, "at_once": at_once, "seconds": round(seconds, 1)}
        row |= {"floor_arithmetic": round(arithmetic, 2), "floor_memory": round(memory, 2)}
        row |= {"share_of_floor": round(max(arithmetic, memory) / seconds, 3)}
        row |= {"replayed_passes": round(metrics.get("replayed_passes", 0.0), 4)}
        row |= {target.label: round(metrics[f"test_acc/{target.label}"], 2) for target in config.lattice}
        append("gpu_table1", [row])

    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as side_by_side:
        chosen = [arm for arm in ARMS if not arms or "-".join(arm) in arms]
        for done in [side_by_side.submit(measured, *arm) for arm in chosen]:
            done.result()
    print(f"{len(chosen)} arms in {time.perf_counter() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
