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

LONG = ["--set", "steps=200", "--set", "pause=0.03", "--set", "evaluations=10"]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without a CPU for trials and two nodes with one each."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield made
    finally:
        made.shutdown()


@pytest.mark.parametrize("notice", [False, True], ids=["without notice", "preempted"])
def test_a_node_goes_while_its_trials_run_and_another_comes(
    notice: bool, cluster: Cluster, left_alone: Path, tmp_path: Path
) -> None:
    going, _ = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    process = harness.start(tmp_path, *LONG, "--address", cluster.address)
    harness.wait_for(process, "30%")
    if notice:
        command = [str(Path(sys.executable).parent / "ray"), "drain-node", "--address", cluster.address]
        command += ["--node-id", going.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
        command += ["--reason-message", "spot", "--deadline-remaining-seconds", "2"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ)
        time.sleep(3)
    cluster.remove_node(going, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    done = harness.ended(process)
    assert done.status == 0, done
    assert "its worker was lost; going on from its checkpoint" in done.out
    harness.same(tmp_path, left_alone)
