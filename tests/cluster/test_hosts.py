"""Three hosts of their own: a study submitted to them outlives the loss of two."""

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
    pytest.mark.xdist_group("hosts"),  # three for all
]

LONG = ["--set", "steps=200", "--set", "pause=0", "--set", "evaluations=10"]
HELD = ("a-0-70", "b-0-110", "c-0-130")  # those that run first, one on each host


@pytest.fixture(scope="module")
def three() -> Iterator[Hosts]:
    with hosts(3) as made:
        yield made


def submit(three: Hosts, storage: Path, *arguments: str) -> "subprocess.Popen[str]":
    job = ["submit", "--address", three.job_server, *LONG, *arguments]
    return harness.start(storage, *job, env=three.env, prefix=three.inside(0))


def status(storage: Path) -> str:
    command = [sys.executable, str(harness.SCRIPT), "status", *LONG, "--storage", str(storage)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_study_submitted_to_three_hosts_outlives_the_loss_of_two(
    three: Hosts, left_alone: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "s"
    harness.faults(three.faults, dict.fromkeys(HELD, "hold"))
    process = submit(three, storage)
    assert "3 at a time" in harness.wait_for(process, "at a time")
    harness.wait_for_held(process, three.faults, *HELD)
    again = harness.ended(submit(three, storage, "--no-wait"))
    assert "runs there already" in again.out
    assert again.status == 0
    three.cut_off(3)
    three.kill(2)
    harness.release(three.faults)
    lost = time.monotonic()
    done = harness.ended(process)
    assert (done.status, done.err) == (0, ""), done
    assert done.out.count("its worker was lost; going on from its checkpoint") >= 2
    assert done.out.count(": resumed at update ") >= 2
    harness.same(storage, left_alone)
    assert status(storage).count("done") == 6

    client = MlflowClient(tracking_uri=f"sqlite:///{storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("chain")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`study.role` = 'trial'")
    assert all("_ray_pkg" in run.data.tags["device"] for run in runs)  # imported from what was sent
    assert len(runs[0].data.tags["git.commit"]) == 40
    print(f"two of three hosts lost; the table {time.monotonic() - lost:.0f} s after")

    done = harness.ended(submit(three, storage))  # what is finished is not run again
    assert done.status == 0
    assert "All 6 trials are finished already" in done.out


def test_the_exit_status_is_the_studys_and_a_wrong_token_is_one_line(three: Hosts, tmp_path: Path) -> None:
    done = harness.ended(submit(three, tmp_path / "s", "--only", "arm=a", "--gpus-per-trial", "7"))
    assert done.status == 2, done
    assert "a trial asks for 1 CPUs and 7 GPUs" in done.out
    wrong = {**three.env, "RAY_AUTH_TOKEN": "0" * 64}
    job = ["submit", "--address", three.job_server]
    done = harness.ended(harness.start(tmp_path, *job, env=wrong, prefix=three.inside(0)))
    assert done.status == 2, done
    assert done.err.count("\n") == 1
    assert "token" in done.err.lower()


def test_a_driver_elsewhere_sends_the_tree_and_trials_run_on_the_cluster(
    three: Hosts, left_alone: Path, tmp_path: Path
) -> None:
    arguments = ["run", "--address", three.head, *LONG]
    done = harness.ended(harness.start(tmp_path, *arguments, env=three.env, prefix=three.inside(1)))
    assert done.status == 0, done
    harness.same(tmp_path, left_alone)


def test_two_networks_of_hosts_at_once_do_not_meet() -> None:
    first, second = Hosts(1, Path()), Hosts(1, Path())
    listen = "import socket; s = socket.create_server(('10.211.47.1', 6379)); print('listens', flush=True); s.accept()"
    reach = "import socket; socket.create_connection(('10.211.47.1', 6379), 5)"
    try:
        for made in (first, second):
            made.build()
        with subprocess.Popen([*first.inside(1), sys.executable, "-c", listen], stdout=subprocess.PIPE) as listening:
            assert listening.stdout is not None
            listening.stdout.readline()
            others = subprocess.run([*second.inside(0), sys.executable, "-c", reach], capture_output=True, check=False)
            assert b"ConnectionRefusedError" in others.stderr
            subprocess.run([*first.inside(0), sys.executable, "-c", reach], check=True)
    finally:
        for made in (first, second):
            made.kill(1)
            made.remove_network()
