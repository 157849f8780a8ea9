"""Table 1's study gives the digits that it gave when they were written down.

They were written by `python studies/cifar_norm_ablation.py --preset smoke --seeds 1`, with the `smoke` of that time:
`results.csv` of its report, less `facet`, `outcome` and `seconds`. Processors of another maker or instruction set
add up in another order, so each kind has a file of its own.
"""

from pathlib import Path

import pandas as pd
import pytest
import torch

from orchestrator.commands.command_line import run
from studies.image_trainer import ImageTrainer
from tests.studies.former_smoke import STUDY

GOLDEN = Path(__file__).parent / "golden" / "smoke"


def processor() -> str:
    """`AuthenticAMD-AVX2`: who made it, and the instructions that torch uses of it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    maker = next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "unknown")
    return f"{maker}-{torch.backends.cpu.get_cpu_capability()}"


def test_smoke_gives_every_digit_that_it_gave(tmp_path: Path) -> None:
    golden = GOLDEN / f"{processor()}.csv"
    if not golden.exists():
        pytest.skip(f"nothing was written down for {processor()}")
    assert run(STUDY, ImageTrainer(), ["--preset", "smoke", "--seeds", "1", "--debug", "--storage", str(tmp_path)]) == 0
    report = tmp_path / "reports" / "cifar_norm_ablation" / "smoke" / "results.csv"
    written = pd.read_csv(golden)
    pd.testing.assert_frame_equal(pd.read_csv(report)[list(written)], written, check_exact=True)
