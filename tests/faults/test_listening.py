"""A study on one machine listens to that machine alone."""

import contextlib
import ipaddress
import time
from pathlib import Path

import psutil

from tests.faults import harness


def test_everything_that_listens_is_bound_to_loopback(tmp_path: Path) -> None:
    process = harness.start(tmp_path)
    harness.wait_for(process, "started")
    time.sleep(1)
    found = {}
    for below in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in below.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    address = ipaddress.ip_address(connection.laddr.ip)
                    mapped = getattr(address, "ipv4_mapped", None)
                    found[f"{below.name()} {connection.laddr}"] = (mapped or address).is_loopback
    harness.kill_all(process)
    process.communicate()
    assert len(found) > 3
    assert all(found.values()), [name for name, loopback in found.items() if not loopback]
