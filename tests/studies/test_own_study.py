"""A study anywhere on the disk, with parts of every kind in its own file: planned, trained by workers, read back."""

import importlib.util
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestrator import results
from orchestrator.commands.command_line import run
from orchestrator.errors import UserError
from orchestrator.study.plan import make_plan
from orchestrator.testing.trainer_contract import TrainerContract
from orchestrator.trainer import Place, Trainer
from studies.binding import image_trainer
from studies.image_trainer import ImageTrainer
from tests.trainers.own_tables import put_back
from trainers.own import travelling
from trainers.own.travelling import OwnParts

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent / "own"
OWN_FILES = ("my_study.py", "beside.py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is no part of this repository, with the study in it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit of the same second and length
    for name in OWN_FILES:
        shutil.copyfile(HERE / name, tmp_path / name)
    return tmp_path


def study_at(folder: Path) -> ModuleType:
    """The study's file, imported as a notebook does."""
    sys.modules.pop("beside", None)
    spec = importlib.util.spec_from_file_location("my_study", folder / "my_study.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(folder))
    with put_back():
        yield study_at(folder)


def keys(folder: Path) -> dict[str, str]:
    with put_back():
        module = study_at(folder)
        plan = make_plan(module.STUDY, module.trainer(), "quick", {}, (0,))
    return {trial.arm.label: trial.key for trial in plan.trials}


def test_workers_of_ray_find_every_part_of_a_study_that_lies_anywhere_and_a_notebook_reads_it(
    folder: Path, study: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    chosen = ["--seeds", "1", "--storage", str(folder / "runs"), "--only", "sampler=uniform,sampler=cheap-first(2)"]
    command = [sys.executable, "my_study.py", *chosen, "--max-concurrent", "1"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    found = results(study.STUDY, study.trainer, storage=folder / "runs")
    assert set(found.frame["arm"]) == {"uniform", "cheap-first(2)"}
    assert {"test_acc", "test_recall", "test_loss"} <= set(found.frame)
    assert list(found.table().columns) == ["uniform", "cheap-first(2)"]
    assert "test recall of standing stripes" in found._repr_html_().lower()
    bold = sum(cell.best for table in found.tables for cell in table.cells.values())
    assert found._repr_html_().count("<b>") == bold > 0
    assert repr(found).startswith(found.answer.headline)
    assert found.tables[0].arms[0] in repr(found).splitlines()[2]
    with pytest.raises(
        UserError, match=r"my_study is in .*, but not at preset quick with these settings: run it first"
    ):
        results(study.STUDY, study.trainer, storage=folder / "runs", settings={"updates": 7})
    assert found.results.metric.name == "test_recall"
    assert "code.sampler cheap-first" in found.results.about
    assert found.figure("cost").data
    with pytest.raises(UserError, match="unknown figure 'costs': did you mean 'cost'"):
        found.figure("costs")
    # Imported rather than run, it plans the same trials.
    assert run(study.STUDY, study.trainer, ["plan", "--json", *chosen]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["finished"], len(planned["trials"])) == (2, 2)


def test_an_edited_part_leaves_no_seed_of_the_old_one_in_the_report(
    folder: Path, study: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--debug", "--storage", str(folder / "runs"), "--only", "sampler=cheap-first"]
    assert run(study.STUDY, study.trainer, [*arguments, "--seeds", "0,7", "--set", "updates=2"]) == 0
    text = (folder / "my_study.py").read_text()
    (folder / "my_study.py").write_text(text.replace("** power for cost", "** power + 0.1 for cost"))
    other = _anew(folder)
    assert run(other.STUDY, other.trainer, [*arguments, "--seeds", "1", "--set", "updates=2"]) == 0
    found = results(
        other.STUDY, other.trainer, storage=folder / "runs", settings={"updates": 2}, only="sampler=cheap-first"
    )
    assert set(found.frame["seed"]) == {0}


def _anew(folder: Path) -> ModuleType:
    """The edited file, as a new process would import it."""
    from tests.trainers.own_tables import TABLES
    from trainers.own.parts import OWN

    for kind, name in list(OWN):
        for table in TABLES:
            if OWN.get((kind, name)) is not None:
                table.pop(name, None)
        OWN.pop((kind, name))
    return study_at(folder)


EDITS = {
    "a sampler's body": ("** power for cost", "** power + 0.1 for cost", {"cheap-first", "cheap-first(2)"}),
    "an objective's": ("(*drawn, lattice.smallest)", "(*drawn, lattice.smallest, lattice.largest)", None),
    "a network's": ("nn.Conv2d(shape[0], 8, 3, padding=1)", "nn.Conv2d(shape[0], 8, 1)", None),
    "a metric's": ("100 * (logits", "100.0 * (logits", None),
    "a task's": ("label_smoothing=0.1", "label_smoothing=0.2", None),
    "a constant that data are made of": ("SIDE = 8", "SIDE = 6", None),
    "a comment": ("# lie", "# horizontal", set()),
    "a title": ('title="test recall of standing stripes"', 'title="recall"', set()),
    "how data are made, to the same data": ("size=(96, 1, SIDE, SIDE)", "size=(96, 1, SIDE, SIDE + 0)", set()),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_trial_is_another_one_if_what_it_uses_of_the_file_is(
    edit: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    was, becomes, changed = EDITS[edit]
    text = (folder / "my_study.py").read_text()
    assert text.count(was) == 1
    before = keys(folder)
    (folder / "my_study.py").write_text(text.replace(was, becomes))
    after = keys(folder)
    assert {arm for arm in before if before[arm] != after[arm]} == (before.keys() if changed is None else changed)


def test_it_is_the_same_trial_at_another_place_and_another_one_with_another_module_beside_it(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    before = keys(folder)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in OWN_FILES:
        shutil.copyfile(folder / name, elsewhere / name)
    monkeypatch.syspath_prepend(str(elsewhere))
    assert keys(elsewhere) == before
    (elsewhere / "beside.py").write_text((elsewhere / "beside.py").read_text().replace("min(", "0.5 * min("))
    after = keys(elsewhere)
    assert {arm for arm in before if before[arm] != after[arm]} == {"cheap-first", "cheap-first(2)"}


class TestTrainerWithPartsOfAStudysOwn(TrainerContract):
    """Resuming, repeating, declaring, cutting out: all as with the parts of this package."""

    @pytest.fixture
    def trainer(self, study: ModuleType) -> Trainer:
        return study.trainer()  # type: ignore[no-any-return]

    @pytest.fixture
    def settings(self, study: ModuleType) -> dict[str, Any]:
        return {**study.SETTINGS, **study.RECIPE, "sampler": "cheap-first(2)", "updates": 6}

    @pytest.fixture
    def bad_settings(self) -> list[dict[str, Any]]:
        return [
            {"sampler": "cheap-last"},
            {"dataset": "stripe"},
            {"task": "smooth"},
            {"metrics": ["acc"]},
            {"metrics": 1},
        ]


BRINGS = """
import pickle, sys
trainer, config, place = pickle.load(sys.stdin.buffer)
try:
    *_, last = trainer.fit(config, 0, place, None)
    print(sorted(name for name in last.metrics if name.startswith("test_")))
except Exception:
    import traceback
    traceback.print_exc()
"""


def in_another_process(study: ModuleType, folder: Path, edit: tuple[str, str] | None = None) -> str:
    """What a fresh process says that gets the study's trainer as workers do, the file edited meanwhile."""
    trainer = study.trainer()
    config = trainer.resolve(
        {**study.SETTINGS, **study.RECIPE, "sampler": "cheap-first", "updates": 1, "evaluations": 1}
    )
    # As if the file had been run: the text travels, the module is not imported by its name.
    brought = OwnParts.here()
    files = tuple({str(folder / "my_study.py"): (folder / "my_study.py").read_text()}.items())
    object.__setattr__(brought, "files", files)
    object.__setattr__(brought, "modules", ())
    trainer._brought = brought
    state = {**trainer.__dict__}
    handed = pickle.dumps((_Handed(type(trainer), state), config, Place(1, gpu=False, data=None)))
    if edit is not None:
        (folder / "my_study.py").write_text((folder / "my_study.py").read_text().replace(*edit))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", BRINGS], input=handed, capture_output=True, env=environment, check=False
    )
    return done.stdout.decode() + done.stderr.decode()


class _Handed:
    """A trainer as it is pickled, with what it brings."""

    def __init__(self, kind: type[ImageTrainer], state: dict[str, Any]) -> None:
        self._kind, self._state = kind, state

    def __reduce__(self) -> tuple[Any, ...]:
        return (object.__new__, (self._kind,), self._state)


def test_a_module_that_was_edited_meanwhile_is_refused(study: ModuleType, folder: Path) -> None:
    study.trainer().code({**study.trainer().resolve({**study.SETTINGS, **study.RECIPE, "sampler": "cheap-first"})})
    (folder / "beside.py").write_text("def smallest_of(values):\n    return 2 * min(values)\n")
    said = in_another_process(study, folder)
    assert "ConfigError: sampler cheap-first of " in said, said
    assert "came out otherwise where the trial runs than where the study was planned" in said


def test_a_module_that_a_worker_does_not_have_is_named_with_where_it_would_come_from(
    study: ModuleType, folder: Path
) -> None:
    study.trainer().code({**study.trainer().resolve({**study.SETTINGS, **study.RECIPE, "sampler": "cheap-first"})})
    (folder / "beside.py").unlink()
    said = in_another_process(study, folder)
    assert "my_study.py imports beside, which is not there where the trial runs: nodes of a cluster have" in said, said


def test_what_was_sent_comes_before_a_folder_of_the_same_name_on_a_node(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, file = tmp_path_factory.mktemp("sent"), folder / "my_study.py"
    text = file.read_text()
    assert travelling._found(file, text) == file
    shutil.copyfile(file, sent / file.name)
    monkeypatch.setattr(travelling, "__file__", str(sent / "trainers" / "own" / "travelling.py"))
    assert travelling._found(file, text) == sent / file.name
    (sent / file.name).write_text("# another one\n")
    assert travelling._found(file, text) == file


def test_what_was_planned_runs_though_the_file_is_edited_and_an_error_in_it_shows_its_file_and_line(
    study: ModuleType, folder: Path
) -> None:
    text = (folder / "my_study.py").read_text()
    fails = "    if moment.macs(moment.lattice.largest) > 1:\n        raise ArithmeticError('mine')\n"  # once it trains
    (folder / "my_study.py").write_text(text.replace("    costs = ", f"{fails}    costs = "))
    with put_back():
        said = in_another_process(_anew(folder), folder, ("raise ArithmeticError('mine')", "pass"))
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "    costs = " in each) + 1
    assert f"my_study.py\", line {line}, in cheap_first\n    raise ArithmeticError('mine')" in said, said


def test_a_notebook_is_told_in_a_line_what_is_not_there(study: ModuleType, tmp_path: Path) -> None:
    asked: list[tuple[dict[str, Any], str]] = [
        ({"preset": "quik"}, "unknown preset 'quik': did you mean 'quick'"),
        ({"storage": tmp_path / "none"}, "nothing of my_study is in .*none.*: run the study first"),
        ({"only": "sampler=uniformly"}, "unknown level of sampler 'uniformly'"),
    ]
    for given, said in asked:
        with pytest.raises(UserError, match=said) as refused:
            results(study.STUDY, study.trainer, **given)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "none").exists()


def test_the_study_of_the_tutorial_and_its_notebook_work_as_they_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "own-study.md").read_text()
    study = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    notebook = re.findall(r"^```text\n(from my_study .*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert (len(study), len(notebook)) == (1, 1)
    assert len(study[0].splitlines()) < 30
    assert study[0].count('"updates": 300') == 1
    (tmp_path / "my_study.py").write_text(study[0].replace('"updates": 300', '"updates": 5'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_study", raising=False)
    with put_back():
        import my_study

        arms = ["--seeds", "1", "--only", "sampler=uniform,sampler=cheap-first(0.5)"]
        assert run(my_study.STUDY, image_trainer, ["--debug", *arms]) == 0
        exec(notebook[0], {})
    monkeypatch.delitem(sys.modules, "my_study")


def test_metrics_that_are_nowhere_are_refused(study: ModuleType) -> None:
    with pytest.raises(UserError, match="unknown metric 'recal': did you mean 'recall'"):
        ImageTrainer(metrics=["recal"])
    with pytest.raises(UserError, match="than the study's trainer declares: name them where it is named"):
        ImageTrainer().resolve({**study.SETTINGS, "metrics": ["recall"]})
