"""What looks secret stays here: as a file by its name or content, and in a patch. No secret is written in this file."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.secrecy.confidential import NOTHING, Included, kind_in_content, left_out, left_out_by_name
from orchestrator.submit.package import package
from orchestrator.track.provenance import commit, diff
from tests.orchestrator.test_package import git

HEX, LETTERS = "0123456789abcdef" * 8, "aB3dE6gH9jK2mN5pQ8rS1tU4vW7xY0z" * 4
CONTENTS = {
    "OpenSSH key": "\n".join(("-----BEGIN OPENSSH " + "PRIVATE KEY-----", LETTERS)),
    "RSA key": "-----BEGIN RSA " + "PRIVATE KEY-----\n",
    "key in JSON": '{"private_key": "-----BEGIN ' + 'PRIVATE KEY-----\\nMII"}',
    "PGP key": "-----BEGIN PGP PRIVATE " + "KEY BLOCK-----",
    "PuTTY key": "PuTTY-User-" + "Key-File-3: ssh-ed25519",
    "SSH2 key": "---- BEGIN SSH2 ENCRYPTED " + "PRIVATE KEY ----",
    "AWS": "key = AKI" + "A" + "ABCDEFGHIJKLMNOP",
    "AWS secret": "aws_secret_" + f"access_key = {LETTERS[:40]}",
    "GitHub": "gh" + f"p_{LETTERS[:36]}",
    "GitHub fine-grained": "github_" + f"pat_{LETTERS[:22]}_{LETTERS[:59]}",
    "GitLab": "glp" + f"at-{LETTERS[:20]}",
    "Hugging Face": f"login('h{'f'}_{LETTERS[:34]}')",
    "OpenAI": f"s{'k'}-{LETTERS[:48]}",
    "OpenAI project": f"s{'k'}-proj-{LETTERS[:48]}",
    "Anthropic": f"s{'k'}-ant-api03-{LETTERS[:80]}",
    "Slack": f"xo{'xb'}-123456789012-{LETTERS[:24]}",
    "Google": f"AI{'za'}{LETTERS[:35]}",
    "npm": f"np{'m'}_{LETTERS[:36]}",
    "PyPI": f"pyp{'i'}-AgEIcHlwaS5vcmc{LETTERS[:60]}",
    "Docker": f"dck{'r'}_pat_{LETTERS[:27]}",
    "SendGrid": f"S{'G'}.{LETTERS[:22]}.{LETTERS[:43]}",
    "JWT": f"ey{'J'}hbGciOiJI.ey{'J'}zdWIiOiIx.{LETTERS[:43]}",
    "Azure": f"Account{'Key'}={LETTERS[:86]}==",
    "database": "uri = 'postgresql://me:" + "hunter22@db.example.org/x'",
    "UTF-16": "",
}
HARMLESS = {
    "digest": HEX[:64],
    "stand-in": "postgresql://mlflow:PASSWORD@HOST/mlflow",
    "template": "postgresql://me:{password}@host/db and postgresql://me:${PGPASSWORD}@host/db",
    "port": "http://127.0.0.1:5000/a@b",
    "public key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@host",
    "class": "<div class='sk-estimator-doc-link sk-toggleable-label-arrow'>",
    "certificate": "-----BEGIN CERTIFICATE-----",
}
SECRET_NAMES = (
    "secrets.yaml", "Secrets.YAML", "id_ecdsa", "ID_RSA", "id_rsa.bak", "id_ed25519_sk", ".aws/config", ".npmrc",
    ".pgpass", ".kube/config", ".docker/config.json", "a.p12", "A.P12", "prod.env", "Prod.ENV", ".env/x/y.txt", ".Env",
    ".env.local", "deploy/.env.production", "server.pem", "k.key", "k.key~", "client_secret_1.json", "mySecrets.toml",
    "auth_token", "terraform.tfvars", "kubeconfig", ".git-credentials", "secrets.py", "db_password.txt", ".ssh/config",
    "api-key.txt", "credentials", "secrets/db.txt",
)  # fmt: skip
PLAIN_NAMES = (
    "id_rsa.pub", ".env.example", ".env.template", ".env.sample", "tokenizer.json", "keyboard.py", "monkey.py",
    "my_credentials_study.py", "tests/test_secrets.py", "orchestrator/secrecy/tokens.py", "secretary.txt", ".gitignore",
    "special_tokens_map.json", "environment.py", "docs/passwords.md", "secrets/__init__.py", "key.csv",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with a study, a secret of each kind that is followed, and all of it committed."""
    root = tmp_path / "tree"
    for name, text in {
        "pyproject.toml": "",
        "study.py": "x = 1\n",
        "code.py": "x = 1\n",
        ".env": "WORD=first-value\nMORE=1\nMORE=2\n",
        "deploy/prod.env": "WORD=first-value\n",
        "notes.txt": CONTENTS["RSA key"] + "line\n" * 30,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def sent(root: Path, included: Included = NOTHING) -> set[str]:
    return {str(file) for file in package(root / "study.py", root / "runs", included).files}


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_that_tells_of_a_secret_stays(name: str) -> None:
    assert left_out_by_name(Path(name)) is not None
    assert left_out_by_name(Path("below") / name) is not None


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_a_name_that_only_sounds_like_one_travels(name: str) -> None:
    assert left_out_by_name(Path(name)) is None


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_content_that_holds_a_secret_is_found(kind: str) -> None:
    text = f"# first line\n{CONTENTS[kind] or CONTENTS['GitHub']}\nlast line\n"
    content = text.encode("utf-16" if kind == "UTF-16" else "utf-8")
    assert kind_in_content(content) is not None
    assert kind_in_content(b"0" * 2_000_000 + b"\n" + content) is not None or kind == "UTF-16"
    assert kind_in_content(b"\x7fELF\0" + content) is None or kind == "UTF-16"  # binary: its name decides


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_only_resembles_a_secret_is_none(kind: str) -> None:
    assert kind_in_content(HARMLESS[kind].encode()) is None


def test_nothing_of_this_repository_looks_secret() -> None:
    root = Path(__file__).parents[2]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    files = [Path(name) for name in listed.decode().split("\0") if (root / name).is_file()]
    assert len(files) > 100
    assert [found.text for file in files if (found := left_out(root, file))] == []


def test_what_stays_is_said_with_the_reason(tree: Path) -> None:
    (tree / ".aws").mkdir()
    for name in ("config", "credentials"):
        (tree / ".aws" / name).write_text("")
    assert sent(tree) == {"pyproject.toml", "study.py", "code.py"}
    text = package(tree / "study.py", tree / "runs").text
    assert ".env (its name: .env*)" in text
    assert ".aws (a folder called .aws), 2 files" in text
    assert "notes.txt (a private key is in it)" in text
    assert "\n" not in text


def test_what_is_included_travels_and_a_name_that_no_file_has_is_refused(tree: Path) -> None:
    assert "notes.txt" in sent(tree, Included(("notes.txt",)))
    assert "deploy/prod.env" in sent(tree, Included(("deploy",)))
    assert {".env", "deploy/prod.env"} <= sent(tree, Included(("*.env",)))
    with pytest.raises(UserError, match=r"did you mean notes\.txt\?"):
        sent(tree, Included(("note.txt",)))


def test_a_study_that_looks_secret_is_refused_by_name(tree: Path) -> None:
    study = tree / "my_credentials_study.py"
    study.write_text("")
    assert study.relative_to(tree) in package(study, tree / "runs").files
    study.write_text(CONTENTS["GitHub"])
    with pytest.raises(UserError, match=r"--include my_credentials_study\.py"):
        package(study, tree / "runs")
    assert study.relative_to(tree) in package(study, tree / "runs", Included((study.name,))).files


def test_no_link_is_followed(tree: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "inside.txt").write_text("mine")
    (tree / "folder").mkdir()
    (tree / "folder" / "inside.txt").write_text("")
    git(tree, "add", ".")
    (tree / "folder" / "inside.txt").unlink()
    (tree / "folder").rmdir()
    (tree / "folder").symlink_to(elsewhere)
    (tree / "link.txt").symlink_to(elsewhere / "inside.txt")
    assert sent(tree) == {"pyproject.toml", "study.py", "code.py"}


def test_a_name_that_ray_cannot_send_is_refused_in_one_line(tree: Path) -> None:
    (tree / os.fsdecode(b"caf\xe9.txt")).write_text("")
    with pytest.raises(UserError, match=r"caf\\xe9\.txt: a name that is not UTF-8"):
        sent(tree)


def test_a_name_of_several_lines_is_shown_on_one(tree: Path) -> None:
    (tree / "a\nb.pem").write_text("")
    assert "a\\nb.pem" in package(tree / "study.py", tree / "runs").text


def _modified(tree: Path) -> None:
    (tree / ".env").write_text("WORD=second-value\n")
    (tree / "deploy" / "prod.env").write_text("WORD=second-value\n")


def _staged(tree: Path) -> None:
    _modified(tree)
    git(tree, "add", ".")


def _deleted(tree: Path) -> None:
    (tree / ".env").unlink()
    git(tree, "rm", "-q", "deploy/prod.env")


def _renamed(tree: Path) -> None:
    git(tree, "mv", ".env", "settings.txt")
    assert "settings.txt" not in sent(tree)
    (tree / "settings.txt").write_text("WORD=second-value\nMORE=1\nMORE=2\n")


def _renamed_to(tree: Path) -> None:
    (tree / "words.txt").write_text("WORD=first-value\n" * 9)
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "second")
    git(tree, "mv", "words.txt", "words.env")


def _added(tree: Path) -> None:
    (tree / "id_ecdsa").write_text("WORD=second-value\n")
    git(tree, "add", ".")


def _far_from_the_header(tree: Path) -> None:
    text = (tree / "notes.txt").read_text()
    (tree / "notes.txt").write_text(f"{text}WORD=second-value\n")


def _with_a_token_now(tree: Path) -> None:
    (tree / "code.py").write_text(f"WORD=second-value\n{CONTENTS['Hugging Face']}\n")


def _with_a_token_before(tree: Path) -> None:
    _with_a_token_now(tree)
    git(tree, "commit", "-qam", "second")
    (tree / "code.py").write_text("")


CHANGES = (
    _modified, _staged, _deleted, _renamed, _renamed_to, _added, _far_from_the_header, _with_a_token_now,
    _with_a_token_before,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_patch_carries_nothing_that_a_file_may_not(tree: Path, change: Callable[[Path], None]) -> None:
    change(tree)
    (tree / "study.py").write_text("x = 2\n")
    for setting in ("diff.noprefix", "diff.mnemonicPrefix", "color.ui"):
        git(tree, "config", setting, "true" if setting != "color.ui" else "always")
    text = diff(tree)
    assert "-value" not in text
    assert CONTENTS["Hugging Face"] not in text
    assert "+x = 2" in text
    assert text.startswith("# left out: ")
    assert commit(tree)["git.dirty"] == "true"


def test_a_digest_says_nothing_of_what_was_left_out(tree: Path) -> None:
    _modified(tree)
    first = commit(tree)["git.diff"]
    (tree / ".env").write_text("WORD=third-value\n")
    assert commit(tree)["git.diff"] == first


def test_a_patch_applies_with_what_was_left_out_named_in_it(tree: Path, tmp_path: Path) -> None:
    _modified(tree)
    (tree / "study.py").write_text("x = 2\n")
    (tmp_path / "patch").write_text(diff(tree) + "\n")
    git(tree, "checkout", "-q", "study.py")
    git(tree, "apply", str(tmp_path / "patch"))
    assert (tree / "study.py").read_text() == "x = 2\n"


def test_what_rayignore_names_is_in_no_patch_that_travels(tree: Path) -> None:
    (tree / "code.py").write_text("x = 22\n")
    assert "x = 22" in diff(tree)
    assert "x = 22" not in diff(tree, NOTHING, ["code.py"])


def test_what_is_included_is_in_the_patch(tree: Path) -> None:
    _modified(tree)
    assert diff(tree, Included((".env",))).count("+WORD=second-value") == 1


def test_a_submodules_content_is_not_shown(tree: Path, tmp_path: Path) -> None:
    inner = tree / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / ".env").write_text("WORD=first-value\n")
    git(inner, "add", ".")
    git(inner, "commit", "-qm", "first")
    git(tree, "add", "inner")
    git(tree, "commit", "-qm", "second")
    git(tree, "config", "diff.submodule", "diff")
    (inner / ".env").write_text("WORD=second-value\n")
    git(inner, "commit", "-qam", "second")
    assert "-value" not in diff(tree)
    assert "Subproject commit" in diff(tree)
    assert not any(name.startswith("inner") for name in sent(tree))
