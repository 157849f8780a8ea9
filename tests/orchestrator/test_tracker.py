"""Something that answers where a tracking server was looked for."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from orchestrator.errors import UserError
from orchestrator.track.tracker import Tracker

STRANGERS = {
    "an exporter of metrics": (405, b"use OPTIONS or GET"),
    "a site": (200, b"<html></html>"),
    "a site that lacks it": (404, b"nothing here"),
    "a service with a status": (200, b'{"status": "ok"}'),
    "a service that says nothing": (200, b"{}"),
}


class Stranger(BaseHTTPRequestHandler):
    answer: tuple[int, bytes]

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(params=STRANGERS)
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where something else listens."""
    kind = type("Kind", (Stranger,), {"answer": STRANGERS[request.param]})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_what_is_no_tracking_server_is_not_taken_for_one(address: str) -> None:
    with pytest.raises(UserError, match=f"{address} (cannot be opened: |is no MLflow server; look at its)") as refused:
        Tracker(address, None)
    assert "\n" not in str(refused.value)
