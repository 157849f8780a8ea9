"""What a study file answers at once: its help, and what is wrong with a command line, before torch is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUDIES = sorted(path for path in (ROOT / "studies").glob("*.py") if "\n    main(STUDY" in path.read_text())
HEAVY = ("torch", "ray", "mlflow", "numpy", "pandas", "sqlalchemy")
RUN = f"""
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print([name for name in {HEAVY} if name in sys.modules])
"""
WRONG = {
    "option": ["--sed", "3"],
    "command": ["rnu"],
    "preset": ["--preset", "quikc"],
    "factor": ["--only", "metod=NS"],
    "level": ["--only", "method=SortdNet"],
    "baseline": ["--baseline", "method=NN"],
    "varied": ["--set", "norm=batch"],
    "seeds": ["--seeds", "x"],
    "debug": ["--debug", "--pack"],
    "include": ["plan", "--include", "x"],
    "extract": ["extract", "--preset", "smoke"],
    "submit": ["submit", "--preset", "smoke"],
    "setting": ["--set", "learnin_rate=1"],
    "an abbreviation": ["plan", "--set", "lr=1"],
    "case": ["--only", "method=Sortednet"],
    "unit": ["--equalize", "pases"],
    "verb without the option": ["status", "--pack"],
    "sides": ["compare", "method=NS", "norm=batch"],
}


def answer(study: Path, *arguments: str) -> tuple[int, str, str]:
    """The exit status, the last line shown, which is what has been imported, and the error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN, str(study), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stdout.splitlines()[-1], done.stderr


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.stem)
def test_help_imports_nothing_heavy(study: Path) -> None:
    assert answer(study, "--help") == (0, "[]", "")


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_command_line_is_said_before_anything_heavy_is_imported(case: str) -> None:
    status, imported, error = answer(ROOT / "studies" / "cifar_norm_ablation.py", *WRONG[case])
    assert (status, imported) == (2, "[]"), error
    assert error.count("\n") == 1


def test_a_worker_imports_neither_mlflow_nor_what_trains() -> None:
    heavy = ("mlflow", "sqlalchemy", "torch")
    code = f"import sys, orchestrator.run.tune_worker; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_studies_of_images_import_nothing_of_texts() -> None:
    of_texts = ("transformers", "tokenizers", "datasets", "huggingface_hub", "trainers.tasks.texts")
    asked = "import sys, studies.image_trainer as i; i.ImageTrainer.kind"
    code = f"{asked}; print([name for name in {of_texts} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("preset", ["smoke", "quick"])
def test_a_study_of_texts_without_the_extra_says_what_to_install(preset: str, tmp_path: Path) -> None:
    without = "import runpy, sys; sys.modules['transformers'] = None; sys.argv = sys.argv[1:]; "
    code = f"{without} runpy.run_path(sys.argv[0], run_name='__main__')"
    study = str(ROOT / "studies" / "glue_bert_ablation.py")
    command = [sys.executable, "-c", code, study, "--preset", preset, "--storage", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert "pip install 'sortednet-studies[text]'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["plan", "--preset", "smoke"], ["--preset", "smoke"]])
def test_a_user_without_a_home_is_told_before_anything_heavy_is_imported(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "not/absolute")
    status, imported, error = answer(ROOT / "studies" / "cifar_norm_ablation.py", *arguments)
    assert (status, imported, error.count("\n")) == (2, "[]", 1)
    assert "set HOME" in error


@pytest.mark.parametrize("verb", ["run", "settings", "compare"])
def test_the_help_of_a_verb_imports_nothing_heavy(verb: str) -> None:
    assert answer(ROOT / "studies" / "glue_bert_ablation.py", verb, "--help") == (0, "[]", "")


def test_configs_and_trainers_are_there_without_torch() -> None:
    code = (
        "import sys, studies.image_trainer as i, studies.text_trainer as t; i.ImageTrainer(), t.TextTrainer()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"
