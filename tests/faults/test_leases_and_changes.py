"""Two people at once; studies that are extended, changed, or tampered with in the MLflow UI; old databases."""

import json
import os
import re
import signal
import sqlite3
from pathlib import Path

from mlflow import MlflowClient

from tests.faults import harness


def states(storage: Path, arm: str) -> set[str]:
    """Of an arm's first trial, in both forms of `status`."""
    (told, *_) = json.loads(harness.run_here(storage, "status", "--json", "--only", f"arm={arm}").out)["trials"]
    (shown,) = re.findall(rf"{arm} +│ 0 +│ (\w+)", harness.run_here(storage, "status", "--only", f"arm={arm}").out)
    return {told["state"], shown}


def test_of_two_at_once_one_runs_and_the_other_says_who(calm: Path, tmp_path: Path) -> None:
    first = harness.start_held(tmp_path / "s", "--debug")
    assert states(tmp_path / "s", "a") == {"running"}
    second = harness.run_here(tmp_path / "s")
    assert second.status == 2
    assert second.err.count("\n") == 1
    assert f"process {first.pid}" in second.err
    harness.let_go(tmp_path / "s")
    done = harness.ended(first)
    assert (done.status, done.err) == (0, ""), done
    harness.same(tmp_path / "s", calm)


def test_of_two_studies_that_share_trials_one_trains_them(calm: Path, tmp_path: Path) -> None:
    storage, script, root = tmp_path / "s", tmp_path / "other.py", Path(__file__).parents[2]
    script.write_text(
        "from dataclasses import replace\nfrom orchestrator.commands.command_line import main\n"
        "from tests.faults.chain import STUDY, ChainTrainer\n"
        "if __name__ == '__main__':\n    main(replace(STUDY, name='other'), ChainTrainer())\n"
    )
    first = harness.start_held(storage)
    other = harness.ended(harness.start(storage, script=script, env={"PYTHONPATH": str(root)}))
    assert (other.status, other.err.count("\n")) == (2, 1), other
    assert "6 of these trials belong to chain too, which trains on this storage: " in other.err
    harness.let_go(storage)
    done = harness.ended(first)
    assert (done.status, done.err) == (0, ""), done
    harness.same(storage, calm)
    other = harness.ended(harness.start(storage, "--debug", script=script, env={"PYTHONPATH": str(root)}))
    assert (other.status, other.err) == (0, ""), other
    assert "a · seed 0: resumed at update 40" in other.out  # from the checkpoints of the first
    assert harness.table(storage, "other").equals(harness.table(calm))


def test_the_lease_of_a_dead_driver_is_taken_over(calm: Path, tmp_path: Path) -> None:
    storage = tmp_path / "s"
    process = harness.start_held(storage)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert list((storage / "leases").glob("*.json"))
    assert states(storage, "a") == {"interrupted"}
    done = harness.run_here(storage, "--debug")
    assert (done.status, done.err) == (0, ""), done
    harness.same(storage, calm)
    assert not list((storage / "leases").glob("*.json"))


def test_a_finished_study_grows_by_what_is_new_and_a_deleted_run_is_run_again(calm: Path, tmp_path: Path) -> None:
    done = harness.run_here(tmp_path, "--debug", "--seeds", "1", "--only", "arm=a,arm=b")
    assert "2 of 2 trials to run" in done.out
    done = harness.run_here(tmp_path, "--debug", "--seeds", "1")
    assert "1 of 3 trials to run" in done.out
    done = harness.run_here(tmp_path, "--debug")
    assert "3 of 6 trials to run" in done.out
    harness.same(tmp_path, calm)

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("chain")
    assert experiment is not None
    trial = client.search_runs([experiment.experiment_id], "tags.arm = 'b' AND tags.seed = '1'")[0]
    client.delete_run(trial.info.run_id)
    done = harness.run_here(tmp_path, "--debug")
    assert "1 of 6 trials to run" in done.out
    assert "b · seed 1: resumed at update 40" in done.out  # its checkpoint is still there
    harness.same(tmp_path, calm)

    done = harness.run_here(tmp_path, "--debug", "--set", "steps=20")
    assert "6 of 6 trials to run" in done.out  # another budget is another experiment, under a parent of its own
    assert done.status == 0
    runs = client.search_runs([experiment.experiment_id], "tags.`study.role` = 'base'")
    assert len(runs) == 2


def test_a_run_deleted_while_it_trains_is_recorded_anew(calm: Path, tmp_path: Path) -> None:
    storage = tmp_path / "s"
    process = harness.start_held(storage, "--debug")
    client = MlflowClient(tracking_uri=f"sqlite:///{storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("chain")
    assert experiment is not None
    running = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING' AND tags.arm = 'a'")
    for run in running:
        client.delete_run(run.info.run_id)
    assert running
    harness.let_go(storage)
    done = harness.ended(process)
    assert (done.status, done.err) == (0, ""), done
    harness.same(storage, calm)


def test_a_database_of_an_older_mlflow_is_named_with_what_to_do(tmp_path: Path) -> None:
    assert harness.run_here(tmp_path, "--debug", "--seeds", "1", "--only", "arm=a").status == 0
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '97727af70f4d'")
    database.close()
    done = harness.run(tmp_path)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "mlflow db upgrade" in done.err
