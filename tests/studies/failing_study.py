"""A trainer that raises in one arm of the Table 1 study and diverges in another."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.trainer import Place, Snapshot
from studies.image_trainer import ImageTrainer


class Faulty(ImageTrainer):
    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Snapshot]:
        if config["method"]["sampler"] == "sandwich(4)":
            raise ZeroDivisionError("on purpose")
        if config["method"]["sampler"] == "uniform":
            config = {**config, "optimizer": {**config["optimizer"], "learning_rate": 1e6}}
        return super().fit(config, seed, place, resume_from)
