"""Shared parts: small lattices, the digits, a trial config of seconds."""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch is imported: who waits takes no time of others

import pytest
import torch
from filelock import FileLock

from tests.trainers.own_tables import put_back
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.datasets import dataset
from trainers.data.images.arrays import ImageArrays
from trainers.lattice import Lattice
from trainers.tasks import images
from trainers.trials.images import resolve

for _name in [name for name in os.environ if name.startswith(("RAY_", "MLFLOW_", "_MLFLOW_", "TUNE_"))]:
    del os.environ[_name]  # whoever runs the tests may have a cluster and a tracking server of their own
os.environ |= {"RAY_prestart_worker_first_driver": "0"}  # a worker for every core, which Tune uses none of

FOUR = Lattice.product(width=(0.25, 0.5, 0.75, 1.0))
TINY: dict[str, Any] = {
    "dataset": "digits",
    "batch_size": 16,
    "updates": 12,
    "evaluations": 3,
    "precision": "fp32",
    "learning_rate": 0.05,
    "warmup": 0.1,
    "schedule_stages": 0,
}


def tiny(**settings: Any) -> ImageTrialConfig:
    """A trial of a few seconds on the digits."""
    return resolve({**TINY, **settings})


@pytest.fixture(scope="session")
def digits() -> ImageArrays:
    return dataset("digits").load(None)


@pytest.fixture
def few(digits: ImageArrays, monkeypatch: pytest.MonkeyPatch) -> ImageArrays:
    """Some of the digits, tested and recalibrated on in several batches each, as many images are."""
    monkeypatch.setitem(images._EVALUATION_BATCH, "cpu", 12)
    monkeypatch.setattr(images, "CALIBRATION_BATCH", 40)
    train, test = (digits.train_images, digits.train_labels), (digits.test_images, digits.test_labels)
    some = *(part[:100] for part in train), *(part[:30] for part in test)
    return ImageArrays(*some, digits.mean, digits.std, "few digits")


@contextmanager
def _put_back_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    for name in (os.environ.keys() | before.keys()) - {"PYTEST_CURRENT_TEST"}:
        if name not in before:
            del os.environ[name]
        elif os.environ.get(name) != before[name]:
            os.environ[name] = before[name]


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """What a test, or a study run in its process, sets in the environment is gone when it ends."""
    with _put_back_environment():
        yield


@pytest.fixture(autouse=True, scope="module")
def own_environment_of_module() -> Iterator[None]:
    """So is what a study sets that all tests of a module share."""
    with _put_back_environment():
        yield


@pytest.fixture(autouse=True, scope="module")
def own_registrations() -> Iterator[None]:
    """So is what a module's tests register: others on the same worker count what there is."""
    with put_back():
        yield


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Studies that a failed test has left are ended."""
    yield
    if (harness := sys.modules.get("tests.faults.harness")) is not None:  # MLflow, which most tests do without
        harness.end_all()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns every ten microseconds."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


_LONG = ("faults", "cluster", "studies")  # rooms of tests that start processes and wait for them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that nobody is left with it when the others are done."""
    items.sort(key=lambda item: item.path.parent.name not in _LONG)


def pytest_collection_finish() -> None:
    """What is imported stays: whoever collects garbage, as statsmodels does in every call, need not look through it."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz", type=int, default=300, help="Generated inputs per reader.")
    parser.addoption("--write", action="store_true", help="Write docs/networks.md instead of comparing with it.")
    parser.addoption("--moments", type=int, default=2, help="Random moments at which each victim is killed.")


@pytest.fixture(scope="session")
def moments(request: pytest.FixtureRequest) -> int:
    """At how many moments something is killed."""
    return int(request.config.getoption("--moments"))


def undisturbed(name: str, folders: pytest.TempPathFactory, *arguments: str) -> Path:
    """The storage of a study that nothing happened to, run by the first who asks of those that test side by side."""
    from tests.faults import harness  # Ray and MLflow, which the tests of `trainers` do without

    base = folders.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    storage = base / name
    with FileLock(base / f"{name}.lock"):
        if not (storage / "whole").exists():
            shutil.rmtree(storage, ignore_errors=True)  # of an attempt that failed, which this one would go on from
            done = harness.run(storage, *arguments)
            assert (done.status, done.err) == (0, ""), done
            (storage / "whole").touch()
    return storage


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a study that nothing happened to."""
    return undisturbed("calm", tmp_path_factory)


@pytest.fixture(scope="session")
def fuzz(request: pytest.FixtureRequest) -> int:
    """How many inputs are generated."""
    return int(request.config.getoption("--fuzz"))
