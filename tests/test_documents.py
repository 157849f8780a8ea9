"""What the documents show is what happens: their Python runs, their commands are understood, and cheap ones run."""

import importlib
import linecache
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from markdown_it.token import Token

from orchestrator.commands.command_line import run

ROOT = Path(__file__).parent.parent
PLACES = ("*.md", "docs/**/*.md", "benchmarks/README.md", "deploy/README.md")
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for place in PLACES for path in ROOT.glob(place))
SHELL = ("sh", "bash", "console")
SHOWN = ("text", "json", "csv", "latex", "yaml", "html", "{eval-rst}")  # nothing in them can be run
BESIDE = ("py",)  # needs a finished study; run by a test of that page's own


@dataclass(frozen=True)
class Block:
    """A fenced block: in what language, which lines, after how many lines of its document."""

    language: str
    text: str
    line: int


def tokens(document: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / document).read_text(encoding="utf-8"))


def blocks(document: str) -> list[Block]:
    fences = (token for token in tokens(document) if token.type == "fence" and token.map)
    return [Block(token.info.strip(), token.content, token.map[0] + 1) for token in fences]


def in_lines(document: str) -> Iterator[str]:
    """What stands between single backticks."""
    for token in tokens(document):
        yield from (child.content for child in token.children or () if child.type == "code_inline")


def commands(document: str) -> Iterator[str]:
    """One by one: what blocks of the shell hold, and what the text does of studies."""
    for block in blocks(document):
        if block.language in SHELL:
            lines = block.text.replace("\\\n", " ").splitlines()
            if block.language == "console":  # what follows a prompt; the rest is what it printed
                lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
            for line in lines:
                yield from (part.strip() for part in line.split("&&"))
    yield from (code for code in in_lines(document) if re.match(r"python studies/\S+\.py", code) and "…" not in code)


def python(document: str) -> str:
    """The Python of a page as one file: blocks where they stand, empty lines in the place of all else."""
    lines: list[str] = []
    for block in blocks(document):
        if block.language == "python":
            lines += [""] * (block.line - len(lines))
            lines += block.text.splitlines()
    return "\n".join([*lines, ""])


PYTHON = [document for document in DOCUMENTS if python(document).strip()]
COMMANDS = sorted({command for document in DOCUMENTS for command in commands(document)})
STUDY = re.compile(
    r"(?:\w+=\S+ )*"
    r"(?:\S*python3? studies/(?P<file>\w+)\.py|sortednet-studies (?P<verb>\w+) (?P<name>\w+))(?!\S)"
)
OF_STUDIES = [command for command in COMMANDS if STUDY.match(command)]
CHEAP = [command for command in OF_STUDIES if re.search(r" --help$| plan --preset smoke$", command)]


def study_and_arguments(command: str) -> tuple[str, list[str]]:
    """The name of a study's file, and its arguments."""
    found = STUDY.match(command)
    assert found
    rest = shlex.split(command[found.end() :], comments=True)
    return (found["file"], rest) if found["file"] else (found["name"], [found["verb"], *rest])


def test_documents_show_what_can_be_run() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/any-network.md"} <= {*DOCUMENTS}
    assert {"CONTRIBUTING.md", "docs/architecture.md", "docs/any-network.md"} <= {*PYTHON}
    assert CHEAP
    assert len(OF_STUDIES) > 20


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_says_what_it_is(document: str) -> None:
    for block in blocks(document):
        assert block.language in ("python", *SHELL, *SHOWN, *BESIDE), f"{document}:{block.line}"


@pytest.mark.parametrize("document", PYTHON)
def test_python_of_a_document_runs(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.trainers.own_tables import put_back

    monkeypatch.chdir(tmp_path)
    text = python(document)
    linecache.cache[document] = (len(text), None, text.splitlines(keepends=True), document)  # for tracebacks
    with put_back():
        exec(compile(text, document, "exec"), {"__name__": "example"})


class Understood(BaseException):
    """A command's options, levels and settings are good, and data would be asked for."""


class Reader:
    """A trainer that reads settings as the study's own does, and knows no data."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.trainer, name)

    def data_checksum(self, config: object, data: object) -> str:
        raise Understood


@pytest.mark.parametrize("command", OF_STUDIES)
def test_commands_in_documents_are_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, arguments = study_and_arguments(command)
    study = importlib.import_module(f"studies.{name}")
    trainer = next(getattr(study, kind) for kind in ("image_trainer", "text_trainer") if hasattr(study, kind))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.report.figure_files.require_browser", lambda: None)  # of a reader who has one
    try:
        status = run(study.STUDY, lambda: Reader(trainer()), arguments)
    except Understood:
        return
    assert status == 0, command  # of what asks for no data, as `list`


@pytest.mark.parametrize("command", CHEAP)
def test_cheap_commands_in_documents_run(command: str, tmp_path: Path) -> None:
    name, arguments = study_and_arguments(command)
    whole = [sys.executable, str(ROOT / "studies" / f"{name}.py"), *arguments]
    done = subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_what_other_commands_name_is_there() -> None:
    for command in COMMANDS:
        words = shlex.split(command, comments=True)
        for word in words:
            if re.match(r"(studies|tests|docs|deploy|benchmarks)/\S+\.(py|sh|yaml|md)$", word):
                assert (ROOT / word).exists(), command
        if words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
            main = importlib.import_module(words[2]).main
            assert CliRunner().invoke(main, [*words[3:], "--help"]).exit_code == 0, command


PUBLIC = {
    "trainers": (
        "Anytime",
        "Exchange",
        "FollowingLayer",
        "ImageArrays",
        "Lattice",
        "Moment",
        "NestedEncoder",
        "Reordering",
        "SubModel",
        "describe",
        "nest",
    ),
    "orchestrator": ("Factor", "Preset", "Study", "main", "results"),
}


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_there_and_cost_nothing_until_used(package: str) -> None:
    code = (
        f"import sys, {package}; assert not {{'torch', 'ray', 'mlflow', 'pandas'}} & sys.modules.keys(); "
        f"from {package} import {', '.join(PUBLIC[package])}; assert {package}.__all__ == {list(PUBLIC[package])}\n"
        f"try: {package}.nowhere\n"
        "except AttributeError: pass\n"
        "else: raise SystemExit('anything goes')"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
