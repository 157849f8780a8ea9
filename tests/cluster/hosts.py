"""Several hosts on one machine: network namespaces on a bridge, a Ray node in each, one storage that all see."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

_SUBNET = "10.211.47"
_LOCK = Path(tempfile.gettempdir()) / "sortednet-studies-hosts.lock"  # of the subnet, whoever tests on this machine
_RAY = str(Path(sys.executable).parent / "ray")
_START_SECONDS = 120


def possible() -> bool:
    """Whether this machine lets us make them: root on Linux with iproute2, and nothing that forbids it."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    probe = f"sn{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode == 0
    if made:
        command = ["ip", "link", "add", probe, "type", "veth", "peer", "name", "eth0", "netns", probe]
        made = subprocess.run(command, capture_output=True, check=False).returncode == 0
        _ip("netns", "del", probe)
        _ip("link", "del", probe, check=False)
    return made


def _ip(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


class Hosts:
    """Hosts 1 (the head) to n, with one CPU each.

    Attributes:
        env: with the token that the cluster asks for.
    """

    def __init__(self, number: int, folder: Path) -> None:
        self.mark = f"sn{os.getpid() % 10000}"
        self.number, self._folder = number, folder
        self.env = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "RAY_health_check_timeout_ms": "2000",
        }

    def name(self, host: int) -> str:
        """Of its namespace."""
        return f"{self.mark}h{host}"

    def address(self, host: int) -> str:
        """Its IP address."""
        return f"{_SUBNET}.{host}"

    @property
    def head(self) -> str:
        """What a driver connects to."""
        return f"{self.address(1)}:6379"

    @property
    def job_server(self) -> str:
        """What jobs are submitted to."""
        return f"http://{self.address(1)}:8265"

    def inside(self, host: int) -> Sequence[str]:
        """What a command is preceded by to run on a host."""
        return ["ip", "netns", "exec", self.name(host)]

    def build(self) -> None:
        """Bridge, namespaces and cables."""
        bridge = f"{self.mark}br"
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{_SUBNET}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in range(1, self.number + 1):
            _ip("netns", "add", self.name(host))
            _ip("link", "add", self._cable(host), "type", "veth", "peer", "name", "eth0", "netns", self.name(host))
            _ip("link", "set", self._cable(host), "master", bridge, "up")
            _ip("-n", self.name(host), "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", self.name(host), "link", "set", device, "up")

    def start(self, host: int) -> None:
        """The Ray node of a host."""
        own = Path(f"{self._folder}{host}")
        for folder in (own, self._folder):
            folder.mkdir(exist_ok=True)
        command = [_RAY, "start", f"--node-ip-address={self.address(host)}", "--num-cpus=1"]
        if host == 1:
            command += ["--head", "--port=6379", f"--dashboard-host={self.address(1)}", "--dashboard-port=8265"]
            command += [f"--temp-dir={self._folder}"]
        else:  # its own folder in the place of the head's, since each unpacks there what is sent to it
            mount = ["sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh", str(own), str(self._folder)]
            command = [*mount, *command, f"--address={self.head}"]
        done = subprocess.run(
            [*self.inside(host), *command],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _cable(self, host: int) -> str:
        return f"{self.mark}v{host}"

    def cut_off(self, host: int) -> None:
        """Its cable is pulled; what runs on it runs on."""
        _ip("link", "set", self._cable(host), "down")

    def plug_in(self, host: int) -> None:
        """Undoes `cut_off`."""
        _ip("link", "set", self._cable(host), "up")

    def kill(self, host: int) -> None:
        """Everything that runs on it, without grace."""
        for pid in _ip("netns", "pids", self.name(host), check=False).split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue

    def remove(self) -> None:
        """All of it."""
        for host in range(self.number, 0, -1):
            self.kill(host)
        time.sleep(0.5)
        for host in range(1, self.number + 1):
            _ip("netns", "del", self.name(host), check=False)
            _ip("link", "del", self._cable(host), check=False)
            shutil.rmtree(f"{self._folder}{host}", ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        _ip("link", "del", f"{self.mark}br", check=False)


@contextmanager
def hosts(number: int, folder: Path) -> Iterator[Hosts]:
    """Hosts with Ray running on each; whoever else wants some waits."""
    made = Hosts(number, folder)
    with FileLock(_LOCK):
        try:
            made.build()
            for host in range(1, number + 1):
                made.start(host)
            yield made
        finally:
            made.remove()
