"""Three hosts of their own: a study submitted to them outlives the loss of two."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.cluster.hosts import Hosts, hosts, possible
from tests.faults import harness

pytestmark = [
    pytest.mark.skipif(not possible(), reason="network namespaces need root on Linux"),
    pytest.mark.xdist_group("hosts"),  # one network
]

LONG = ["--set", "steps=200", "--set", "pause=0.05", "--set", "evaluations=10"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = Path("/tmp") / f"ray-{os.getpid()}"  # a socket's path may have 107 characters
    with hosts(3, folder) as made:
        yield made


def submit(three: Hosts, storage: Path, *arguments: str) -> "subprocess.Popen[str]":
    return harness.start(storage, "submit", "--address", three.job_server, *LONG, *arguments, env=three.env)


def status(storage: Path) -> str:
    command = [sys.executable, str(harness.SCRIPT), "status", *LONG, "--storage", str(storage)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_study_submitted_to_three_hosts_outlives_the_loss_of_two(
    three: Hosts, left_alone: Path, tmp_path: Path
) -> None:
    process = submit(three, tmp_path)
    said = harness.wait_for(process, "30%")
    assert "3 at a time" in said
    again = harness.ended(submit(three, tmp_path, "--no-wait"))
    assert "runs there already" in again.out
    assert again.status == 0
    three.cut_off(3)
    three.kill(2)
    lost = time.monotonic()
    done = harness.ended(process)
    assert (done.status, done.err) == (0, ""), done
    assert "its worker was lost; going on from its checkpoint" in done.out
    harness.same(tmp_path, left_alone)
    assert status(tmp_path).count("done") == 6

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("chain")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`study.role` = 'trial'")
    assert all("_ray_pkg" in run.data.tags["device"] for run in runs)  # imported from what was sent
    assert len(runs[0].data.tags["git.commit"]) == 40
    print(f"two of three hosts lost; the table {time.monotonic() - lost:.0f} s after")

    done = harness.ended(submit(three, tmp_path))  # what is finished is not run again
    assert done.status == 0
    assert "All 6 trials are finished already" in done.out


def test_the_exit_status_is_the_studys_and_a_wrong_token_is_one_line(three: Hosts, tmp_path: Path) -> None:
    done = harness.ended(submit(three, tmp_path / "s", "--only", "arm=a", "--gpus-per-trial", "7"))
    assert done.status == 2, done
    assert "a trial asks for 1 CPUs and 7 GPUs" in done.out
    wrong = {**three.env, "RAY_AUTH_TOKEN": "0" * 64}
    done = harness.ended(harness.start(tmp_path, "submit", "--address", three.job_server, env=wrong))
    assert done.status == 2, done
    assert done.err.count("\n") == 1
    assert "token" in done.err.lower()


def test_a_driver_elsewhere_sends_the_tree_and_trials_run_on_the_cluster(
    three: Hosts, left_alone: Path, tmp_path: Path
) -> None:
    arguments = ["run", "--address", three.head, "--set", "steps=200", "--set", "pause=0", "--set", "evaluations=10"]
    done = harness.ended(harness.start(tmp_path, *arguments, env=three.env, prefix=three.inside(1)))
    assert done.status == 0, done
    harness.same(tmp_path, left_alone)
