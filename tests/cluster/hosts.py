"""Several hosts on one machine: network namespaces on a bridge, a Ray node in each, one storage that all see.

The bridge is in a namespace of its own, too, so addresses and devices meet nobody else's; what the machine has one of,
the namespaces' names, are drawn.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_SUBNET = "10.211.47"
_RAY = str(Path(sys.executable).parent / "ray")
_START_SECONDS = 300


def possible() -> bool:
    """Whether this machine lets us make them: root on Linux with iproute2, and nothing that forbids it."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = Hosts(1, Path())
    try:
        made.build()
    except AssertionError:
        return False
    finally:
        made.remove_network()
    return True


def alone() -> Sequence[str] | None:
    """What a command is preceded by to run with a loopback of its own, where every port is free; None: impossible."""
    command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if os.geteuid() != 0:
        command[1:1] = ["--user", "--map-root-user"]
    try:
        done = subprocess.run([*command, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return command if done.returncode == 0 else None


def _ip(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def _with(folder: Path, place: Path) -> Sequence[str]:
    """What a command on a host is preceded by to see a folder in the place of another one, as nobody else does."""
    return ["sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh", str(folder), str(place)]


class Hosts:
    """Hosts 1 (the head) to n, with one CPU each, and host 0, which has the bridge and no Ray node.

    Attributes:
        env: with the token that the cluster asks for.
        faults: the folder that tells trials what to do wrong; there once a test has made it.
        instead: by host, the folder that its Ray node has in the place of one that it is not to see.
    """

    def __init__(self, number: int, folder: Path, instead: Mapping[int, tuple[Path, Path]] | None = None) -> None:
        self.mark = f"sn{secrets.token_hex(4)}"
        self.number, self._folder, self.faults = number, folder, folder / "faults"
        self.instead = instead or {}
        self.env = {
            **os.environ,
            "FAULTS": str(self.faults),
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
        for host in range(self.number + 1):
            _ip("netns", "add", self.name(host))
            self._on(host, "link", "set", "lo", "up")
        self._on(0, "link", "add", "bridge", "type", "bridge")
        self._on(0, "addr", "add", f"{_SUBNET}.254/24", "dev", "bridge")
        self._on(0, "link", "set", "bridge", "up")
        for host in range(1, self.number + 1):
            cable = self._cable(host)
            self._on(0, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", self.name(host))
            self._on(0, "link", "set", cable, "master", "bridge", "up")
            self._on(host, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            self._on(host, "link", "set", "eth0", "up")

    def start(self, host: int) -> None:
        """The Ray node of a host."""
        own, shared = self._folder / str(host), self._folder / "r"
        for folder in (own, shared):
            folder.mkdir(exist_ok=True)
        command = [_RAY, "start", f"--node-ip-address={self.address(host)}", "--num-cpus=1"]
        if host == 1:
            command += ["--head", "--port=6379", f"--dashboard-host={self.address(1)}", "--dashboard-port=8265"]
            command += [f"--temp-dir={shared}"]
        else:  # its own folder in the place of the head's, since each unpacks there what is sent to it
            command = [*_with(own, shared), *command, f"--address={self.head}"]
        if host in self.instead:
            command = [*_with(*self.instead[host]), *command]
        done = subprocess.run(
            [*self.inside(host), *command],
            env={**self.env, "HOST": str(host)},
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _cable(self, host: int) -> str:
        return f"cable{host}"

    def _on(self, host: int, *arguments: str) -> None:
        _ip("-n", self.name(host), *arguments)

    def cut_off(self, host: int) -> None:
        """Its cable is pulled; what runs on it runs on."""
        self._on(0, "link", "set", self._cable(host), "down")

    def plug_in(self, host: int) -> None:
        """Undoes `cut_off`."""
        self._on(0, "link", "set", self._cable(host), "up")

    def kill(self, host: int) -> None:
        """Everything that runs on it, without grace."""
        while pids := _ip("netns", "pids", self.name(host), check=False).split():  # some start others meanwhile
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.05)

    def remove_network(self) -> None:
        """What `build` made, or began to."""
        for host in range(self.number + 1):
            _ip("netns", "del", self.name(host), check=False)  # its devices and their peers go with it


@contextmanager
def hosts(number: int, instead: Mapping[int, tuple[Path, Path]] | None = None) -> Iterator[Hosts]:
    """Hosts with Ray running on each."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a socket's path may have 107 characters
    made = Hosts(number, folder, instead)
    try:
        made.build()
        for host in range(1, number + 1):
            made.start(host)
        yield made
    finally:
        for host in range(number, -1, -1):
            made.kill(host)
        made.remove_network()
        shutil.rmtree(folder, ignore_errors=True)
