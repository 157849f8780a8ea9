"""Nodes that go and come back, with and without notice, on Ray's cluster of several nodes on one machine."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.faults import harness

LONG = ["--set", "steps=200", "--set", "pause=0", "--set", "evaluations=10"]
NOTICE_SECONDS = 2
HELD = ("a-0-70", "b-0-130")  # those that run first, one on each node


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two trials are held at a step, on whichever nodes are started from now on."""
    folder = tmp_path / "faults"
    for name, value in harness.faults(folder, dict.fromkeys(HELD, "hold")).items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def cluster(faults: Path) -> Iterator[Cluster]:
    """A head without a CPU for trials, to which nodes are added."""
    head = {"num_cpus": 0, "include_dashboard": False, "dashboard_agent_listen_port": 0}  # any, not 52365 for all
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield made
    finally:
        made.shutdown()


@pytest.mark.parametrize("notice", [False, True], ids=["without notice", "preempted"])
def test_a_node_goes_while_its_trials_run_and_another_comes(
    notice: bool, cluster: Cluster, faults: Path, left_alone: Path, tmp_path: Path
) -> None:
    going, _ = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    storage = tmp_path / "s"
    process = harness.start(storage, *LONG, "--address", cluster.address)
    workers = harness.wait_for_held(process, faults, *HELD)
    if notice:
        command = [str(Path(sys.executable).parent / "ray"), "drain-node", "--address", cluster.address]
        command += ["--node-id", going.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
        command += ["--reason-message", "spot", "--deadline-remaining-seconds", str(NOTICE_SECONDS)]
        subprocess.run(command, check=True, capture_output=True, env=os.environ)
        time.sleep(NOTICE_SECONDS)  # Ray calls it preempted from then on
    cluster.remove_node(going, allow_graceful=False)
    harness.wait_until(process, lambda: any(map(harness.is_dead, workers)))  # released before, it would go on
    harness.release(faults)
    cluster.add_node(num_cpus=1)
    done = harness.ended(process)
    assert done.status == 0, done
    assert "its worker was lost; going on from its checkpoint" in done.out
    resumed = {f"{held[0]} · seed 0: resumed at update {int(held[4:]) // 20 * 20}" for held in HELD}
    assert sum(said in done.out for said in resumed) == 1
    harness.same(storage, left_alone)
