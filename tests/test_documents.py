"""What the documents show is what happens: their Python runs, their commands parse."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/own-study.md", "docs/own-parts.md")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: str, language: str) -> list[str]:
    return [text for kind, text in FENCED.findall((ROOT / document).read_text()) if kind == language]


PYTHON = [(document, text) for document in DOCUMENTS for text in blocks(document, "python")]
COMMANDS = sorted(
    {
        line
        for document in (*DOCUMENTS, "docs/command-line.md")
        for text in blocks(document, "")
        for line in text.splitlines()
        if line.startswith("python studies/") and "[" not in line
    }
)


def test_every_document_shows_something() -> None:
    assert {document for document, _ in PYTHON} == set(DOCUMENTS)
    assert COMMANDS


@pytest.mark.parametrize("place", range(len(PYTHON)), ids=lambda place: f"{PYTHON[place][0]} {place}")
def test_python_in_documents_runs(place: int) -> None:
    from tests.trainers.own_tables import put_back

    document, text = PYTHON[place]
    with put_back():
        exec(compile(text, document, "exec"), {"__name__": "example"})


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_in_documents_parse(command: str) -> None:
    _, *arguments = shlex.split(command)
    done = subprocess.run([sys.executable, *arguments, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


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
