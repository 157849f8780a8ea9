"""Bytes from a server that may do anything: end early, stall, trickle, send us round in circles, or never stop.

Reading waits in a thread of its own, since a server can keep any call of it waiting in a way that no timeout of a
socket ends: a byte every few seconds, in the body as in the headers. Who asked counts what arrives, and leaves the
thread alone when that is too little; all that is wrong comes as one kind of error, so another source can be tried.
"""

import ssl
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from queue import Empty, SimpleQueue
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

from rich.progress import Progress

from trainers.data.fetching import one_line
from trainers.errors import DataError

CONNECT_SECONDS = 5  # reached within seconds or not at all; once bytes flow, only a stall ends it
_WINDOW_SECONDS, _LEAST_BYTES = 20.0, 320 << 10  # that must arrive in each such time: 16 KiB a second
_CHUNK = 1 << 18

_Arriving = SimpleQueue[bytes | Exception]
"""What has been read, in order; nothing, where it is all; or what went wrong."""


def download(
    address: str,
    out: IO[bytes],
    largest: int,
    progress: Progress | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Writes what an address of the web has.

    Args:
        address: of http or https; a name and password in it are used, and not shown.
        largest: bytes that it can have; of more nothing is written.
        progress: shows how much has come.
        headers: to ask with.

    Raises:
        DataError: no answer, another than asked for, one that ends early or is larger than `largest`, or too slow.
        OSError: it cannot be written.
    """
    arriving: _Arriving = SimpleQueue()
    abandoned = threading.Event()
    request = _request(address, headers or {})
    threading.Thread(target=_read, args=(request, largest, arriving, abandoned), daemon=True).start()
    task = progress.add_task("downloading", total=None) if progress else None
    try:
        for chunk in _paced(arriving):
            out.write(chunk)
            if progress and task is not None:
                progress.advance(task, len(chunk))
    finally:
        abandoned.set()


def _request(address: str, headers: Mapping[str, str]) -> urllib.request.Request:
    try:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DataError("its address is none of http or https")
        credentials, _, host = parts.netloc.rpartition("@")
        request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers=dict(headers))
    except ValueError as error:
        raise DataError("its address is none") from error
    if credentials:  # not to whom one is sent on to
        basic = b64encode(unquote(credentials).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {basic}")
    return request


def _read(request: urllib.request.Request, largest: int, arriving: _Arriving, abandoned: threading.Event) -> None:
    """In a thread: puts what arrives into the queue, until it ends, fails, or nobody waits for it any more."""
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as response:
            if not isinstance(response, HTTPResponse):
                raise DataError("it sends on to something that is not of the web")
            expected, came = response.length, 0
            if expected is not None and expected > largest:
                raise DataError(f"it would send {expected:,} bytes, more than the {largest:,} that it can have")
            while (chunk := response.read1(_CHUNK)) and not abandoned.is_set():
                came += len(chunk)
                if came > largest:
                    raise DataError(f"it sends more than the {largest:,} bytes that it can have")
                arriving.put(chunk)
            if expected is not None and came < expected:
                raise DataError(f"the download broke off at {came:,} of {expected:,} bytes")
        arriving.put(b"")
    except Exception as error:  # handed to who waits, who knows which are a server's
        arriving.put(error)


def _paced(arriving: _Arriving) -> Iterator[bytes]:
    ends, came = time.monotonic() + _WINDOW_SECONDS, 0
    while True:
        try:
            item = arriving.get(timeout=max(0.0, ends - time.monotonic()))
        except Empty:
            if came < _LEAST_BYTES:
                raise DataError(f"it is too slow: {came:,} bytes in {_WINDOW_SECONDS:g} s") from None
            ends, came = time.monotonic() + _WINDOW_SECONDS, 0
            continue
        if isinstance(item, Exception):
            raise _of_a_server(item)
        if not item:
            return
        came += len(item)
        yield item


def _of_a_server(error: Exception) -> Exception:
    """As the one kind that a source fails by; what is our own fault stays as it is."""
    match error:
        case urllib.error.HTTPError():
            said = one_line(error)
            error.close()
        case urllib.error.URLError(reason=reason):
            return _of_a_server(reason) if isinstance(reason, Exception) else DataError(one_line(reason))
        case ssl.SSLError():
            said = f"no safe connection ({one_line(error)})"
        case HTTPException():
            said = f"its answer is broken off or not HTTP ({type(error).__name__}: {one_line(error)})"
        case TimeoutError():
            said = f"nothing came from it for {CONNECT_SECONDS} s"
        case OSError() | ValueError():
            said = one_line(error)
        case _:
            return error
    named = DataError(said)
    named.__cause__ = error
    return named
