"""A study whose training is a chain of hashes: no step can be skipped, repeated or reordered without its end showing.

Run as a script by the fault harness. `FAULTS` in the environment names a folder; a file in it named
`<arm>-<seed>-<step>` makes that trial do at that step what the file says, once (the file is taken away first) or, if
the text ends in `always`, each time: `raise`, `hang`, `memory`, `nan`, `die`, `break` (into the debugger). `hold`
writes its process id into a file `<arm>-<seed>-<step>.held` and goes on once that is taken away. `much` takes memory
until something ends it. `linger` and `cling` hang once the snapshot is out, the latter even when nobody asks for more.
`measure-…` measures what `ODD` names beside the rest. `shout` raises with a text of megabytes that no encoding has, and
`leave` ends the interpreter.
"""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import orchestrator
from orchestrator.commands.command_line import main
from orchestrator.declaration import Declaration, Metric, Total
from orchestrator.errors import UserError
from orchestrator.setting import Setting
from orchestrator.study.study import Factor, Preset, Study
from orchestrator.trainer import Outlook, Place, Probe, SubModelCost, TrialBudget

LABELS = ("w050", "w100")
ODD: dict[str, dict[Any, Any]] = {
    "none": {"test_acc/w100": None},
    "text": {"test_acc/w100": "99"},
    "list": {"test_acc/w100": [99.0]},
    "truth": {"test_acc/w100": True},
    "endless": {"test_acc/w100": 10**400},
    "sign": {"test_acc%": 1.0},
    "path": {"../test_acc": 1.0},
    "long": {"a" * 251: 1.0},
    "number": {7: 1.0},
    "nan": {"test_acc/w100": float("nan")},
    "infinite": {"test_acc/w100": float("inf")},
    "whole": {"test_acc/w100": 50},
    "numpy": {"test_acc/w100": np.float32(50)},
}
STUDY = Study(
    name="chain",
    title="Chains of hashes",
    presets={"short": Preset({"steps": 40, "pause": 0.02, "evaluations": 4}, 2, "about a second a trial")},
    factors=(Factor.of("arm", ["a", "b", "c"]),),
    baseline={"arm": "a"},
)


@dataclass(frozen=True)
class Link:
    """The chain after some steps."""

    step: int
    progress: float
    metrics: dict[str, float]
    final: bool
    diverged: bool
    digest: str

    def save(self, directory: Path) -> None:
        (directory / "state.json").write_text(json.dumps({"step": self.step, "digest": self.digest}))
        (directory / "weights.safetensors").write_text(self.digest)


class ChainTrainer:
    name = "chain 1"

    def resolve(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := settings.keys() - {"steps", "pause", "evaluations", "arm"}:
            raise UserError(f"unknown setting {min(unknown)!r}")
        if not isinstance(settings["steps"], int) or settings["steps"] < 1:
            raise UserError("steps is a whole number from 1")
        return {**settings, "budget": {"unit": "updates", "amount": settings["steps"]}}

    def settings(self) -> tuple[Setting, ...]:
        return (Setting("steps", "steps", "40", "a whole number from 1", "Links of the chain."),)

    def full_names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return dict(settings)

    def identity(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return dict(config)

    declaration = Declaration(
        metrics=(
            Metric("test_acc", "test accuracy", "%", primary=True, short="accuracy"),
            Metric("test_acc_average", "average test accuracy", "%", per_sub_model=False),
            Metric("train_loss", "training loss", higher_is_better=False, per_sub_model=False),
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

    def code(self, config: Mapping[str, Any]) -> dict[str, str]:
        return {}

    def data_checksum(self, config: Mapping[str, Any], data: Path | None) -> str:
        return "none"

    def prepare(self, config: Mapping[str, Any], place: Place) -> None:
        pass

    def costs(self, config: Mapping[str, Any]) -> list[SubModelCost]:
        return [SubModelCost(label, {"width": int(label[1:]) / 100}, 10, 10) for label in LABELS]

    def outlook(self, config: Mapping[str, Any]) -> Outlook:
        return Outlook({"updates": config["steps"]}, weight=1.0)

    def seconds(self, config: Mapping[str, Any], place: Place) -> float:
        return float(config["steps"] * config["pause"])

    def probe(self, config: Mapping[str, Any], place: Place, starts: float, ends: float) -> Probe:
        return Probe(1.0, "steps", 1, 1)

    def latencies(self, config: Mapping[str, Any], place: Place) -> dict[str, float]:
        return {}

    def export(self, config: Mapping[str, Any], weights: Path, label: str, folder: Path) -> None:
        raise NotImplementedError("a chain has no sub-models")

    def device_name(self, place: Place) -> str:
        return f"paper, by {Path(orchestrator.__file__).parent}"

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Link]:
        digest, start = f"{config['arm']}{seed}", 0
        if resume_from is not None:
            state = json.loads((resume_from / "state.json").read_text())
            digest, start = state["digest"], state["step"]
        steps = config["steps"]
        if start == steps:
            yield Link(start, 1.0, {}, True, False, digest)
        for step in range(start + 1, steps + 1):
            time.sleep(config["pause"])
            digest = hashlib.sha256(f"{digest} {step}".encode()).hexdigest()
            what = _fault(config["arm"], seed, step)
            diverged = what == "nan"
            final = step == steps or diverged
            due = final or step * config["evaluations"] // steps > (step - 1) * config["evaluations"] // steps
            metrics = _metrics(digest, step, diverged) if due else {}
            if what.startswith("measure-"):
                metrics |= ODD[what.removeprefix("measure-")]
            try:
                yield Link(step, step / steps, metrics, final, diverged, digest)
                _hang(what == "linger")
            finally:
                _hang(what == "cling")
            if final:
                return


def _metrics(digest: str, step: int, diverged: bool) -> dict[str, float]:
    values = [int(digest[8 * index : 8 * index + 8], 16) / 2**32 * 100 for index in range(len(LABELS))]
    found = {f"test_acc/{label}": value for label, value in zip(LABELS, values, strict=True)}
    found |= {f"updates/{label}": float(step) for label in LABELS}
    found |= {f"ledger/{unit}": float(step) for unit in ("updates", "passes", "samples", "macs", "forwards")}
    found["train_loss"] = float("nan") if diverged else 1.0 / step
    return found | {"test_acc_average": sum(values) / len(values)}


def _hang(really: bool) -> None:
    while really:
        time.sleep(3600)


def _fault(arm: str, seed: int, step: int) -> str:
    """Does what is asked for here; says what that is."""
    where = Path(os.environ.get("FAULTS", "/nowhere")) / f"{arm}-{seed}-{step}"
    try:
        what, _, how_often = where.read_text().partition(" ")
    except OSError:
        return ""
    if how_often != "always":
        where.unlink()
    if what == "raise":
        raise ZeroDivisionError("on purpose")
    if what == "memory":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (1 << 32, resource.getrlimit(resource.RLIMIT_AS)[1]))
        try:
            bytearray(1 << 36)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if what == "much":
        taken = []
        while True:
            taken.append(bytearray(os.urandom(1)) * (1 << 26))
            time.sleep(0.01)
    if what == "hold":
        held, aside = where.with_name(f"{where.name}.held"), where.with_name(f"{where.name}.aside")
        aside.write_text(str(os.getpid()))
        aside.replace(held)
        while held.exists():
            time.sleep(0.02)
    _hang(what == "hang")
    if what == "break":
        breakpoint()
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "shout":
        raise ZeroDivisionError("on purpose \ud800\0\x1b[31m " + "much " * 1_000_000)
    if what == "leave":
        sys.exit("on purpose")
    return what


if __name__ == "__main__":
    main(STUDY, ChainTrainer())
