"""A study's file that is at fault is answered with one line: the file, the line, and what to do about it."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from studies import launcher
from tests.trainers.own_tables import put_back

ROOT = Path(__file__).parents[2]
START = """\
from orchestrator import Factor, Preset, Study, main
from studies.binding import image_trainer

STUDY = Study("mine", "Mine", {"tiny": Preset({"dataset": "digits"}, 1, "")}, (Factor.of("norm", ["batch"]),))
"""
RUNS = 'if __name__ == "__main__":\n    main(STUDY, image_trainer)\n'
SECONDS = 0.7  # of which half is Python's and ours where nothing is wrong

# The file, and what is said: where {file} is its name, the line, and what to do.
BROKEN = {
    "a syntax error": (f"{START}x = = 3\n{RUNS}", "{file}, line 5: invalid syntax (`x = = 3`): mend that line"),
    "a bracket that never closes": (f"{START}x = (3,\n{RUNS}", "{file}, line 5: '(' was never closed (`x = (3,`): m"),
    "an indent too many": (f"{START}  x = 3\n{RUNS}", "{file}, line 5: unexpected indent (`x = 3`): mend that line"),
    "a missing package": (f"import nowhere_at_all\n{START}{RUNS}", "{file}, line 1: ModuleNotFoundError: No module "
        "named 'nowhere_at_all': install what has it, as by `pip install nowhere_at_all`, or put nowhere_at_all.py"),
    "a package's missing module": (f"{START}import click.nowhere\n{RUNS}", "{file}, line 5: ModuleNotFoundError: No "
        "module named 'click.nowhere': click is installed, without that module"),
    "a module beside it, misspelt": (f"{START}import besides\n{RUNS}", "line 5: ModuleNotFoundError: No module named "
        "'besides': did you mean 'beside'?"),
    "a name that a module lacks": (f"{START}from orchestrator import Factr\n{RUNS}", "{file}, line 5: ImportError: "
        "cannot import name 'Factr' from 'orchestrator'"),
    "the same, of what is there": (f"{START}from orchestrator import Factr\n{RUNS}", ": did you mean 'Factor'?"),
    "a relative import": (f"{START}from .beside import x\n{RUNS}", "{file}, line 5: ImportError: attempted relative "
        "import with no known parent package: a study's file is in no package: import what lies beside it by its name"),
    "an exception": (f"{START}x = 1 / 0\n{RUNS}", "{file}, line 5: ZeroDivisionError: division by zero: mend that line "
        "(--debug shows how it came to it)"),
    "an exception of many lines": (f'{START}raise ValueError("one\\ntwo\\n\\nthree")\n{RUNS}', "one two three"),
    "one that cannot be said": (f"{START}class E(Exception):\n    def __str__(self): 1 / 0\nraise E\n{RUNS}",
        "{file}, line 7: E: (what it says cannot be had: ZeroDivisionError)"),
    "one in a module beside it": (f"{START}import failing\n{RUNS}", "failing.py, line 2: KeyError: 'x': mend that"),
    "one far below": (f"{START}def f(n):\n    return f(n + 1)\nf(0)\n{RUNS}", "line 6: RecursionError: maximum"),
    "a mistyped name": (f"{START}x = STUDYY\n{RUNS}", "{file}, line 5: NameError: name 'STUDYY' is not defined"),
    "what a study refuses": (START.replace('"mine"', '"mi ne"') + RUNS, "line 4: ValueError: a name is letters"),
    "no study": (START.replace("STUDY =", "TUDY =") + RUNS, "{file}, line 6: NameError: name 'STUDY' is not defined"),
    "a study of another type": (START.replace("STUDY = Study", "STUDY = dict") .replace('"mine", "Mine", ', "")
        .replace(", (Factor", ", x=(Factor") + RUNS, "line 6: main(…) is given {'tiny': Preset"),
    "several in a list": (START + RUNS.replace("STUDY,", "[STUDY, STUDY],"), "(list) where a Study belongs"),
    "nothing that trains": (START + RUNS.replace("image_trainer", '"image"'), "main(…) is given 'image' (str) where "
        "what trains belongs"),
    "no trainer at all": (START + RUNS.replace(", image_trainer", ""), "line 6: TypeError: main() missing 1 required"),
    "two studies": (f"{START}{RUNS}    main(STUDY, image_trainer)\n", "{file}, line 7: main(…) is called again, which "
        "nothing comes to"),
    "studies in a loop": (START + RUNS.replace("    main", "    for each in [STUDY]:\n        main"),
        "line 6: main(…) is called again, which nothing comes to"),
    "no guard": (f"{START}main(STUDY, image_trainer)\n", "{file}, line 5: main(…) is called by whoever imports the "
        'file, as workers and notebooks do: put it below if __name__ == "__main__":'),
    "no guard, with a part of its own": (f"{START}from trainers import register\n@register.objective('mine')\n"
        "def f(drawn, lattice):\n    return drawn\nmain(STUDY, image_trainer)\n", 'put it below if __name__ == "__'),
    "a name that is taken": (f"{START}from trainers import register\n@register.objective('sandwich')\n"
        f"def f(drawn, lattice):\n    return drawn\n{RUNS}".replace("'sandwich'", "'stochastic-loss'"),
        "{file}, line 6: a objective named 'stochastic-loss' is there already"),
}  # fmt: skip
# What Python itself ends, or does not: the launcher alone can answer.
LAUNCHED = {
    "no call of main": (START, "{file} has the study STUDY and does not run it: end it with a call of main(STUDY, …)"),
    "two and no call of main": (f"{START}OTHER = STUDY\n", "{file} has the study STUDY and does not run it"),
    "nothing in it": ("", "{file} is empty"),
    "space in it": ("\n \n", "{file} is empty"),
    "its end before main": (f"import sys\n{START}sys.exit()\n{RUNS}", "{file}, line 6: it ends the process before a "
        'study is run, and would end every worker: put that below if __name__ == "__main__":'),
    "its end in words": (f"{START}raise SystemExit('no data')\n{RUNS}", "line 5: it ends the process (no data) before"),
    "text": ("Cheap sub-models first?\n", "{file}, line 1: invalid syntax (`Cheap sub-models first?`): mend that line"),
    "a byte order mark of another encoding": (START.encode("utf-16"), "{file}"),
    "Latin letters": (f"x = 'größer'\n{START}{RUNS}".encode("latin-1"), "{file}"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "{file}"),
    "NUL": (b"x = 1\0\n", "{file}: source code string cannot contain null bytes: a study is a file of"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("x = 1\n")
    (tmp_path / "failing.py").write_text("table = {}\ny = table['x']\n")
    return tmp_path


def written(folder: Path, content: str | bytes, name: str = "mine.py") -> Path:
    content = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(content)
    return folder / name


def ended(folder: Path, *command: str, **options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def launched(folder: Path, *arguments: str, **options: str) -> "subprocess.CompletedProcess[str]":
    return ended(folder, "-m", "studies.launcher", *arguments, **options)


def is_a_line(done: "subprocess.CompletedProcess[str]", said: str) -> None:
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("case", BROKEN | LAUNCHED)
def test_a_file_that_is_at_fault_is_one_line(
    case: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, said = (BROKEN | LAUNCHED)[case]
    file = written(folder, content)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["sortednet-studies", "plan", file.name])
    before = set(sys.modules)
    with put_back(), pytest.raises(SystemExit) as ending:
        launcher.main()
    for name in {"beside", "failing"} - before:
        sys.modules.pop(name, None)
    out, err = capsys.readouterr()
    is_a_line(subprocess.CompletedProcess([], int(ending.value.code or 0), out, err), said.replace("{file}", file.name))


@pytest.mark.parametrize(
    "case",
    [
        "a relative import",
        "an exception",
        "one in a module beside it",
        "what a study refuses",
        "no study",
        "two studies",
        "no guard, with a part of its own",
    ],
)
def test_so_it_is_where_python_runs_it(case: str, folder: Path) -> None:
    content, said = BROKEN[case]
    file = written(folder, content)
    is_a_line(ended(folder, file.name, "plan"), said.replace("{file}", file.name))


def test_the_line_comes_at_once(folder: Path) -> None:
    """In seconds of the processor, the least of three: others have the machine, too."""
    seconds = []
    for _ in range(3):
        file = written(folder, BROKEN["an exception"][0])
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        is_a_line(launched(folder, "run", str(file)), "ZeroDivisionError")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < SECONDS, seconds


@pytest.mark.parametrize("how", ["launched", "by Python"])
def test_debug_shows_the_traceback_above_the_line(how: str, folder: Path) -> None:
    file = written(folder, f"{START}import failing\n{RUNS}")
    by_launcher = launched(folder, "run", file.name, "--debug")
    done = by_launcher if how == "launched" else ended(folder, file.name, "--debug")
    assert done.returncode == 2
    *trace, line = done.stderr.splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert line.startswith("error: failing.py, line 2: KeyError: 'x'")
    assert any('mine.py", line 5' in each for each in trace)


@pytest.mark.parametrize("name", ["json.py", "random.py", "trainers.py"])
def test_a_file_with_the_name_of_a_module_that_is_needed_is_refused(name: str, folder: Path) -> None:
    file = written(folder, START + RUNS, name)
    whose = "of this project" if name == "trainers.py" else "of Python's"
    said = f"{name} has the name of a module {whose}, which would not be found any more: rename it"
    is_a_line(launched(ROOT, "plan", str(file)), said)


@pytest.mark.parametrize("name", ["random.py", "numpy.py"])
def test_a_file_beside_it_that_hides_a_module_is_named(name: str, folder: Path) -> None:
    written(folder, "x = 1\n", name)
    file = written(folder, f"{START}from {name[:-3]} import Random\n{RUNS}")
    done = ended(folder, str(file), "plan") if name == "random.py" else launched(ROOT, "plan", str(file))
    is_a_line(done, f"{name} beside it has the name of a module ")


@pytest.mark.parametrize("name", ["2nd study.py", "größer.py", "no_suffix"])
def test_a_file_may_be_called_as_no_module_could(name: str, folder: Path) -> None:
    file = written(folder, START + RUNS, name)
    for done in (launched(folder, "plan", name, "--help"), ended(folder, str(file), "plan", "--help")):
        assert (done.returncode, done.stderr) == (0, "")
        assert name.removesuffix(".py") in done.stdout  # of its examples


def test_what_is_no_file_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "inside").mkdir()
    (folder / "gone.py").symlink_to(folder / "nowhere.py")
    monkeypatch.chdir(folder)
    wrong = {
        "inside": "inside is a folder: give the study's file in it$",
        "/dev/null": "/dev/null is no file: give that of a study",
        "x" * 300 + ".py": "File name too long",
        "~nobody-at-all/x.py": "~nobody-at-all/x.py: ",
        "gone.py": "gone.py: no such file",
    }
    for path, said in wrong.items():
        with pytest.raises(UserError, match=said):
            launcher.find(path)
    written(folder / "inside", START + RUNS)
    is_a_line(launched(folder, "plan", "inside"), "give the study's file in it, such as inside/mine.py\n")


def test_a_file_that_cannot_be_read_is_one_line(folder: Path) -> None:
    file = written(folder, START + RUNS)
    file.chmod(0)
    if os.access(file, os.R_OK):  # root reads everything
        pytest.skip("this user reads whatever there is")
    is_a_line(launched(folder, "plan", file.name), "mine.py: PermissionError: ")


def test_who_runs_the_file_may_end_it_below_its_guard(folder: Path) -> None:
    file = written(folder, f'{START}if __name__ == "__main__":\n    raise SystemExit(7)\n')
    assert launched(folder, "plan", file.name).returncode == 7


PARTS = {
    "a network": (
        "from torch import nn\nfrom trainers import register\n@register.network('bad')\nclass Bad(nn.Module):\n"
        "    def __init__(self, shape, classes):\n        super().__init__()\n        shape[5]\n",
        "--set network=bad",
        "{file}, line 11: IndexError: tuple index out of range: mend that line (--debug shows how it came to it)",
    ),
    "what makes the trainer": ("def image_trainer():\n    return image_trainr()\n", "", "{file}, line 6: NameError: "),
    "a trainer that is none": ("def image_trainer():\n    pass\n", "", "image_trainer, which the study gives to "
        "main(…), makes no trainer (NoneType): return image_trainer(…) from it"),
}  # fmt: skip


@pytest.mark.parametrize("case", PARTS)
def test_a_part_that_fails_as_the_study_is_planned_is_one_line(case: str, folder: Path) -> None:
    text, options, said = PARTS[case]
    file = written(folder, f"{START}{text}{RUNS}")
    is_a_line(ended(folder, file.name, "plan", *options.split()), said.replace("{file}", file.name))


def test_a_module_that_is_imported_runs_no_study(folder: Path) -> None:
    written(folder, f"{START}main(STUDY, image_trainer)\n")
    done = ended(folder, "-c", "import mine")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "UserError: mine.py, line 5: main(…) is called by whoever imports the file" in done.stderr


def test_others_that_import_a_study_show_their_own_faults_as_python_does(folder: Path) -> None:
    written(folder, START + RUNS)
    written(folder, "from mine import STUDY\nfrom orchestrator import results\n1 / 0\n", "analysis.py")
    done = ended(folder, "analysis.py")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
