"""What every benchmark needs: processes of their own to measure in, and results with the machine they come from."""

import csv
import multiprocessing
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
ARMS = [(method, norm) for norm in ("instance", "batch") for method in ("NS", "LCS-p", "SortedNet")]
"""Of Table 1."""


@dataclass(frozen=True)
class Spread:
    """Of the turns."""

    median: float
    least: float
    greatest: float

    @classmethod
    def over(cls, values: Iterable[float]) -> "Spread":
        """Of values, one per turn."""
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}–{self.greatest:.2f})"


def warm_up_steps(method: str, device: torch.device) -> int:
    """Training steps until hardly anything is made that lasts.

    When one of LCS-p's 373 widths first comes, oneDNN makes its kernels; on CUDA a graph is captured for each of its
    places in a step.
    """
    steps, of_lcs_p = (100, 3000) if device.type == "cuda" else (4, 600)
    return of_lcs_p if method == "LCS-p" else steps


def in_a_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` returns in a fresh process, so that its memory and caches are its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(work, *arguments).result()


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose spreads are three columns each."""
    columns: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Spread):
            columns |= {f"{name}_{of}": round(number, 4) for of, number in asdict(value).items()}
        else:
            columns[name] = round(value, 4) if isinstance(value, float) else value
    return columns


def append(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds rows to results/name.csv, as `append_to` does, and prints them."""
    RESULTS.mkdir(exist_ok=True)
    append_to(RESULTS / f"{name}.csv", rows)
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def append_to(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds rows to a CSV file, each with the date, the machine and the versions."""
    new = not path.exists()
    complete = [{**_machine(), **row} for row in rows]
    with path.open("a", newline="") as file:
        table = csv.DictWriter(file, complete[0].keys())
        if new:
            table.writeheader()
        table.writerows(complete)


def _machine() -> dict[str, Any]:
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        **{package: _version(package) for package in ("torch", "ray", "mlflow")},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a GPU machine that only trains
        return "none"


def _processor() -> str:
    """The model's name and what of vector instructions it has."""
    found = [line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    name = found[0].partition(":")[2].strip() if found else platform.processor() or platform.machine()
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}{' with bf16' if capabilities.get('avx512_bf16') else ''}"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
