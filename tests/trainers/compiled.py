"""Every program of a fused pass and of a step, compiled for a card: what the interpreter leaves out, as types."""

import json
import re

import torch
from torch import nn

from benchmarks.compiling import compiling
from tests.conftest import FOUR
from trainers.accelerated.cpreresnet import AS_MEASURED, Fusion, fuse, fuse_together
from trainers.accelerated.replicas import lay_in_one
from trainers.accelerated.triton_classification import CrossEntropy, cropped
from trainers.accelerated.triton_sgd import Steps
from trainers.nested.exchange import nest
from trainers.nested.layers.norms import NormPolicy
from trainers.nested.network import NestedNetwork
from trainers.networks.cpreresnet import CPreResNet20
from trainers.submodel import SubModel

SIZE = 32
PASSES: dict[str, tuple[NormPolicy, int | None, Fusion]] = {
    "instance": ("instance", None, AS_MEASURED),
    "instance chained": ("instance", None, Fusion(chained=8)),
    "batch 3": ("batch", 3, AS_MEASURED),
    "batch 3 joined": ("batch", 3, Fusion(joined=True)),
}


def network(norm: NormPolicy, blocks: int) -> NestedNetwork:
    """Laid in one storage, with blocks with projection and without; if there are four, with stride and behind it."""
    plain = CPreResNet20(channels=3, size=SIZE)
    plain.blocks = nn.Sequential(*plain.blocks[:blocks])
    channels = 32 * blocks
    plain.norm = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    plain.classifier = nn.Conv2d(channels, 10, 1, bias=False)
    nested = nest(plain, FOUR, norm, (3, SIZE, SIZE), frozenset({"classifier"}))
    nested.to(memory_format=torch.channels_last).activate(SubModel(width=1.0))
    lay_in_one(nested.network)
    return nested


def compile_pass(norm: NormPolicy, replicas: int | None, fusion: Fusion) -> None:
    """A forward and backward, apart; of replicas as many networks."""
    networks = [network(norm, 4 if norm == "instance" else 2).network for _ in range(replicas or 1)]
    fused = fuse(networks[0], fusion) if replicas is None else fuse_together(networks, fusion)
    assert fused is not None
    images = torch.zeros(len(networks) * 64, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    with fused.apart(0) as additions, torch.autocast("cpu", torch.bfloat16):
        losses = CrossEntropy.apply(fused(images), torch.zeros(len(images), dtype=torch.int64), replicas)
        losses.sum().backward()
        additions.due().add_up()


def accesses(assembly: str) -> list[str]:
    """What a program's threads do with memory that others see, and where they wait for one another, in turn."""
    return re.findall(r"^\s*(?:@\S+\s+)?(bar\.sync|(?:atom|st|ld)\.global[\w.:]*)", assembly, re.MULTILINE)


def main() -> tuple[list[str], dict[str, int], dict[str, list[list[str]]]]:
    """The names of all programs, the launches of each pass, and the accesses of those that count one another."""
    names, launches, counting = set[str](), dict[str, int](), dict[str, list[list[str]]]()
    for name, case in PASSES.items():
        with compiling() as launched:
            compile_pass(*case)
        names |= {program.name for program in launched}
        launches[name] = len(launched)
        for program in launched:
            if "atom.global" in program.assembly:
                counting.setdefault(program.name, []).append(accesses(program.assembly))
    selection, pixels = torch.zeros(4, 8, dtype=torch.int64), torch.zeros(8, 3, SIZE, SIZE, dtype=torch.uint8)
    with compiling() as launched:
        cropped(selection, pixels, selection[0], torch.ones(3), torch.ones(3), 4, torch.channels_last)
        Steps(*([torch.zeros(5)] for _ in range(3)), momentum=0.9, weight_decay=0).step(torch.zeros(()))
    return sorted(names | {program.name for program in launched}), launches, counting


if __name__ == "__main__":
    print(json.dumps(main()))
