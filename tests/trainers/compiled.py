"""Every program of a fused pass and of a step, compiled for a card: what the interpreter leaves out, types above all.

Takes Triton's own way from a launch to machine code, with a driver that has a card's name and none to launch on.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from tests.conftest import FOUR
from trainers.accelerated.cpreresnet import fuse, fuse_together
from trainers.accelerated.replicas import lay_in_one
from trainers.accelerated.triton_classification import CrossEntropy, cropped
from trainers.accelerated.triton_sgd import Steps
from trainers.nested.exchange import nest
from trainers.nested.layers.norms import NormPolicy
from trainers.nested.network import NestedNetwork
from trainers.networks.cpreresnet import CPreResNet20
from trainers.submodel import SubModel

HOPPER = GPUTarget("cuda", 90, 32)
SIZE = 32


def network(norm: NormPolicy) -> NestedNetwork:
    """Laid in one storage, with blocks with projection, without, and with stride."""
    plain = CPreResNet20(channels=3, size=SIZE)
    plain.blocks = nn.Sequential(*plain.blocks[:3])
    plain.norm = nn.Sequential(nn.BatchNorm2d(128), nn.ReLU(inplace=True))
    plain.classifier = nn.Conv2d(128, 10, 1, bias=False)
    nested = nest(plain, FOUR, norm, (3, SIZE, SIZE), frozenset({"classifier"}))
    nested.to(memory_format=torch.channels_last).activate(SubModel(width=1.0))
    lay_in_one(nested.network)
    return nested


def main() -> set[str]:
    driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: HOPPER,
            get_current_device=lambda: 0,
            get_current_stream=lambda device: 0,
            get_active_torch_device=lambda: torch.device("cpu"),
        )
    )
    compiled, launch = set[str](), JITFunction.run

    def compile_only(self: Any, *arguments: Any, grid: Any, warmup: bool = False, **options: Any) -> None:
        launch(self, *arguments, grid=grid, warmup=True, **options)
        compiled.add(self.fn.__name__)

    JITFunction.run = compile_only
    for norm, replicas in (("instance", None), ("batch", None), ("batch", 3)):
        networks = [network(norm).network for _ in range(replicas or 1)]
        fused = fuse(networks[0]) if replicas is None else fuse_together(networks)
        assert fused is not None
        images = torch.zeros(len(networks) * 64, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
        with fused.apart(0) as additions, torch.autocast("cpu", torch.bfloat16):
            losses = CrossEntropy.apply(fused(images), torch.zeros(len(images), dtype=torch.int64), replicas)
            losses.sum().backward()
            additions.due().add_up()
    selection, pixels = torch.zeros(4, 8, dtype=torch.int64), torch.zeros(8, 3, SIZE, SIZE, dtype=torch.uint8)
    cropped(selection, pixels, selection[0], torch.ones(3), torch.ones(3), 4, torch.channels_last)
    Steps(*([torch.zeros(5)] for _ in range(3)), momentum=0.9, weight_decay=0).step(torch.zeros(()))
    return compiled


if __name__ == "__main__":
    print(*sorted(main()))
