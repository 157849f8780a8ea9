"""What travels to a cluster, and where it came from."""

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.submit import package as packages
from orchestrator.submit.package import package
from orchestrator.track.provenance import ORIGIN, commit, diff, provenance

FILES = {
    "pyproject.toml": '[project]\nname = "x"\ndependencies = ["ray[tune]>=2", "torch>=2"]\n',
    "studies/study.py": "",
    "lib/code.py": "",
    "lib/__pycache__/code.pyc": "",
    "secret/.env": "TOKEN=1",
    "server.pem": "",
    "big/data.bin": "0" * 1000,
    "ignored.txt": "",
    "runs/mlflow.db": "",
    ".gitignore": "ignored.txt\n",
    ".rayignore": "# what the cluster does not need\nbig/\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def git(root: Path, *arguments: str) -> None:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, env={**os.environ, **who})


def names(tree: Path) -> set[str]:
    return {str(file) for file in package(tree / "studies" / "study.py", tree / "runs").files}


def test_what_git_would_commit_travels_without_secrets_storage_and_what_is_ignored(tree: Path) -> None:
    git(tree, "init", "-q")
    git(tree, "add", "lib")
    expected = {"pyproject.toml", "studies/study.py", "lib/code.py", ".gitignore", ".rayignore"}
    assert names(tree) == expected
    found = package(tree / "studies" / "study.py", tree / "runs")
    assert {str(each.file) for each in found.left_out} == {"secret", "server.pem"}
    assert (
        "left out, since it may be secret: secret (a folder called secret), server.pem (its name: *.pem)" in found.text
    )
    assert found.requirements() == ["torch>=2"]


def test_without_git_what_is_not_hidden_travels(tree: Path) -> None:
    assert names(tree) == {"pyproject.toml", "studies/study.py", "lib/code.py", "ignored.txt"}


def test_a_tree_that_is_too_large_names_the_largest(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / ".rayignore").unlink()
    monkeypatch.setattr(packages, "LIMIT", 500)
    found = package(tree / "studies" / "study.py", tree / "runs")
    with pytest.raises(UserError, match=r"The largest: big/data\.bin"), found.copied({}, ""):
        pass


def test_a_copy_knows_the_commit_and_the_changes_it_was_made_of(tree: Path) -> None:
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "first")
    assert commit(tree)["git.dirty"] == "false"
    assert diff(tree) == ""
    (tree / "lib" / "code.py").write_text("changed = 1\n")
    tags = commit(tree)
    assert tags["git.dirty"] == "true"
    assert "+changed = 1" in diff(tree)
    with package(tree / "studies" / "study.py", tree / "runs").copied(tags, diff(tree)) as copy:
        assert (copy / ORIGIN).is_file()
        assert not (copy / ".git").exists()
        found = provenance(copy / "studies", {}, ())
        assert {name: found[name] for name in tags} == tags
        assert "+changed = 1" in diff(copy / "studies")
