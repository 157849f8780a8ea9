"""Starts studies as processes, disturbs them, and holds what they end with to an undisturbed run, bit for bit."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest
from mlflow import MlflowClient

from orchestrator.commands.command_line import run as run_command
from tests.faults import chain

SCRIPT = Path(__file__).parent / "chain.py"
TIMEOUT = 600
_STARTED: list["subprocess.Popen[str]"] = []  # since `end_all`
EVALUATED = ("test_acc/w050", "test_acc/w100", "total/updates", "test_acc/average")


def heed_terminal() -> None:
    """Tests started in the background, or by nohup, ignore a terminal's signals, and all of theirs would inherit it."""
    for of_terminal in (signal.SIGINT, signal.SIGHUP):
        signal.signal(of_terminal, signal.SIG_DFL)


def start(
    storage: Path,
    *arguments: str,
    env: dict[str, str] | None = None,
    script: Path = SCRIPT,
    prefix: Sequence[str] = (),
) -> "subprocess.Popen[str]":
    """The study's command line in a process group of its own."""
    process = subprocess.Popen(
        [*prefix, sys.executable, str(script), *arguments, "--storage", str(storage)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        start_new_session=True,
        preexec_fn=heed_terminal,
    )
    end_with_the_test(process)
    return process


def end_with_the_test(process: "subprocess.Popen[str]") -> None:
    """It is ended if the test that started it does not."""
    _STARTED.append(process)


def end_all() -> None:
    """Ends what a test that failed midway left, which would disturb the next: it takes its processors and its pipes."""
    while _STARTED:
        process = _STARTED.pop()
        if process.poll() is None:
            kill_all(process)
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def start_held(storage: Path, *arguments: str, where: str = "a-0-15") -> "subprocess.Popen[str]":
    """A study that cannot end before `let_go(storage)`: a trial is held at a step, behind its checkpoints.

    However slow the machine, whatever is done to it is done while it runs.
    """
    folder = _held_in(storage)
    process = start(storage, *arguments, env=faults(folder, {where: "hold"}))
    wait_for_held(process, folder, where)
    return process


def let_go(storage: Path) -> None:
    """The trial that `start_held` holds goes on, if it lives."""
    release(_held_in(storage))


def _held_in(storage: Path) -> Path:
    return storage.with_name(f"{storage.name}-held")


@dataclass(frozen=True)
class Ended:
    """How a study ended."""

    status: int
    out: str
    err: str


def ended(process: "subprocess.Popen[str]") -> Ended:
    """Waits for it; a study that hangs is a failure with what it printed so far."""
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        kill_all(process)
        out, err = process.communicate()
        raise AssertionError(f"the study did not end:\n{out}\n{err}") from None
    return Ended(process.returncode, out, err)


def run(storage: Path, *arguments: str, env: dict[str, str] | None = None, script: Path = SCRIPT) -> Ended:
    """Starts a study and waits for it."""
    return ended(start(storage, *arguments, env=env, script=script))


def run_here(storage: Path, *arguments: str) -> Ended:
    """The study's command line in this process, where what it imports is there already; not for what uses Ray."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        status = run_command(chain.STUDY, chain.ChainTrainer(), [*arguments, "--storage", str(storage)])
    return Ended(status, out.getvalue(), err.getvalue())


def wait_for(process: "subprocess.Popen[str]", text: str) -> str:
    """Reads until a line has the text; gives everything read."""
    assert process.stdout is not None
    read = ""
    patience = threading.Timer(TIMEOUT, kill_all, [process])
    patience.start()
    try:
        while text not in read:
            line = process.stdout.readline()
            assert line, f"it ended with status {process.wait()} before it said {text!r}:\n{read}"
            read += line
    finally:
        patience.cancel()
    return read


def workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The Ray workers below a study that started its own cluster, those with a trial."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if "ImplicitFunc" in " ".join(child.cmdline()):
                    found.append(child)
    return found


def faults(folder: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    """The environment that makes trials do what is wanted, by `<arm>-<seed>-<step>`."""
    folder.mkdir()
    for where, what in wanted.items():
        (folder / where).write_text(what)
    return {"FAULTS": str(folder)}


def wait_for_held(process: "subprocess.Popen[str]", folder: Path, *where: str) -> list[int]:
    """Waits until trials are held where they should be, their checkpoints behind them; gives their processes' ids."""
    held = [folder / f"{name}.held" for name in where]
    wait_until(process, lambda: all(file.exists() for file in held))
    return [int(file.read_text()) for file in held]


def release(folder: Path) -> None:
    """Those that are held by the faults in a folder go on, if they live."""
    for held in folder.glob("*.held"):
        held.unlink()


def wait_until(process: "subprocess.Popen[str]", happened: Callable[[], bool]) -> None:
    """Waits for what can be seen from outside of a study that runs."""
    ends = time.monotonic() + TIMEOUT
    while not happened():
        assert process.poll() is None, f"it ended before that, {ended(process)}"
        assert time.monotonic() < ends, f"it did not happen in {TIMEOUT} s"
        time.sleep(0.005)


def is_dead(pid: int) -> bool:
    """Whether a process has ended, waited for by its parent or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill_all(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to the driver, Ray and the workers alike."""
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def table(storage: Path, study: str = "chain", preset: str = "short") -> pd.DataFrame:
    """Every result, but for the time it took."""
    reports = storage / "reports" / study
    usual = reports / preset / "results.csv"
    (file,) = [usual] if usual.exists() else reports.glob(f"{preset},*/results.csv")  # of other arms, or settings
    frame = pd.read_csv(file)
    return frame.drop(columns="seconds").sort_values(["arm", "seed", "sub_model"], ignore_index=True)


def curves(uri: str, study: str = "chain") -> dict[tuple[str, str], list[tuple[int, float]]]:
    """The points of every run and metric, by trial, in the order of their steps. One run per trial, or it fails."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`study.role` = 'trial'", max_results=5000)
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for run_ in runs:
        assert run_.info.status == "FINISHED", f"{run_.info.run_name} is {run_.info.status}"
        for metric in EVALUATED:
            key = (f"{run_.data.tags['arm']} {run_.data.tags['seed']}", metric)
            assert key not in found, f"two runs of {run_.info.run_name}"
            history = client.get_metric_history(run_.info.run_id, metric)
            found[key] = sorted((point.step, point.value) for point in history)
    return found


def same(storage: Path, calm: Path, uri: str | None = None) -> None:
    """The same table and the same curves, with no point twice."""
    pd.testing.assert_frame_equal(table(storage), table(calm), check_exact=True)
    ours = curves(uri or f"sqlite:///{storage / 'mlflow.db'}")
    expected = curves(f"sqlite:///{calm / 'mlflow.db'}")
    assert ours == expected
    for points in ours.values():
        assert len({step for step, _ in points}) == len(points)
