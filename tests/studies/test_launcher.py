"""The console script: a study by its name or path is what the study file is by itself."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from studies import launcher

ROOT = Path(__file__).parents[2]
OWN = """
from beside import TITLE
from orchestrator import Factor, Preset, Study, main
from tests.orchestrator.planted import Planted

STUDY = Study("own", TITLE, {"tiny": Preset({"seconds": 0.0, "budget": {"unit": "updates", "amount": 1}}, 2, "")},
              (Factor("method", {"NS": {"method": "NS", "norm": "batch"}, "LCS": {"method": "LCS", "norm": "batch"}}),))

if __name__ == "__main__":
    main(STUDY, Planted)
"""


def launched(*arguments: str, cwd: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "studies.launcher", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A study of somebody's, with a module beside it."""
    (tmp_path / "beside.py").write_text("TITLE = 'A study of my own'\n")
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def test_every_study_of_the_package_is_listed_with_what_it_asks_and_none_is_imported() -> None:
    done = launched("studies")
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert names == sorted(
        path.stem for path in (ROOT / "studies").glob("*.py") if "\n    main(STUDY" in path.read_text()
    )
    assert "Table 1: slimmable networks (NS)" in done.stdout


def test_a_file_anywhere_runs_as_by_itself_and_its_status_is_its_own(own: Path) -> None:
    done = launched("plan", "own.py", "--json", cwd=own.parent)
    assert (done.returncode, done.stderr) == (0, ""), done
    told = json.loads(done.stdout)
    assert (told["study"], len(told["trials"])) == ("own", 4)
    done = launched("run", str(own), "--only", "method=ns")
    assert (done.returncode, done.stderr) == (2, "error: unknown level of method 'ns': did you mean 'NS'?\n")


def test_a_study_by_name_shows_its_own_help_and_answers_a_typo_without_torch() -> None:
    done = launched("plan", "cifar_norm_ablation", "--help")
    assert done.returncode == 0
    assert "Factors and their levels:" in done.stdout
    done = launched("plan", "cifar_norm_ablation", "--preset", "smok")
    assert (done.returncode, done.stderr) == (2, "error: unknown preset 'smok': did you mean 'smoke'?\n")


WRONG = {
    "name": (["run", "cifar_norm_ablatoin"], "did you mean 'cifar_norm_ablation'?"),
    "path": (["run", "nowhere/x.py"], "nowhere/x.py: no such file"),
    "verb": (["rnu", "x"], "did you mean 'run'?"),
    "no study": (["run"], "Missing argument 'STUDY'"),
    "no study file": (["run", str(ROOT / "studies" / "presets.py")], "runs no study: end it with a call of main"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_study_is_one_line(case: str) -> None:
    arguments, why = WRONG[case]
    done = launched(*arguments)
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_its_help_and_version_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    done = launched("--help")
    assert done.returncode == launched().returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "sortednet-studies run cifar_norm_ablation --preset smoke" in done.stdout
    assert launched("--version").stdout.startswith("sortednet-studies ")


def completed(line: str, piece: str | None = None, cwd: Path = ROOT) -> list[str]:
    """What bash is answered after `sortednet-studies `, where it takes the last piece of the line for the word."""
    done = launched(
        cwd=cwd,
        _SORTEDNET_STUDIES_COMPLETE="bash_complete",
        COMP_LINE=f"sortednet-studies {line}",
        COMP_PIECE=re.split(r"[ =]", line)[-1] if piece is None else piece,
    )
    return [each.partition(",")[2] for each in done.stdout.splitlines()]


def test_a_shell_completes_verbs_studies_options_presets_and_levels(own: Path) -> None:
    assert completed("sta") == ["status"]
    assert completed("run cifar_nor") == ["cifar_norm_ablation"]
    (own.parent / "cifar_mine.py").touch()
    assert completed("run cifar_m", cwd=own.parent) == ["cifar_many_in_one", "cifar_mine.py"]
    assert "--equalize" in completed("run cifar_norm_ablation --eq")
    assert completed("run cifar_norm_ablation --preset sm") == ["smoke"]
    assert completed(f"plan {own} --only ") == ["method=NS", "method=LCS"]  # which imports a module beside it


LEVELS = {
    "bash takes the word apart at =": ("method=NS,norm=batch-s", None, "batch-switchable"),
    "right after =": ("norm=", "=", "instance"),
    "an option's value behind =": ("norm=batch --preset=sm", "sm", "smoke"),
    "in quotes": ("'norm=batch-s", "'norm=batch-s", "norm=batch-switchable"),
    "a bash that was told not to": ("norm=batch-s", "norm=batch-s", "norm=batch-switchable"),
}


@pytest.mark.parametrize("case", LEVELS)
def test_bash_is_answered_what_it_puts_in_the_place_of_its_piece(case: str) -> None:
    begun, piece, answer = LEVELS[case]
    assert answer in completed(f"plan cifar_norm_ablation --only {begun}", piece)


def test_what_means_something_to_bash_is_escaped() -> None:
    answers = completed("plan cifar_sampling_ablation --only sampler=ann")
    assert r"annealed\(largest,0.5\)" in answers, answers


@pytest.fixture
def installed(own: Path) -> dict[str, str]:
    """An environment in which the console script is found, beside a study with levels that shells take for more."""
    script = own.parent / "sortednet-studies"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m studies.launcher "$@"\n')
    script.chmod(0o755)
    levels = '{"one two": {"method": "NS"}, "it\'s": {"method": "US"}, "$x *?": {"method": "LCS"}, "a=b:c": {}}'
    text = own.read_text().replace("Factor(", f'Factor("arm", {levels}), Factor(', 1)
    own.write_text(text)
    path = f"{own.parent}:{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "HOME": str(own.parent)}


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_shows_what_is_completed_as_it_is_whole(installed: dict[str, str], own: Path) -> None:
    script = "_SORTEDNET_STUDIES_COMPLETE=fish_source sortednet-studies | source\n"
    for line in (
        "cl",
        "plan cifar_sampling_ablation --only sampler=annealed",
        "plan own.py --only arm=on",
        "plan own.py --only=arm=on",
        f"plan own.py --storage={own.parent}/own.p",
    ):
        script += f"complete -C 'sortednet-studies {line}'\n"
    command = ["fish", "--no-config", "-c", script]
    done = subprocess.run(command, cwd=own.parent, env=installed, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "clean\tShow what could go from the storage; with --yes, remove it.",
        "sampler=annealed(largest,0.5)",
        "sampler=annealed(smallest,0.5)",
        "arm=one two",
        "--only=arm=one two",
        f"--storage={own.parent}/own.py",
    ], done


# A line editor on a terminal of its own, whose Ctrl-T completes the line and writes down what has become of it.
ZSH = r"""
zmodload zsh/zpty zsh/zselect
zpty -b editor zsh -f -i
until_there() { for try in {1..600}; do [[ -e $1 ]] && return; zselect -t 10; done; exit 1; }
zpty -w editor '
autoload -Uz compinit; compinit -u -D; eval "$(_SORTEDNET_STUDIES_COMPLETE=zsh_source sortednet-studies)"
setopt no_beep; LISTMAX=0
completed() { zle complete-word; print -r -- "$BUFFER" > became.new; mv became.new became; BUFFER=""; }
zle -N completed; bindkey "^T" completed; : > ready'
until_there ready
for line in "$@"; do
    zpty -n -w editor "sortednet-studies $line"$'\x14'
    until_there became; cat became; rm became
done
zpty -d editor
"""
TYPED = {
    "sta": "status ",
    "plan ow": "plan own.py ",
    "plan own.py --eq": "plan own.py --equalize ",
    "plan own.py --preset ti": "plan own.py --preset tiny ",
    "plan own.py --preset=ti": "plan own.py --preset=tiny ",
    "plan own.py --only arm=on": r"plan own.py --only arm=one\ two ",
    r"plan own.py --only arm=one\ t": r"plan own.py --only arm=one\ two ",
    "plan own.py --only 'arm=on": "plan own.py --only 'arm=one two' ",
    "plan own.py --only=arm=on": r"plan own.py --only=arm=one\ two ",
    "plan own.py --only arm=i": r"plan own.py --only arm=it\'s ",
    r"plan own.py --only arm=\$": r"plan own.py --only arm=\$x\ \*\? ",
    "plan own.py --only arm=a=b": "plan own.py --only arm=a=b:c ",
    "plan own.py --only method=NS,arm=a=": "plan own.py --only method=NS,arm=a=b:c ",
    "plan own.py --storage=./own.p": "plan own.py --storage=./own.py ",
}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_a_line_to_what_it_reads_back(installed: dict[str, str], own: Path) -> None:
    command = ["zsh", "-f", "-c", ZSH, "zsh", *TYPED]
    done = subprocess.run(command, cwd=own.parent, env=installed, capture_output=True, text=True, check=False)
    became = [line.removeprefix("sortednet-studies ") for line in done.stdout.splitlines()]
    assert dict(zip(TYPED, became, strict=False)) == TYPED, done


def test_a_study_file_is_one_that_ends_with_main() -> None:
    assert "presets" not in launcher.packaged()
    assert "launcher" not in launcher.packaged()


def test_the_installed_script_is_this_one() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["sortednet-studies"].partition(":")
    assert (module, getattr(launcher, name)) == (launcher.__name__, launcher.main)
