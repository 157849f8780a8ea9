"""What travels to a cluster, and where it came from."""

import os
import subprocess
import sys
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


@pytest.mark.parametrize("with_git", [True, False])
def test_what_is_large_is_named_and_what_a_study_does_not_need_stays(
    with_git: bool, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / ".rayignore").unlink()
    if with_git:
        git(tree, "init", "-q")
    for name in (
        "before/mlflow.db",
        "before/trials/0/weights",
        "elsewhere/leases/x",
        "elsewhere/trials/y",
        "my/pyvenv.cfg",
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("")
    (tmp_path / "outside").mkdir()
    (tree / "beside.py").symlink_to(tmp_path / "outside.py")
    (tree / "data").symlink_to(tmp_path / "outside")
    (tree / "inside.py").symlink_to(tree / "lib" / "code.py")
    found = package(tree / "studies" / "study.py", tree / "runs")
    assert not {file.parts[0] for file in found.files} & {"before", "elsewhere", "beside.py", "data", "inside.py"}
    assert "; left out, since studies are kept there: before, elsewhere;" in found.text
    assert "; left out, since they are links: beside.py, data, inside.py" in found.text
    assert with_git or Path("my/pyvenv.cfg") not in found.files  # which git would commit
    assert "data.bin" not in found.text
    monkeypatch.setattr(packages, "_MUCH", 500)
    assert f"{len(found.files)} files, 0.0 MB, the largest big/data.bin (0.0 MB), " in found.text


def test_a_study_in_the_folder_where_studies_are_kept_travels(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    for name in ("my_study.py", "mlflow.db", "trials/0/weights"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    assert Path("my_study.py") in package(folder / "my_study.py", tmp_path / "runs").files


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


def test_a_study_that_lies_elsewhere_brings_its_folder_and_the_packages_that_it_is_run_with(tmp_path: Path) -> None:
    folder = tmp_path / "anywhere"
    folder.mkdir()
    for name in ("my_study.py", "beside.py"):
        (folder / name).write_text("")
    found = package(folder / "my_study.py", folder / "runs")
    assert [str(file) for file in found.files] == ["beside.py", "my_study.py"]
    assert "2 files, 0.0 MB, and the packages orchestrator, trainers, studies as they are here" in found.text
    with found.copied({}, "") as copy:
        assert (copy / "studies" / "binding.py").is_file()
        assert not list(copy.rglob("__pycache__"))
        code = "import orchestrator.study.study as study, studies.binding; print(study.__file__)"
        done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=True)
        assert Path(done.stdout.strip()) == copy.resolve() / "orchestrator" / "study" / "study.py"
    assert any(each.startswith("torch") for each in found.requirements())
    assert not any(each.startswith("ray") or "extra" in each for each in found.requirements())


@pytest.mark.parametrize("place", ["home", "root"])
def test_a_study_in_a_folder_of_everything_is_not_sent_with_all_of_it(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    script = (tmp_path if place == "home" else Path("/")) / "my_study.py"
    with pytest.raises(UserError, match=r"my_study\.py lies in .* itself, all of which would be sent"):
        package(script, tmp_path / "runs")
