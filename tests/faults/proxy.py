"""A tracking server behind a proxy that can fail."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow

_START_SECONDS, _END_SECONDS = 300, 30


class Proxy(ThreadingHTTPServer):
    """Forwards to a server on loopback, `delay` seconds late, as `mode` says: pass, down, 500, or 500 to downloads."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.behind = port
        self.mode, self.delay = "pass", 0.0
        self.failed = 0

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.mode == "down":
            self.server.failed += 1
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        downloads = "/mlflow-artifacts/artifacts/" in self.path
        if self.server.mode == "500" or (self.server.mode == "500 to downloads" and downloads):
            self.server.failed += 1
            self.send_error(500)
            return
        time.sleep(self.server.delay)
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        headers["Host"] = f"127.0.0.1:{self.server.behind}"
        behind.request(self.command, self.path, body, headers)
        answer = behind.getresponse()
        content = answer.read()
        behind.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _forward

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def mlflow_server(store: str, artifacts: Path) -> Iterator[int]:
    """`mlflow server` on loopback; gives its port.

    It is handed a socket that listens already, as its standard input: that is what MLflow passes on to uvicorn. So
    nobody else can take the port, and whoever answers there is this server.
    """
    log = artifacts.parent / "server.log"
    with socket.socket() as listening, log.open("w") as out:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does not, for a socket handed down
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = int(listening.getsockname()[1])
        command = [str(Path(sys.executable).parent / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--backend-store-uri", store, "--artifacts-destination", str(artifacts), "--workers", "1"]
        server = subprocess.Popen(
            [*command, "--uvicorn-opts", "--fd 0"],
            stdin=listening,
            stdout=out,
            stderr=out,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # no processes beside it
            start_new_session=True,
        )
    try:
        _until_it_answers(port, log)
        yield port
    finally:
        _end(server)


def _until_it_answers(port: int, log: Path) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
    try:
        connection.request("GET", "/version")  # heard once it is up; refused if it ended
        answer = connection.getresponse()
        said = (answer.status, answer.read().decode())
    except (OSError, http.client.HTTPException) as error:
        raise AssertionError(f"the server did not come up: {error!r}\n{log.read_text()}") from error
    finally:
        connection.close()
    assert said == (200, mlflow.__version__), f"{said}\n{log.read_text()}"


def _end(server: "subprocess.Popen[bytes]") -> None:
    """With grace; whatever of its session is left after that, without."""
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@contextmanager
def failing(port: int) -> Iterator[Proxy]:
    """A proxy before the server at that port."""
    proxy = Proxy(port)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
