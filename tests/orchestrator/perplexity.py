"""A trainer without torch that is better lower: polynomials nested by degree, fitted to noisy points.

A prefix of `degree + 1` coefficients is a sub-model. What it calls a perplexity is exp of the mean squared error.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.declaration import Declaration, Metric, Total
from orchestrator.errors import UserError
from orchestrator.setting import Setting
from orchestrator.study.study import Factor, Preset, Study
from orchestrator.trainer import Outlook, Place, Probe, SubModelCost, TrialBudget

DEGREES = (1, 2, 4)
STUDY = Study(
    name="perplexity",
    title="Rates for polynomials",
    presets={"short": Preset({"steps": 20, "evaluations": 4}, 3, "no time at all")},
    factors=(Factor("rate", {"slow": {"rate": 0.01}, "fast": {"rate": 0.3}}),),
    baseline={"rate": "slow"},
)
METRIC = Metric("ppl", "perplexity", "nats", higher_is_better=False, primary=True, decimals=3)


@dataclass(frozen=True)
class Fitted:
    """The coefficients after some steps."""

    step: int
    progress: float
    metrics: dict[str, float]
    final: bool
    diverged: bool
    coefficients: tuple[float, ...]

    def save(self, directory: Path) -> None:
        (directory / "coefficients.json").write_text(json.dumps([self.step, *self.coefficients]))


class PerplexityTrainer:
    name = "polynomials 1"
    declaration = Declaration(
        metrics=(METRIC, Metric("noise", "noise", per_sub_model=False)),
        totals=(Total("rounds", "all rounds", per_sub_model=True),),
        artifacts=("coefficients.json",),
        weights="coefficients.json",
    )

    def budget(self, config: Mapping[str, Any]) -> TrialBudget:
        return TrialBudget("rounds", config["steps"], f"{config['steps']} rounds")

    def describe(self, configs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        return ("polynomials on points",)

    def versions(self) -> dict[str, str]:
        return {"abacus": "1.0"}

    def resolve(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := settings.keys() - {"steps", "evaluations", "rate"}:
            raise UserError(f"unknown setting {min(unknown)!r}: choose from evaluations, rate, steps")
        if not isinstance(settings["steps"], int) or settings["steps"] < 1:
            raise UserError(f"steps={settings['steps']!r}: give a whole number from 1")
        return {"rate": 0.1, "evaluations": 1, **settings}

    def settings(self) -> tuple[Setting, ...]:
        return (Setting("steps", "steps", "20", "a whole number from 1", "Rounds.", unit="rounds"),)

    def full_names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return dict(settings)

    def identity(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return dict(config)

    def code(self, config: Mapping[str, Any]) -> dict[str, str]:
        return {}

    def data_checksum(self, config: Mapping[str, Any], data: Path | None) -> str:
        return "points"

    def prepare(self, config: Mapping[str, Any], place: Place) -> None:
        pass

    def costs(self, config: Mapping[str, Any]) -> list[SubModelCost]:
        return [SubModelCost(f"p{degree}", {"degree": degree}, degree, degree + 1) for degree in DEGREES]

    def outlook(self, config: Mapping[str, Any]) -> Outlook:
        return Outlook({"rounds": config["steps"]}, weight=1.0)

    def seconds(self, config: Mapping[str, Any], place: Place) -> float:
        return 0.001 * float(config["steps"])

    def probe(self, config: Mapping[str, Any], place: Place, starts: float, ends: float) -> Probe:
        return Probe(1.0, "steps", 1, 1)

    def latencies(self, config: Mapping[str, Any], place: Place) -> dict[str, float]:
        return {}

    def export(self, config: Mapping[str, Any], weights: Path, label: str, folder: Path) -> None:
        _, *coefficients = json.loads(weights.read_text())
        folder.mkdir(exist_ok=True)
        (folder / "polynomial.json").write_text(json.dumps(coefficients[: int(label[1:]) + 1]))

    def device_name(self, place: Place) -> str:
        return "paper"

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Fitted]:
        draws = np.random.default_rng(seed)
        x = np.linspace(-1, 1, 32)
        y = np.sin(3 * x) + 0.05 * draws.standard_normal(len(x))
        powers = x[:, None] ** np.arange(max(DEGREES) + 1)
        start, found = 0, np.zeros(max(DEGREES) + 1)
        if resume_from is not None:
            start, *kept = json.loads((resume_from / "coefficients.json").read_text())
            found = np.array(kept)
        steps = config["steps"]
        if start == steps:
            yield Fitted(start, 1.0, {}, True, False, tuple(found))
        for step in range(start + 1, steps + 1):
            for degree in DEGREES:
                inside = powers[:, : degree + 1]
                found[: degree + 1] -= config["rate"] * inside.T @ (inside @ found[: degree + 1] - y) / len(x)
            due = step * config["evaluations"] // steps > (step - 1) * config["evaluations"] // steps
            metrics: dict[str, float] = {}
            if due or step == steps:
                for degree in DEGREES:
                    error = float(np.mean((powers[:, : degree + 1] @ found[: degree + 1] - y) ** 2))
                    metrics |= {f"ppl/p{degree}": math.exp(error), f"rounds/p{degree}": float(step)}
                metrics |= {"ledger/rounds": float(step), "noise": 0.05}
            yield Fitted(step, step / steps, metrics, step == steps, False, tuple(map(float, found)))
