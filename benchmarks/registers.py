"""What every program of a fused pass takes of an H100's or H200's multiprocessor: compiled here, without a card.

    python -m benchmarks.registers [--batch 128] [--norm batch]... [--width 0.25]... [--fusion chained]...

Registers and spilled bytes per thread, shared memory, programs that a multiprocessor has room for at once and warps
they come to, of the 64 there are; how often it is launched in a pass, and with how many programs (a card has 132
multiprocessors). What a kernel costs follows from none of this alone. Appended to benchmarks/results/registers.csv.
"""

from collections import Counter

import click
import torch

from benchmarks.compiling import Program, compiling
from benchmarks.measuring import append
from trainers.accelerated.cpreresnet import Fusion, fuse
from trainers.accelerated.triton_classification import CrossEntropy
from trainers.building.image_networks import build
from trainers.config.norm import NormPolicy
from trainers.submodel import SubModel
from trainers.trials.images import resolve

_FUSIONS = {"none": Fusion(), "joined": Fusion(joined=True), "chained": Fusion(chained=8)}
_OF = {"none": ("instance", "batch"), "joined": ("batch",), "chained": ("instance",)}


def of_a_pass(norm: NormPolicy, width: float, fusion: Fusion, batch: int) -> list[Program]:
    """All launches of one sub-model's forward and backward."""
    network = build(resolve({"norm": norm, "precision": "bf16"}), 0).train()
    network.to(memory_format=torch.channels_last).activate(SubModel(width=width))
    fused = fuse(network.network, fusion)
    assert fused is not None
    images = torch.zeros(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    with compiling() as programs, fused.apart(0) as additions, torch.autocast("cpu", torch.bfloat16):
        CrossEntropy.apply(fused(images), torch.zeros(batch, dtype=torch.int64), None).backward()
        additions.due().add_up()
    return programs


@click.command()
@click.option("--batch", default=128, show_default=True)
@click.option("--norm", "norms", multiple=True, default=("instance", "batch"), show_default=True)
@click.option("--width", "widths", multiple=True, type=float, default=(1.0, 0.25), show_default=True)
@click.option("--fusion", "fusions", multiple=True, type=click.Choice(list(_FUSIONS)), default=tuple(_FUSIONS))
def main(batch: int, norms: tuple[NormPolicy, ...], widths: tuple[float, ...], fusions: tuple[str, ...]) -> None:
    """Compiles and appends to the results."""
    for name, norm, width in ((f, n, w) for f in fusions for n in norms if n in _OF[f] for w in widths):
        programs = of_a_pass(norm, width, _FUSIONS[name], batch)
        arm = {"norm": norm, "width": width, "fusion": name, "batch": batch, "launches_of_pass": len(programs)}
        for program, launches in sorted(Counter(programs).items(), key=lambda item: (item[0].name, item[0].count)):
            row = {
                "program": program.name,
                "launches": launches,
                "programs": program.count,
                "warps": program.warps,
                "registers": program.registers,
                "spilled_bytes": program.spilled,
                "shared_bytes": program.shared,
                "resident": program.resident,
                "resident_warps": program.resident * program.warps,
            }
            append("registers", [{**arm, **row}])


if __name__ == "__main__":
    main()
