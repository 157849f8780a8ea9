"""A driver's environment is changed by its main thread alone: Ray reads it in C, and a change can end the process."""

from pathlib import Path

import pytest

from tests.faults import harness

AUDIT = """
import os, sys, threading

def heed(event, arguments):
    if event in ("os.putenv", "os.unsetenv") and sys.argv[0].endswith("chain.py"):
        with open(os.environ["AUDITED"], "a") as file:
            file.write(f"{threading.current_thread().name} {event} {arguments[0].decode()}\\n")

sys.addaudithook(heed)
"""


def test_no_thread_beside_the_main_one_changes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(AUDIT)
    audited = tmp_path / "audited"
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # or MLflow's telemetry would be off of its own accord
    monkeypatch.delenv("_MLFLOW_TELEMETRY_SESSION_ID", raising=False)  # of the process that tests
    done = harness.run(tmp_path / "s", env={"PYTHONPATH": str(tmp_path), "AUDITED": str(audited)})
    assert (done.status, done.err) == (0, "")
    changes = audited.read_text().splitlines()
    assert len(changes) > 5
    assert [change for change in changes if not change.startswith("MainThread ")] == []
