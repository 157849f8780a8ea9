"""The kernels of a step on CUDA in Triton's interpreter, number by number, on CPU and in fp32; and its compiler."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.interpreted.process import Interpreted, interpreting
from trainers.accelerated.cpreresnet import Fusion

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="torch without CUDA brings no Triton")


@pytest.fixture(scope="module")
def interpreted() -> Iterator[Interpreted]:
    with interpreting() as process:
        yield process


@pytest.mark.parametrize(
    "case",
    [
        ("instance", 0.5, 2, 12, 8192, 256),  # images held whole
        ("instance", 0.7, 1, 16, 1024, 1),  # odd widths, images in parts, tiles in turn
        ("batch", 0.7, 2, 8, 1024, 256),
        ("batch", 0.5, 2, 12, 8192, 256),  # pixels that are no power of two
        ("batch-switchable", 0.25, 2, 16, 1024, 4),
        ("batch", 0.7, 2, 8, 1024, 256, Fusion(joined=True)),
        ("instance", 0.7, 1, 16, 8192, 256, Fusion(chained=8)),  # with projection, without, behind a stride
    ],
    ids=lambda case: " ".join(map(str, case)),
)
def test_fused_passes_are_those_of_the_layers(case: tuple[Any, ...], interpreted: Interpreted) -> None:
    from tests.trainers.interpreted.passes import passes

    interpreted(passes, *case)


@pytest.mark.parametrize(
    "case",
    [
        ("instance", 0.25, 2, 8, 8192, 256, False),  # images held whole
        ("batch", 0.25, 2, 8, 1024, 1, True),  # in parts, tiles in turn, apart
        ("instance", 0.25, 2, 8, 8192, 256, True, Fusion(chained=8)),
        ("batch", 0.25, 2, 8, 1024, 1, False, Fusion(joined=True)),
    ],
    ids=lambda case: " ".join(map(str, case)),
)
def test_replicas_in_shared_launches_are_what_they_are_alone(case: tuple[Any, ...], interpreted: Interpreted) -> None:
    from tests.trainers.interpreted.replicas import replicas_are_what_they_are_alone

    interpreted(replicas_are_what_they_are_alone, *case)


def test_steps_of_replicas_in_shared_launches_are_those_of_each_alone(interpreted: Interpreted) -> None:
    from tests.trainers.interpreted.replicas import whole_steps_are_what_they_are_alone

    interpreted(whole_steps_are_what_they_are_alone)


def test_batches_and_losses_are_those_of_torch(interpreted: Interpreted) -> None:
    from tests.trainers.interpreted.classification import batches_and_losses_are_torchs

    interpreted(batches_and_losses_are_torchs)


def test_all_programs_compile_for_a_card(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.trainers.compiled"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names, launches, counting = json.loads(done.stdout)
    assert set(names) == {
        "lift", "convolve", "pointwise", "rectify", "pool", "convolve_back", "pointwise_back", "pool_back",
        "through_norm", "weight_gradient", "batch_moments", "batch_sums", "bottleneck", "bottleneck_back", "_add_up",
        "_sgd", "_crop", "_cross_entropy", "_cross_entropy_back",
    }  # fmt: skip
    norms = 7  # of two blocks: one launch fewer there and one back for each
    assert launches["batch 3 joined"] == launches["batch 3"] - 2 * norms
    assert set(counting) == {"convolve", "pointwise", "convolve_back", "pointwise_back", "pool_back"}
    for accesses in (each for of_program in counting.values() for each in of_program):
        count = accesses.index("atom.global.gpu.acq_rel.add.u32")
        # what all threads have written comes before the count, and what others have is read after it, past the cache
        assert accesses[count - 1] == accesses[count + 1] == "bar.sync"
        assert any(access.startswith("st.global") for access in accesses[:count])
        read = [access for access in accesses[count:] if access.startswith("ld.global")]
        assert read
        assert all(".cg" in access for access in read)
    # of a block behind a stride what follows its first convolution; of the next one all, there and back
    assert launches["instance chained"] == launches["instance"] - (1 + 3 + 2)


def test_a_step_of_sgd_is_that_of_its_formula(interpreted: Interpreted) -> None:
    from tests.trainers.interpreted.sgd import steps_are_the_formulas

    interpreted(steps_are_the_formulas)


@pytest.mark.parametrize("fusion", [Fusion(), Fusion(joined=True)], ids=str)
def test_passes_side_by_side_add_what_they_add_one_after_the_other(fusion: Fusion, interpreted: Interpreted) -> None:
    from tests.trainers.interpreted.side_by_side import side_by_side_is_one_after_the_other

    interpreted(side_by_side_is_one_after_the_other, fusion)
