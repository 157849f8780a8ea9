"""What `--help` shows of every study and verb: it fits a terminal, says what can be chosen, and can be pasted."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.commands.command_line import COMMANDS, run, study_command
from orchestrator.commands.options import parse_options
from orchestrator.study.study import Factor, Study
from studies import (
    cifar_budget_ablation,
    cifar_many_in_one,
    cifar_norm_ablation,
    cifar_objective_ablation,
    cifar_sampling_ablation,
    encoder_many_in_one,
    glue_bert_ablation,
    pretrained_reordering,
)
from tests.orchestrator.planted import STUDY as PLANTED

ROOT = Path(__file__).parents[2]
STUDIES: dict[str, Study] = {
    module.STUDY.name: module.STUDY
    for module in (
        cifar_budget_ablation,
        cifar_many_in_one,
        cifar_norm_ablation,
        cifar_objective_ablation,
        cifar_sampling_ablation,
        encoder_many_in_one,
        glue_bert_ablation,
        pretrained_reordering,
    )
}
CHOOSING = ("run", "plan", "status", "report", "compare", "extract", "submit")


def nobody() -> Any:
    raise AssertionError("a help trains nothing")


def helped(study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *verb: str) -> str:
    monkeypatch.setattr(sys, "argv", [f"studies/{study.name}.py"])
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(ROOT)
    assert run(study, nobody, [*verb, "--help"]) == 0
    return capsys.readouterr().out


def pasted(text: str) -> list[list[str]]:
    """The command lines below `Examples:`, word by word."""
    _, _, below = text.partition("Examples:\n")
    return [shlex.split(line) for line in below.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("name", STUDIES)
def test_the_help_of_a_study_shows_verbs_presets_and_levels_and_fits(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = STUDIES[name]
    text = helped(study, monkeypatch, capsys)
    words = text.replace("\n", " ").replace(",", " ").replace(";", " ").split()
    assert {*COMMANDS, *study.presets} <= {*words}
    levels = " ".join(text.split())
    for factor in study.factors:
        assert factor.name in words
        assert all(level in levels for level in factor.levels)
    assert max(map(len, text.partition("Examples:")[0].splitlines())) <= 80
    assert len(pasted(text)) == 3


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize("name", STUDIES)
def test_the_help_of_a_verb_fits_and_its_examples_parse(
    name: str, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = STUDIES[name]
    text = helped(study, monkeypatch, capsys, verb)
    assert max(map(len, text.partition("Examples:")[0].splitlines())) <= 80
    if verb in CHOOSING:
        assert "[" + "|".join(study.presets) + "]" in "".join(text.split())
        assert "Factors and their levels:" in text
    examples = pasted(text)
    nothing_to_compare = verb == "compare" and all(len(factor.usual or factor.levels) < 2 for factor in study.factors)
    assert len(examples) in ((0,) if nothing_to_compare else (2, 3) if verb == "compare" else (3,))
    for _, script, *arguments in examples:
        assert script == f"studies/{name}.py"
        assert arguments[0] == verb
        command = study_command(study, nobody)
        with command.make_context("x", arguments, obj=()) as whole:
            chosen = command.get_command(whole, verb)
            assert chosen is not None
            with chosen.make_context(verb, arguments[1:], parent=whole) as context:
                if verb != "settings":  # which has neither arms nor a storage
                    assert study.arms({}, parse_options(study, verb, context.params).layout)


def test_examples_name_a_python_that_is_there_and_a_file_from_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "a study.py")])
    monkeypatch.setenv("PATH", str(tmp_path))  # no python there
    monkeypatch.chdir("/")
    assert run(PLANTED, nobody, ["run", "--help"]) == 0
    for python, script, *_ in pasted(capsys.readouterr().out):
        assert Path("/", python).samefile(sys.executable)
        assert Path("/", script) == tmp_path / "a study.py"


VERBS_ANYWHERE = {
    "first": ["plan", "--preset", "large", "--seeds", "2"],
    "last": ["--preset", "large", "--seeds", "2", "plan"],
    "amid": ["--preset", "large", "plan", "--seeds=2"],
    "after a flag": ["--json", "plan", "--preset=large", "--seeds", "2"],
}


@pytest.mark.parametrize("case", VERBS_ANYWHERE)
def test_a_verb_is_found_wherever_it_stands(case: str) -> None:
    command = study_command(PLANTED, nobody)
    with command.make_context("x", VERBS_ANYWHERE[case], obj=()) as context:
        verb, _, rest = command.resolve_command(context, [*getattr(context, "_protected_args", []), *context.args])
        assert verb == "plan"
        assert "--seeds" in rest[0] or "--seeds" in rest or "--seeds=2" in rest


def test_a_verb_that_is_a_value_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    command = study_command(PLANTED, nobody)
    assert command._verb_first(["--dataset", "plan", "--storage", "list"], False)[0] == "run"
    assert command._verb_first(["--debug", "plan"], False)[0] == "plan"
    assert command._verb_first(["--storag", "x", "plan"], False)[0] == "plan"
    assert command._verb_first([], False) == ["run"]
    assert command._verb_first(["--help"], False) == ["--help"]
    assert command._verb_first(["--preset", "x", "--help"], False)[0] == "run"


def test_an_option_of_other_verbs_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in {
        ("status", "--debug"): "status has no --debug, only run: leave it out",
        ("list", "--preset", "small"): "list has no --preset, only run and plan and status",
        ("plan", "--watch"): "plan has no --watch, only status",
    }.items():
        assert run(PLANTED, nobody, list(arguments)) == 2
        assert said in capsys.readouterr().err


def test_the_version_is_that_of_the_package_with_its_commit(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(PLANTED, nobody, ["plan", "--version"]) == run(PLANTED, nobody, ["--version"]) == 0
    assert capsys.readouterr().out.startswith("sortednet-studies ")


def test_levels_are_completed() -> None:
    from click.shell_completion import ShellComplete

    command = study_command(PLANTED, nobody)

    def completed(words: list[str], begun: str) -> list[str]:
        return [item.value for item in ShellComplete(command, {}, "x", "_X").get_completions(words, begun)]

    assert completed([], "st") == ["status"]
    assert completed(["run", "--only"], "method=N") == ["method=NS"]
    assert completed(["run", "--only"], "method=NS,norm=b") == ["method=NS,norm=batch"]
    assert completed(["plan", "--preset"], "") == ["small", "large"]
    assert "--seeds" in completed(["--preset", "small", "status"], "--se")


def test_the_help_of_a_study_that_cannot_be_shown_is_one_line_that_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    broken = replace(PLANTED, factors=(Factor("f", {}),), baseline={})
    for verb in ([], ["run"]):
        assert run(broken, nobody, [*verb, "--help"]) == 2
        assert capsys.readouterr().err == "error: f has no levels: give it some\n"
