"""Compiled code is kept where nobody else writes, whole or not at all; what anybody else may have put there never runs.

Owners are changed where the tests run as root, and left alone elsewhere.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainers.accelerated import library
from trainers.data.images import cifar10, cifar10_copies
from trainers.devices import cuda
from trainers.devices.private import NotPrivate, check_private, private_folder

STRANGER = 12345
needs_a_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the compiled kernels in a cache of its own; of the kernels only the names, which takes less."""
    names = "\n".join(f'extern "C" void {name}() {{}}' for name in library._SIGNATURES)
    (tmp_path / "names.cpp").write_text(names)
    monkeypatch.setattr(library, "_SOURCES", (tmp_path / "names.cpp",))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    library.library.cache_clear()
    yield tmp_path / "cache" / "sortednet-studies" / "kernels"
    library.library.cache_clear()


def again() -> bool:
    """Whether a process that starts now has the kernels."""
    library.library.cache_clear()
    return library.library() is not None


def plant(cache: Path, marker: Path) -> Path:
    """A library of somebody else's, as one kept for this machine: it leaves a marker where it is loaded."""
    compiler = shutil.which("g++")
    assert compiler is not None
    cache.mkdir(parents=True, exist_ok=True)
    source, built = marker.with_suffix(".cpp"), marker.with_suffix(".so")
    source.write_text(
        f'#include <cstdio>\n__attribute__((constructor)) static void run() {{ fopen("{marker}", "w"); }}\n'
    )
    subprocess.run([compiler, "-fPIC", "-shared", str(source), "-o", str(built)], check=True)
    kept = cache / f"{library._key(compiler)}-{library._checksum(built)}.so"
    shutil.copy(built, kept)
    kept.chmod(0o700)
    return kept


@needs_a_compiler
def test_a_library_is_compiled_once_and_readable_by_its_owner_alone(
    cache: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0)  # whatever the user's is
    try:
        assert again()
    finally:
        os.umask(before)
    (kept,) = cache.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o700
    assert cache.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(library, "_compile", None)
    assert again()
    assert capfd.readouterr().err == ""


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "a bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}


@needs_a_compiler
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_library_that_is_not_as_it_was_written_is_compiled_again(
    cache: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert again()
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.unlink()  # what this process has loaded stays as it is
    kept.write_bytes(DAMAGE[damage](whole))
    kept.chmod(0o700)
    assert again()
    assert kept.read_bytes() == whole
    assert "is not as it was written" in capfd.readouterr().err


@needs_a_compiler
def test_the_marker_tells_that_a_planted_library_runs(cache: Path, tmp_path: Path) -> None:
    """What the tests below rely on: in a folder that is one's own it is loaded."""
    plant(cache, tmp_path / "marker").parent.chmod(0o700)
    with pytest.raises(AttributeError):
        again()
    assert (tmp_path / "marker").exists()


def _folder_for_all(kept: Path) -> None:
    kept.parent.chmod(0o777)


def _sticky_folder_for_all(kept: Path) -> None:
    kept.parent.chmod(0o1777)


def _folder_above_for_all(kept: Path) -> None:
    kept.parents[2].chmod(0o777)


def _folder_of_a_strangers(kept: Path) -> None:
    os.chown(kept.parent, STRANGER, STRANGER)


def _folder_above_of_a_strangers(kept: Path) -> None:
    os.chown(kept.parents[1], STRANGER, STRANGER)


def _file_of_a_strangers(kept: Path) -> None:
    os.chown(kept, STRANGER, STRANGER)


def _file_for_all(kept: Path) -> None:
    kept.chmod(0o777)


def _folder_of_a_group(kept: Path) -> None:
    os.chown(kept.parent, -1, STRANGER)
    kept.parent.chmod(0o770)


def _link_to_a_folder_of_a_strangers(kept: Path) -> None:
    elsewhere = kept.parents[3] / "elsewhere"
    kept.parent.rename(elsewhere)
    kept.parent.symlink_to(elsewhere)
    os.chown(elsewhere, STRANGER, STRANGER)


def _link_to_a_file_of_a_strangers(kept: Path) -> None:
    elsewhere = kept.parents[3] / "elsewhere.so"
    kept.rename(elsewhere)
    kept.symlink_to(elsewhere)
    os.chown(elsewhere, STRANGER, STRANGER)


MODES = (_folder_for_all, _sticky_folder_for_all, _folder_above_for_all, _file_for_all)
OWNERS = (
    _folder_of_a_strangers, _folder_above_of_a_strangers, _file_of_a_strangers, _folder_of_a_group,
    _link_to_a_folder_of_a_strangers, _link_to_a_file_of_a_strangers,
)  # fmt: skip


@needs_a_compiler
@pytest.mark.parametrize("expose", [*MODES, *(pytest.param(each, marks=needs_root) for each in OWNERS)])
def test_what_anybody_else_may_have_written_is_never_run(
    cache: Path, tmp_path: Path, expose: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    kept = plant(cache, tmp_path / "marker")
    kept.parent.chmod(0o700)
    expose(kept)
    assert again()
    assert not (tmp_path / "marker").exists()
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "compiled for this process alone" in said


@needs_a_compiler
def test_in_a_home_that_cannot_be_written_kernels_are_compiled_for_the_process(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert again()
    assert capfd.readouterr().err.count("\n") == 1


@needs_root
def test_a_user_without_name_and_home_has_no_folder_and_is_told(tmp_path: Path) -> None:
    code = f"""
import os
from trainers.errors import DataError
from trainers.data.images import cifar10
from trainers.devices.private import NotPrivate, private_folder
os.setuid({STRANGER})
for attempt in (lambda: private_folder("kernels"), lambda: cifar10.fetch(None)):
    try:
        attempt()
    except (NotPrivate, DataError) as error:
        print(error)
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    for relative in ({}, {"HOME": ".", "XDG_CACHE_HOME": "here"}):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, **relative},
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        told = "there is no home folder\nCIFAR-10 cannot be kept, there is no home folder: pass one with --data\n"
        assert (done.stdout, done.stderr) == (told, "")
        assert list(tmp_path.iterdir()) == []


@needs_a_compiler
def test_a_compiler_that_fails_is_told_in_one_line(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no such thing' >&2\necho 'second line' >&2\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setenv("CXX", str(broken))
    assert not again()
    assert capfd.readouterr().err == "the kernels for the CPU cannot be had, torch's own are slower: no such thing\n"
    assert list(cache.iterdir()) == []


@needs_a_compiler
def test_two_processes_that_compile_at_once_both_have_them(cache: Path) -> None:
    code = "from trainers.accelerated.library import library; assert library() is not None"
    both = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == [b"", b""]
    assert [path.suffix for path in cache.iterdir()] == [".so"]


def test_another_machine_has_a_library_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "g++"
    compiler.touch()
    keys = {library._key(str(compiler))}
    with monkeypatch.context() as other:
        other.setattr(library, "_processor", lambda: "another")
        keys.add(library._key(str(compiler)))
    with monkeypatch.context() as other:
        other.setattr("platform.libc_ver", lambda: ("glibc", "2.1"))
        keys.add(library._key(str(compiler)))
    compiler.write_text("another version")
    keys.add(library._key(str(compiler)))
    assert len(keys) == 4


def test_a_folder_of_the_systems_that_one_may_only_read_is_trusted() -> None:
    check_private(Path("/usr/lib").resolve())


def test_triton_keeps_its_kernels_where_nobody_else_writes(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def where() -> str:
        monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
        cuda.keep_triton_private.cache_clear()
        cuda.keep_triton_private()
        return os.environ.get("TRITON_CACHE_DIR", "")

    monkeypatch.setenv("TRITON_CACHE_DIR", "")  # so that it is put back afterwards
    assert where() == str(private_folder("triton").resolve())
    private_folder("triton").chmod(0o777)
    alone = Path(where())
    assert "this process alone" in capfd.readouterr().err
    assert alone.stat().st_mode & 0o777 == 0o700
    alone.rmdir()
    monkeypatch.setenv("TRITON_HOME", "/chosen")
    assert where() == ""
    cuda.keep_triton_private.cache_clear()


def test_data_may_lie_in_a_folder_of_anybodys_since_their_checksum_is_known(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(NotPrivate):
        check_private(tmp_path)
    for name in cifar10.BATCHES:
        (tmp_path / name).write_bytes(b"somebody else's")
    assert cifar10_copies.look(tmp_path).batches == {}
