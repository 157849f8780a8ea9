"""What a study on several hosts or nodes is compared with."""

from pathlib import Path

import pytest

from tests.faults import harness


@pytest.fixture(scope="session")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials of 200 steps on this machine, without pauses: how long a step takes changes no result."""
    storage = tmp_path_factory.mktemp("alone")
    done = harness.run(storage, "--set", "steps=200", "--set", "pause=0", "--set", "evaluations=10")
    assert (done.status, done.err) == (0, "")
    return storage
