"""What a trial is called, by its run and by who trains on the storage now."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from orchestrator.commands.states import state, with_leases
from orchestrator.run.holder import Holder
from orchestrator.run.lease import LEASES

KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("status", "diverged", "is_trained", "called"),
    [
        ("FINISHED", False, False, "done"),
        ("FINISHED", True, False, "diverged"),
        ("RUNNING", False, True, "running"),
        ("RUNNING", False, False, "interrupted"),
        ("KILLED", False, True, "interrupted"),
        ("FAILED", True, True, "failed"),
        ("SCHEDULED", False, False, "scheduled"),
    ],
)
def test_a_trial_is_called_by_its_run_and_runs_only_if_somebody_is_at_it(
    status: str, diverged: bool, is_trained: bool, called: str
) -> None:
    assert state(status, diverged, is_trained) == called


def lease(storage: Path, holder: Holder) -> Path:
    path = storage / LEASES / "toy.0123456789abcdef.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(holder)))
    return path


def test_a_driver_that_begins_or_ends_while_the_store_is_read_is_at_its_trials(tmp_path: Path) -> None:
    me = replace(Holder.this_process(), trials=[KEY[:16]])

    def trained(read: Callable[[], object]) -> bool:
        _, is_trained = with_leases(tmp_path, read)
        assert not is_trained("f" * 64)
        return is_trained(KEY)

    (tmp_path / LEASES).mkdir()
    assert not trained(lambda: None)
    assert trained(lambda: lease(tmp_path, me))
    assert trained(lambda: None)
    assert trained(lambda: lease(tmp_path, me).unlink())
    assert not trained(lambda: None)


def test_of_a_storage_on_which_nothing_was_trained_the_store_is_believed(tmp_path: Path) -> None:
    _, is_trained = with_leases(tmp_path / "elsewhere", lambda: None)
    assert state("RUNNING", False, is_trained(KEY)) == "running"
    assert state("KILLED", False, is_trained(KEY)) == "interrupted"


def test_a_lease_of_a_process_that_is_dead_is_nobodys(tmp_path: Path) -> None:
    me = Holder.this_process()
    lease(tmp_path, replace(me, born=f"{str(me.born).rpartition(' ')[0]} 1", trials=[KEY[:16]]))
    _, is_trained = with_leases(tmp_path, lambda: None)
    assert not is_trained(KEY)
