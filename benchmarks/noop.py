"""A trainer that does nothing, or waits, or fails: what is left of a study's duration is the engine's own."""

import hashlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.declaration import Declaration, Metric, Total
from orchestrator.setting import Setting
from orchestrator.study.study import Factor, Preset, Study
from orchestrator.trainer import Outlook, Place, Probe, SubModelCost, TrialBudget

STUDY = Study(
    name="noop",
    title="Nothing, many times",
    presets={"none": Preset({"seconds": 0.0, "budget": {"unit": "updates", "amount": 1}}, 1, "")},
    factors=(Factor("arm", {f"{index:03d}": {"index": index} for index in range(1000)}),),
)

FAULTS = ("raise", "memory", "die", "hang", "nan")
_SHARE = 0.05  # of the trials, for each kind of fault


@dataclass(frozen=True)
class Nothing:
    """A snapshot of nothing."""

    step: int
    progress: float
    final: bool
    diverged: bool = False
    metrics: dict[str, float] = field(default_factory=dict)

    def save(self, directory: Path) -> None:
        (directory / "weights.safetensors").write_bytes(b"")


class NoopTrainer:
    """Waits for `seconds` a trial, a tenth of a second at a time, and reports once, at its end."""

    name = "noop 1"

    def resolve(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return dict(settings)

    declaration = Declaration(
        metrics=(
            Metric("test_acc", "test accuracy", "%", primary=True, short="accuracy"),
            Metric("test_acc_average", "average test accuracy", "%", per_sub_model=False),
        ),
        totals=(
            Total("updates", "all updates", per_sub_model=True),
            Total("passes", "all passes"),
            Total("samples"),
            Total("macs", "training MACs (forward)", scientific=True),
            Total("forwards"),
        ),
        artifacts=("weights.safetensors",),
        weights="weights.safetensors",
    )

    def budget(self, config: Mapping[str, Any]) -> TrialBudget:
        budget = config["budget"]
        return TrialBudget(budget["unit"], budget["amount"], f"{budget['amount']:,} optimizer steps")

    def describe(self, configs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        return ("",)

    def versions(self) -> dict[str, str]:
        return {}

    def settings(self) -> tuple[Setting, ...]:
        return ()

    def full_names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return dict(settings)

    def identity(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return dict(config)

    def code(self, config: Mapping[str, Any]) -> dict[str, str]:
        return {}

    def data_checksum(self, config: Mapping[str, Any], data: Path | None) -> str:
        return "none"

    def prepare(self, config: Mapping[str, Any], place: Place) -> None:
        pass

    def costs(self, config: Mapping[str, Any]) -> list[SubModelCost]:
        return [SubModelCost("w100", {"width": 1.0}, 1, 1)]

    def outlook(self, config: Mapping[str, Any]) -> Outlook:
        return Outlook({}, weight=1.0)

    def seconds(self, config: Mapping[str, Any], place: Place) -> float:
        return float(config["seconds"])

    def probe(self, config: Mapping[str, Any], place: Place, starts: float, ends: float) -> Probe:
        return Probe(1.0, "steps", 1, 1)

    def latencies(self, config: Mapping[str, Any], place: Place) -> dict[str, float]:
        return {}

    def export(self, config: Mapping[str, Any], weights: Path, label: str, folder: Path) -> None:
        raise NotImplementedError("there is nothing to export")

    def device_name(self, place: Place) -> str:
        return "no device"

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Nothing]:
        ends = time.monotonic() + config["seconds"]
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(0.1, left))
            yield Nothing(0, 1 - left / config["seconds"], final=False)
        metrics = {"test_acc/w100": 50.0, "updates/w100": 1.0, "test_acc_average": 50.0}
        metrics |= {f"ledger/{unit}": 1.0 for unit in ("updates", "passes", "samples", "macs", "forwards")}
        yield Nothing(1, 1.0, final=True, metrics=metrics)


def report_once(config: dict[str, Any]) -> None:
    """The same for Tune alone."""
    from ray import tune

    tune.report({"accuracy": 50.0})


def fault(arm: int, seed: int) -> str | None:
    """What goes wrong with a trial's first attempt, if anything."""
    draw = hashlib.sha256(f"{arm} {seed}".encode()).digest()
    place = int.from_bytes(draw[:4], "big") / 2**32 / _SHARE
    return FAULTS[int(place)] if place < len(FAULTS) else None


@dataclass(frozen=True)
class Failing(NoopTrainer):
    """Fails once where `fault` says; that it did, a file in `folder` says."""

    folder: str = ""

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Nothing]:
        what = fault(config["index"], seed)
        mark = Path(self.folder) / f"{config['index']}-{seed}"
        *_, last = super().fit(config, seed, place, resume_from)
        if what == "nan":
            yield replace(last, diverged=True)
            return
        if what is not None and not mark.exists():
            mark.touch()
            if what == "raise":
                raise ZeroDivisionError("on purpose")
            if what == "memory":
                raise MemoryError("on purpose")
            if what == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(3600)
        yield last
