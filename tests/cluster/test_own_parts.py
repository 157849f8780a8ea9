"""Parts of a study's own reach workers on hosts that have nothing of its folder, or an older one of the same name."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.commands.command_line import run
from tests.cluster.hosts import Hosts, hosts, possible
from tests.faults import harness
from tests.studies.test_own_study import HERE, ROOT, study_at
from tests.trainers.own_tables import put_back

pytestmark = [
    pytest.mark.skipif(not possible(), reason="network and mount namespaces need root on Linux, and iproute2"),
    pytest.mark.xdist_group("hosts"),
]
CHOSEN = ("--seeds", "1", "--only", "sampler=cheap-first,sampler=cheap-first(2)", "--max-concurrent", "2")
HELD = 9  # the step, of 12, before which trials wait; there is a checkpoint of step 8

# What the module beside the study does on a worker: it tells where it has what it runs, and waits to be let go.
TELLS = """

def tell(index, file):
    import json, os, sys, time
    from pathlib import Path

    folder = Path(os.environ.get("FAULTS", "nowhere"))
    if index != {held} or not folder.is_dir():
        return
    there = sorted(path.name for path in Path("{study}").iterdir())
    modules = {{"study": file, "beside": __file__, "trainers": sys.modules["trainers"].__file__}}
    told = folder / os.environ["HOST"]
    told.with_suffix(".new").write_text(json.dumps({{"pid": os.getpid(), "there": there, **modules}}))
    told.with_suffix(".new").rename(told)
    while (folder / "hold").exists():
        time.sleep(0.05)
"""


@dataclass
class Two:
    """Two hosts, and a study that lies where neither sees it."""

    hosts: Hosts
    study: Path

    def start(self, host: int, storage: Path, *arguments: str) -> "subprocess.Popen[str]":
        """The study's command line on a host, whose trials wait at a step."""
        shutil.rmtree(self.hosts.faults, ignore_errors=True)
        harness.faults(self.hosts.faults, {"hold": ""})
        environment = {**self.hosts.env, "PYTHONPATH": str(ROOT)}
        return harness.start(
            storage, *arguments, *CHOSEN, env=environment, script=self.study, prefix=self.hosts.inside(host)
        )

    def told(self, process: "subprocess.Popen[str]", *by: int) -> list[dict[str, Any]]:
        """What workers on hosts tell, once there is one that waits on each."""
        files = [self.hosts.faults / str(host) for host in by]
        harness.wait_until(process, lambda: all(file.exists() for file in files))
        return [json.loads(file.read_text()) for file in files]

    def release(self) -> None:
        """Lets the trials go on."""
        (self.hosts.faults / "hold").unlink()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anywhere")
    text = (HERE / "my_study.py").read_text().replace("import smallest_of", "import smallest_of, tell")
    text = text.replace("    costs = [", "    tell(moment.index, __file__)\n    costs = [")
    (folder / "my_study.py").write_text(text)
    beside = (HERE / "beside.py").read_text() + TELLS.format(held=HELD, study=folder)
    (folder / "beside.py").write_text(beside)
    return folder / "my_study.py"


@pytest.fixture(scope="module")
def two(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """The first host has an empty folder in the place of the study's, the second what the study's was once."""
    nothing, before = tmp_path_factory.mktemp("nothing"), tmp_path_factory.mktemp("before")
    shutil.copyfile(study, before / study.name)
    (before / "beside.py").write_text("raise AssertionError('not what was sent')\n")
    (before / "old").touch()
    with hosts(2, {1: (nothing, study.parent), 2: (before, study.parent)}) as made:
        yield Two(made, study)


@pytest.fixture(scope="module")
def alone(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of the same study, run in this process."""
    storage = tmp_path_factory.mktemp("alone")
    with put_back(), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(study.parent))
        module = study_at(study.parent)
        assert run(module.STUDY, module.trainer, ["--debug", "--storage", str(storage), *CHOSEN[:4]]) == 0
    return storage


def assert_sent(told: list[dict[str, Any]]) -> None:
    """That workers ran what was sent, on hosts where the study's folder is not the driver's."""
    for each, there in zip(told, ([], ["beside.py", "my_study.py", "old"]), strict=True):
        assert [name for name in each["there"] if name != "__pycache__"] == there
        assert all("_ray_pkg" in each[module] for module in ("study", "beside", "trainers")), each


def same(storage: Path, alone: Path) -> None:
    found, expected = (harness.table(each, "my_study", "quick") for each in (storage, alone))
    assert len(found) == 4  # two arms of two sub-models
    assert found.equals(expected)


def test_a_driver_elsewhere_brings_its_parts_to_workers_that_see_nothing_of_its_folder(
    two: Two, alone: Path, tmp_path: Path
) -> None:
    process = two.start(1, tmp_path / "s", "run", "--address", two.hosts.head)
    told = two.told(process, 1, 2)
    two.release()
    done = harness.ended(process)
    assert (done.status, done.err) == (0, ""), done
    assert "2 files, 0.0 MB, and the packages orchestrator, trainers, studies as they are here" in done.out
    assert_sent(told)
    same(tmp_path / "s", alone)


def test_a_trial_of_own_parts_that_was_submitted_goes_on_at_another_host_when_its_own_is_lost(
    two: Two, alone: Path, tmp_path: Path
) -> None:
    process = two.start(0, tmp_path / "s", "submit", "--address", two.hosts.job_server)
    told = two.told(process, 1, 2)
    assert_sent(told)
    two.hosts.kill(2)
    (two.hosts.faults / "1").unlink()
    lost = time.monotonic()
    two.release()
    done = harness.ended(process)
    assert (done.status, done.err) == (0, ""), done
    assert done.out.count("its worker was lost; going on from its checkpoint") == 1
    assert done.out.count(": resumed at update 8") == 1
    resumed = json.loads((two.hosts.faults / "1").read_text())
    assert resumed["study"] == told[0]["study"]
    same(tmp_path / "s", alone)
    print(f"the table {time.monotonic() - lost:.0f} s after a host was lost")
