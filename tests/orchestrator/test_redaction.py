"""Passwords and tokens are shown nowhere, however an address or a library's message carries them."""

import sys
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.noop import STUDY, NoopTrainer
from orchestrator.commands import command_line as cli
from orchestrator.errors import UserError, reason
from orchestrator.secrecy import redaction
from orchestrator.secrecy.redaction import (
    UNSHOWABLE,
    has_password,
    remember,
    secrets_of,
    shown_address,
    without_passwords,
)
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Layout
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import Tracker

WORD = "hunter" + "22"
SHOWN = {
    f"postgresql://me:{WORD}@host/db": "postgresql://me:***@host/db",
    f"postgresql://me:pa/{WORD}@host/db": "postgresql://me:***@host/db",
    f"postgresql://do/me:{WORD}@host/db": "postgresql://do/me:***@host/db",
    f"postgresql://me:my {WORD}@host/db": "postgresql://me:***@host/db",
    f"postgresql://m\u00e9:p\u00e4ss{WORD}@host/db": "postgresql://m\u00e9:***@host/db",
    f"postgresql://host/db?user=me&password={WORD}&x=1": "postgresql://host/db?user=me&password=***&x=1",
    f"postgresql://host/db?sslpassword={WORD}": "postgresql://host/db?sslpassword=***",
    f"mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3D{WORD}%3BX%3D1": "mssql+pyodbc:///?odbc_connect="
    "UID%3Dme%3BPWD%3D***%3BX%3D1",
    f"cannot reach http://a:p%40{WORD}@h:1/x and more": "cannot reach http://a:***@h:1/x and more",
    f"http://a:{'p'}@s:{WORD}@h/": "http://a:***@h/",
    f"a http://x:{WORD}@h/ b mysql://y:{WORD}@h/z c": "a http://x:***@h/ b mysql://y:***@h/z c",
    f"http://h/x?token={WORD}&access_token={WORD}&api_key={WORD}&a=1": "http://h/x?token=***&access_token=***&"
    "api_key=***&a=1",
    f"connection failed: host=h password='my {WORD}' user=me": "connection failed: host=h password=*** user=me",
    f'PGPASSWORD={WORD} passfile={WORD} {{"password": "{WORD}"}}': 'PGPASSWORD=*** passfile=*** {"password": ***}',
    f"Authorization: Bearer {WORD}.x": "Authorization: Bearer ***",
    "http://host:5000/a@b": "http://host:5000/a@b",
    "sqlite:////tmp/a:b@c.db": "sqlite:////tmp/a:b@c.db",
    "git+https://host:443/x.git@v1": "git+https://host:443/x.git@v1",
    "nothing at http://h:8265: refused, ask me@x.org": "nothing at http://h:8265: refused, ask me@x.org",
    "max_tokens=5 tokenizer=x": "max_tokens=5 tokenizer=x",
}
PASSWORDS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="*\u2028\u2029\x85"), min_size=8)


@pytest.fixture(autouse=True)
def _forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_told", set())


@pytest.mark.parametrize("text", SHOWN)
def test_an_address_is_shown_without_its_secrets(text: str) -> None:
    assert without_passwords(text) == SHOWN[text]
    assert has_password(text) == (text != SHOWN[text])
    assert without_passwords(SHOWN[text]) == SHOWN[text]


@given(PASSWORDS)
def test_a_password_is_found_as_the_library_that_connects_reads_it(password: str) -> None:
    for uri in (
        sqlalchemy.URL.create("postgresql", "me", password, "host", 1, "db").render_as_string(hide_password=False),
        f"postgresql://host/db?user=me&password={quote(password, safe='')}",
        f"http://me:{quote(password, safe='')}@host:5000",
    ):
        assert password in secrets_of(uri)
        if uri.startswith("postgresql"):
            read = sqlalchemy.make_url(uri)
            assert password in (read.password, read.query.get("password"))
        for form in (quote(password, safe=""), quote(password, safe="").lower()):
            assert form not in shown_address(uri)


@given(PASSWORDS)
def test_a_password_that_this_process_was_given_is_hidden_wherever_it_is_quoted(password: str) -> None:
    redaction._told.clear()
    remember(f"postgresql://me:{quote(password, safe='')}@host/db")
    for quoted in (password, quote(password), quote(password, safe=""), repr(password)[1:-1]):
        assert without_passwords(f"<{quoted}>") == "<***>"


def test_a_short_password_is_hidden_as_a_word_alone() -> None:
    remember(f"postgresql://me:{'test'}@host/db")
    assert without_passwords("'test' is wrong; see test_acc") == "'***' is wrong; see test_acc"


def test_what_the_environment_tells_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"my {WORD}")
    monkeypatch.setenv("RAY_AUTH_TOKEN", f"{WORD}-1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://me:{WORD}-2@host/db")
    assert without_passwords(f"a my {WORD} b {WORD}-1 c {WORD}-2 d") == "a *** b *** c *** d"


@pytest.mark.parametrize(
    "address",
    [f"http://me:pa/{WORD}@host", f"postgresql://me@h:{WORD}/db", f"{WORD}@host", f"http://[::1{WORD}"],
)
def test_what_cannot_be_parsed_is_not_shown(address: str) -> None:
    assert WORD not in shown_address(address)
    assert shown_address(address) in (UNSHOWABLE, "***")


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "./mlruns", "sqlite:////a b/c?d"])
def test_an_address_without_secrets_is_shown_as_it_is(address: str) -> None:
    assert shown_address(address) == address


def test_a_long_error_is_cut_after_its_password_is_hidden() -> None:
    error = RuntimeError(f"{'x' * 270} postgresql://me:{WORD * 9}@host/db")
    assert WORD not in reason(error)


@pytest.mark.parametrize("command", ["run", "plan", "status", "report", "submit"])
@pytest.mark.parametrize(
    "address", [f"http://me:{WORD}@127.0.0.1:1", f"http://me:pa/{WORD}@127.0.0.1:1", "http://me@h"]
)
def test_a_name_in_a_servers_address_is_refused_in_one_line(
    command: str, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--address", "http://127.0.0.1:1"] if command in ("run", "plan", "submit") else []
    arguments = [command, "--tracking-uri", address, "--storage", str(tmp_path), *where]
    assert cli.run(STUDY, NoopTrainer(), arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "MLFLOW_TRACKING_USERNAME" in said
    assert WORD not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "--address", f"http://me:{WORD}@127.0.0.1:1"],
        ["submit", "--address", f"http://h:{WORD}"],
        ["submit", "--address", "http://127.0.0.1:1", "--tracking-uri", f"postgresql://h/db?password={WORD}"],
        ["submit", "--address", "http://127.0.0.1:1", "--set", f"note=postgresql://me:{WORD}@h/db"],
        ["run", "--patience", f"postgresql://me:{WORD}@host/db"],
        ["plan", "--tracking-uri", f"postgresql+psycopg://me:pa/{WORD}@127.0.0.1:1/db"],
        ["plan", "--tracking-uri", f"postgresql+psycopg://127.0.0.1:1/db?user=me&password={WORD}"],
        ["plan", "--tracking-uri", f"nosuch+database://me:{WORD}@h/db"],
        [f"--tracking-uri=postgresql://me:{WORD}@host:x/db", "plan"],
    ],
)
def test_no_command_shows_a_password(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(STUDY, NoopTrainer(), [*arguments, "--storage", str(tmp_path)]) == 2
    found = capsys.readouterr()
    assert found.err.count("\n") == 1
    assert WORD not in found.err + found.out


def test_include_is_refused_where_nothing_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, why in (
        ("plan", "plan has no --include, only run and submit: leave it out"),
        ("report", "report has no --include, only run and submit: leave it out"),
        ("run", "--include: run sends nothing without --address"),
    ):
        assert cli.run(STUDY, NoopTrainer(), [command, "--include", "x", "--storage", str(tmp_path)]) == 2
        assert capsys.readouterr().err == f"error: {why}\n"


def test_a_fault_of_ours_is_told_without_passwords(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        sqlalchemy.make_url(f"postgresql://me:{WORD}@h:port/db")
    except ValueError as cause:
        try:
            raise RuntimeError(f"password={WORD}") from cause
        except RuntimeError as error:
            cli._show_fault(RuntimeError, error, error.__traceback__)
    said = capsys.readouterr().err
    assert "RuntimeError: password=***" in said
    assert WORD not in said.replace('f"postgresql://me:{WORD}', "")


def test_what_a_trial_failed_of_is_recorded_without_passwords(tmp_path: Path) -> None:
    plan = make_plan(STUDY, NoopTrainer(), "none", {}, (0,), Layout(only=(("arm", "000"),)))
    recorder = Recorder(Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path), plan, {})
    token = "h" + f"f_{'aB3' * 12}"
    try:
        raise ConnectionError(f"cannot connect: postgresql://me:{WORD}@host/db with {token}")
    except ConnectionError as error:
        recorder.fail(plan.trials[0], str(error), "".join(traceback.format_exception(*sys.exc_info())))
    (trial,) = recorder.tracker.trials(recorder.experiment, plan.base_key)
    recorded = f"{trial.tags} {recorder.tracker.read_text(trial.artifacts, 'traceback.txt')}"
    assert "cannot connect: postgresql://me:***@host/db with ***" in recorded
    assert WORD not in recorded
    assert token not in recorded


def test_a_dependency_with_a_password_is_not_sent(tmp_path: Path) -> None:
    from orchestrator.submit.package import package

    study = tmp_path / "study.py"
    study.write_text("")
    found = package(study, tmp_path / "runs")
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "x"\ndependencies = ["x @ git+https://me:{WORD}@host/x.git"]\n'
    )
    with pytest.raises(UserError, match="--pip: a dependency"):
        found.requirements()
