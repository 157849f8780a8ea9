"""A study on one machine listens to that machine alone, and shares nothing with another that starts beside it."""

import contextlib
import ipaddress
from pathlib import Path

import psutil

from tests.faults import harness


def test_everything_that_listens_is_bound_to_loopback(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    held = harness.faults(tmp_path / "held", {"a-0-15": "hold"})
    process = harness.start(tmp_path / "s", env={"HOME": str(home), **held})
    harness.wait_for(process, "started")
    found = listening(process.pid)
    harness.wait_for_held(process, tmp_path / "held", "a-0-15")
    found |= listening(process.pid)
    harness.kill_all(process)
    process.communicate()
    assert len(found) > 3
    assert all(found.values()), [name for name, loopback in found.items() if not loopback]
    assert {path.name for path in home.iterdir()} <= {".cache"}  # a token of Ray's there would be everybody's


def listening(pid: int) -> dict[str, bool]:
    """Whether it is loopback, by the process below that one and the address that it listens on."""
    found = {}
    for below in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in below.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    address = ipaddress.ip_address(connection.laddr.ip)
                    mapped = getattr(address, "ipv4_mapped", None)
                    found[f"{below.name()} {connection.laddr}"] = (mapped or address).is_loopback
    return found


def test_a_ray_that_is_late_is_started_again(calm: Path, tmp_path: Path) -> None:
    process = harness.start(tmp_path)
    late: list[psutil.Process] = []

    def started() -> bool:
        late.extend(below for below in psutil.Process(process.pid).children(recursive=True) if below.name() == "raylet")
        return bool(late)

    harness.wait_until(process, started)
    late[0].suspend()
    said = harness.wait_for(process, "trying again")
    late[0].kill()
    assert "Ray did not start (The current node timed out" in said
    done = harness.ended(process)
    assert (done.status, done.err) == (0, ""), done
    harness.same(tmp_path, calm)
