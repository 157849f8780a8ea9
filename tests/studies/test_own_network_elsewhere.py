"""A network of a study's own, where its file was not run: refused in a line, and answering for whoever trusts its code.

Its data set is known by what was written down of it, and asks for nothing.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest

from orchestrator.commands.command_line import run
from tests.studies.test_own_study import HERE, OWN_FILES, study_at
from tests.trainers.own_tables import put_back

ELSEWHERE = """
import sys
from pathlib import Path

import mlflow
import numpy as np
import torch

from trainers.errors import ConfigError
from trainers.extraction.export import load
from trainers.tasks.images import Normalisation

torch.set_num_threads(1)
model, alone, images, mean, std = Path(sys.argv[1]), Path(sys.argv[2]), np.load("images.npy"), *map(float, sys.argv[3:])
trusted = {"trust_code": True}


def refused(load):
    try:
        load()
    except ConfigError as error:
        print(error)


def answers():
    served = mlflow.pyfunc.load_model(str(model), model_config=trusted)
    normalised = Normalisation((mean,), (std,))(torch.from_numpy(images))
    cut_out = load(alone, trust_code=True)(normalised).detach().numpy()
    assert np.array_equal(served.predict(images, params={"sub_model": "w050"}), cut_out)
    return cut_out


refused(lambda: mlflow.pyfunc.load_model(str(model)))
refused(lambda: load(alone))
assert not {"my_study", "beside"} & set(sys.modules)  # nothing was run
np.save("answers.npy", answers())
import my_study  # edited since
refused(lambda: load(alone))
refused(lambda: mlflow.pyfunc.load_model(str(model)))
assert np.array_equal(answers(), np.load("answers.npy"))
kept = alone / "code" / "two-layers.network.py"
kept.write_text(kept.read_text().replace(".relu()", ".sigmoid()"))
refused(lambda: load(alone, trust_code=True))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study whose network needs a module beside it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit of the same second and length
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in OWN_FILES:
        shutil.copyfile(HERE / name, tmp_path / name)
    text = (tmp_path / "my_study.py").read_text().replace("import smallest_of", "import eight, smallest_of")
    (tmp_path / "my_study.py").write_text(text.replace("nn.Linear(8", "nn.Linear(eight()"))
    (tmp_path / "beside.py").write_text((HERE / "beside.py").read_text() + "\n\ndef eight() -> int:\n    return 8\n")
    return tmp_path


def test_it_answers_where_its_file_was_not_run_for_whoever_trusts_its_code_and_for_nobody_else(folder: Path) -> None:
    chosen = ["--only", "sampler=cheap-first(2)", "--seeds", "1", "--storage", str(folder / "runs")]
    with put_back():
        module = study_at(folder)
        images = module.stripes().test_images[:3].numpy()
        assert run(module.STUDY, module.trainer, ["--debug", *chosen, "--set", "updates=2"]) == 0
        extract = ["extract", *chosen, "--set", "updates=2", "--sub-model", "w050", "--to", str(folder / "alone")]
        assert run(module.STUDY, module.trainer, extract) == 0
        (model,) = (file.parent for file in (folder / "runs" / "artifacts").rglob("MLmodel"))
        expected = mlflow.pyfunc.load_model(str(model)).predict(images, params={"sub_model": "w050"})
    kept = {path.relative_to(model / "code").as_posix() for path in (model / "code").rglob("*.py")}
    assert kept == {"two-layers.network.py", "beside.py"}
    shown = (model / "code" / "two-layers.network.py").read_text()
    assert "class TwoLayers" in shown
    assert "STUDY" not in shown
    about = json.loads((folder / "alone" / "config.json").read_text())
    assert (about["classes"], about["code"]["file"]) == (2, "my_study.py")

    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    np.save(elsewhere / "images.npy", images)
    edited = (folder / "my_study.py").read_text().replace(".relu()", ".tanh()")
    (elsewhere / "my_study.py").write_text(edited)
    (elsewhere / "beside.py").write_text("def smallest_of(values):\n    return 1\n\n\ndef eight():\n    return 8\n")
    command = [sys.executable, "-c", ELSEWHERE, str(model), str(folder / "alone")]
    command += [str(about["mean"][0]), str(about["std"][0])]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 5, said
    for line in said[:2]:
        assert "network 'two-layers' is registered by my_study.py (SHA-256 " in line
        assert "which was not run here: first import `my_study`, or read " in line
        assert "two-layers.network.py (16 lines) and, if you trust it, have it run with trust_code=True" in line
    for line in said[2:4]:
        assert "my_study.py is not the one that was trained" in line
    assert "two-layers.network.py is not the network 'two-layers' that was trained: it was changed since" in said[4]
    answers = np.load(elsewhere / "answers.npy")
    assert np.array_equal(answers, expected)
