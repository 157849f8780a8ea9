"""An undisturbed run to be compared with; how many moments are tried."""

import time
from pathlib import Path

import pytest

from tests.faults import harness


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a study that nothing happened to."""
    storage = tmp_path_factory.mktemp("calm")
    started = time.monotonic()
    done = harness.run(storage)
    assert (done.status, done.err) == (0, "")
    (storage / "duration").write_text(str(time.monotonic() - started))
    return storage


@pytest.fixture(scope="session")
def duration(calm: Path) -> float:
    """Seconds that an undisturbed run takes."""
    return float((calm / "duration").read_text())
