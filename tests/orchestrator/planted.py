"""A study whose results are known beforehand: two factors, what each level adds, and noise by the seed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.noop import NoopTrainer, Nothing
from orchestrator.study.study import Factor, Preset, Study
from orchestrator.trainer import Place, SubModelCost

METHODS, NORMS = {"NS": 0.0, "LCS": 1.0, "SortedNet": 5.0}, {"instance": 0.0, "batch": 2.0}
SUB_MODELS = {"w050": -3.0, "w100": 0.0}

STUDY = Study(
    name="planted",
    title="Results that are known beforehand",
    presets={
        "small": Preset({"seconds": 0.0, "budget": {"unit": "updates", "amount": 1}}, 4, "at once"),
        "large": Preset({"seconds": 0.0, "budget": {"unit": "updates", "amount": 2}}, 1, "at once, too"),
    },
    factors=(
        Factor("method", {name: {"method": name} for name in METHODS}),
        Factor("norm", {name: {"norm": name} for name in NORMS}),
    ),
    baseline={"method": "NS"},
)


def accuracy(method: str, norm: str, sub_model: str, seed: int) -> float:
    """What a trial measures."""
    noise = np.random.default_rng([seed, list(METHODS).index(method), list(NORMS).index(norm)]).normal()
    return 50 + METHODS[method] + NORMS[norm] + SUB_MODELS[sub_model] + 0.5 * float(noise)


class Planted(NoopTrainer):
    """Says at once what it would have measured; a trial of `diverges` diverges."""

    def costs(self, config: Mapping[str, Any]) -> list[SubModelCost]:
        return [SubModelCost(label, {"width": int(label[1:]) / 100}, int(label[1:]), 1) for label in SUB_MODELS]

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Nothing]:
        *_, last = super().fit(config, seed, place, resume_from)
        metrics = dict(last.metrics)
        for label in SUB_MODELS:
            metrics[f"test_acc/{label}"] = accuracy(config["method"], config["norm"], label, seed)
            metrics[f"updates/{label}"] = 1.0
        diverged = config.get("diverges") == [config["method"], seed]
        yield replace(last, metrics=metrics, diverged=diverged)
