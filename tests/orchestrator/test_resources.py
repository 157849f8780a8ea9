"""How many trials fit on the nodes that there are: a count of their cores and GPUs, and a cluster asked for them."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.commands.command_line import run
from orchestrator.errors import UserError
from orchestrator.run import machine
from orchestrator.run.cluster import cluster
from orchestrator.run.cluster import nodes as nodes_of_the_cluster
from orchestrator.run.machine import cpu_quota, cpus_here, gpus_here, node_here
from orchestrator.run.resources import Node, Resources, allot, doubled
from orchestrator.trainer import Place
from tests.faults.chain import STUDY, ChainTrainer

ROOT = Path(__file__).parents[2]
nodes = st.fixed_dictionaries({"CPU": st.integers(0, 64), "GPU": st.integers(0, 8)})


@settings(deadline=None)
@given(nodes=st.lists(nodes, max_size=4), cpus=st.integers(1, 8), gpus=st.sampled_from([None, 0.0, 0.5, 1.0, 2.0]))
def test_what_is_allotted_fits_and_one_more_would_not(nodes: list[Node], cpus: int, gpus: float | None) -> None:
    requested = Resources(cpus, gpus)
    try:
        share, slots = allot(requested, nodes)
    except UserError:
        wanted = 1.0 if gpus is None and any(node["GPU"] for node in nodes) else gpus or 0.0
        assert all(node["CPU"] < cpus or node["GPU"] < wanted for node in nodes)
        return
    assert share.gpus is not None
    assert share.gpus == (gpus if gpus is not None else float(any(node["GPU"] for node in nodes)))
    counts = [
        max(n for n in range(129) if n * cpus <= node["CPU"] and (not share.gpus or n * share.gpus <= node["GPU"]))
        for node in nodes
    ]
    assert slots == sum(counts)
    if slots > 1:  # a limit that all of them meet is none
        limited = allot(Resources(cpus, gpus, slots - 1), nodes)
        assert limited == (Resources(cpus, share.gpus, slots - 1), slots - 1)
        assert allot(Resources(cpus, gpus, slots), nodes) == (share, slots)


def test_a_hundred_hundredths_make_the_whole_though_their_quotient_falls_short() -> None:
    assert 7 / 0.07 < 100
    assert allot(Resources(0.07, 0.0), [{"CPU": 7}])[1] == 100


def test_a_share_is_doubled_up_to_a_whole_gpu_or_the_largest_node() -> None:
    there: list[Node] = [{"CPU": 3}, {"CPU": 6, "GPU": 1}]
    assert doubled(Resources(1, 0.6), there) == Resources(1, 1.0)
    assert doubled(Resources(1, 1.0), there) is None
    assert doubled(Resources(4, 0.0), there) == Resources(6, 0.0)
    assert doubled(Resources(6, 0.0), there) is None


def test_this_machine_has_its_cores_and_the_gpus_that_the_driver_counts() -> None:
    assert node_here() == {"CPU": os.cpu_count(), "GPU": gpus_here()}


def control_groups(folder: Path, files: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(machine, "_CONTROL_GROUPS", folder)


@pytest.mark.parametrize(
    ("files", "quota", "cpus"),
    [
        ({"cpu.max": "50000 100000\n"}, 0.5, 1),
        ({"cpu.max": "350000 100000\n"}, 3.5, 3),
        ({"cpu.max": "max 100000\n"}, None, 8),
        ({"cpu.max": ""}, None, 8),
        ({"cpu.max": "1000000 100000\n"}, 10.0, 8),
        ({"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.25, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None, 8),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0, 2),
        ({}, None, 8),
    ],
)
def test_a_container_has_as_many_cpus_as_its_quota_and_at_least_one(
    files: Mapping[str, str], quota: float | None, cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control_groups(tmp_path, files, monkeypatch)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert (cpu_quota(), cpus_here(), node_here()["CPU"]) == (quota, cpus, cpus)


def process() -> int:
    return os.getpid()


def test_with_half_a_cpu_ray_has_one_and_a_trial_of_one_or_of_half_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control_groups(tmp_path, {"cpu.max": "50000 100000"}, monkeypatch)
    monkeypatch.setattr("ray._private.utils._get_docker_cpus", lambda: 0.5)  # which is what it reads there
    with cluster(None, print):
        there = nodes_of_the_cluster()
        assert [allot(Resources(cpus), there)[1] for cpus in (1, 0.5)] == [1, 2]
        assert ray.get(ray.remote(num_cpus=0.5)(process).remote()) != process()


@pytest.fixture
def cluster_of_three_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray.init("local", num_cpus=3, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield str(ray.get_runtime_context().gcs_address)
    ray.shutdown()


@pytest.mark.parametrize(("asked", "gpu", "slots"), [([], True, 2), (["--gpus-per-trial", "0"], False, os.cpu_count())])
def test_a_plan_is_of_the_gpus_that_a_run_would_be_given(
    asked: list[str],
    gpu: bool,
    slots: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("orchestrator.run.machine.gpus_here", lambda: 2)
    places: list[Place] = []

    class Watched(ChainTrainer):
        def seconds(self, config: Mapping[str, Any], place: Place) -> float:
            places.append(place)
            return 10.0

    assert run(STUDY, Watched(), ["plan", "--json", *asked, "--storage", str(tmp_path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {place.gpu for place in places} == {gpu}
    assert (shown["side_by_side"], shown["seconds_left"]) == (slots, 10 * math.ceil(6 / slots))


ASK = """
import sys
from orchestrator.run.cluster import nodes_at
from orchestrator.run.resources import Resources, allot
import ray
print([allot(Resources(1, gpus), nodes_at(sys.argv[1], print))[1] for gpus in (0.0, 1.0)], ray.is_initialized())

from orchestrator.commands.command_line import run
from tests.faults.chain import STUDY, ChainTrainer
sys.exit(run(STUDY, ChainTrainer(), ["plan", "--json", "--gpus-per-trial", "0", "--address", *sys.argv[1:]]))
"""


def test_a_cluster_that_runs_is_asked_for_its_nodes_and_left_as_it_was(
    cluster_of_three_cores: str, tmp_path: Path
) -> None:
    before = ray.nodes()
    command = [sys.executable, "-c", ASK, cluster_of_three_cores, "--storage", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    slots, _, plan = done.stdout.partition("\n")
    assert (done.returncode, slots) == (0, "[3, 2] False"), done.stderr
    assert json.loads(plan)["side_by_side"] == 3
    assert f"on the cluster {cluster_of_three_cores}, 3 at a time" in json.loads(plan)["estimated_on"]
    assert [node["Resources"] for node in ray.nodes()] == [node["Resources"] for node in before]
    assert ray.available_resources()["CPU"] == 3
