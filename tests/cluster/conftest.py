"""What a study on several hosts or nodes is compared with."""

from pathlib import Path

import pytest

from tests import conftest


@pytest.fixture(scope="session")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials of 200 steps on this machine, without pauses: how long a step takes changes no result."""
    long = ("--set", "steps=200", "--set", "pause=0", "--set", "evaluations=10")
    return conftest.undisturbed("long", tmp_path_factory, *long)
