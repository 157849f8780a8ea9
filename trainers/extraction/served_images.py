"""A finished trial's network where models are served: images as they are in, scores out, the size chosen per call.

MLflow loads it by `_load_pyfunc`, whose name is MLflow's. Nothing of MLflow is needed here, and nothing is unpickled.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.building.image_costs import target_costs
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.datasets import dataset
from trainers.errors import ConfigError
from trainers.extraction.anytime import Anytime, chosen_by
from trainers.extraction.description import describe, known_here, source_texts
from trainers.extraction.export import trained
from trainers.nested.encoder import NestedEncoder
from trainers.tasks.images import Normalisation
from trainers.training.state import WEIGHTS

DESCRIPTION = "network.json"  # versions before wrote none
TRUST = "trust_code"
_AT_ONCE = 250  # images that pass the network together


class ServedImages:
    """Answers for images of one shape.

    Args:
        config: the trial's.
        weights: `weights.safetensors` of the trial.

    Raises:
        ConfigError: the data set or the network is not known here.
        DataError: no safetensors, or the weights of another network.
    """

    def __init__(self, config: ImageTrialConfig, weights: Path) -> None:
        source = dataset(config.task.dataset)
        self._shape = source.shape
        self._normalised = Normalisation(*source.statistics())
        macs = {label: cost.macs for label, cost in target_costs(config).items()}
        network = trained(config, weights)
        assert not isinstance(network, NestedEncoder)  # which reads texts
        self._anytime = Anytime(network, macs)

    def predict(self, images: NDArray[np.uint8], params: Mapping[str, Any] | None = None) -> NDArray[np.float32]:
        """Scores `(N, classes)` of images `(N, C, H, W)` of whole numbers from 0 to 255, before any softmax, in fp32.

        Args:
            params: `sub_model`, a target by its label, or `max_macs`, multiply-accumulates per image that the largest
                target within takes; the largest of all without either.

        Raises:
            ConfigError: no such target, another parameter, or images of another shape.
            ValueError: no target is so small, or both are given.
        """
        chosen = chosen_by(params)
        if images.shape[1:] != self._shape:
            raise ConfigError(f"images of shape {images.shape[1:]}: give (N, C, H, W) with (C, H, W) = {self._shape}")
        label = self._anytime.choose(**chosen)
        parts = torch.from_numpy(np.array(images, np.uint8)).split(_AT_ONCE)
        return torch.cat([self._anytime(self._normalised(part), label) for part in parts]).float().numpy()


def kept_beside(config: Mapping[str, Any]) -> dict[str, str]:
    """What a trial's network needs besides its weights and its config: texts by their paths in the model's folder."""
    read = ImageTrialConfig.from_dict(config)
    return {DESCRIPTION: json.dumps(describe(read), indent=2), **source_texts(read)}


def _load_pyfunc(folder: str, options: Mapping[str, Any] | None = None) -> ServedImages:
    """What MLflow calls with the folder of the model's files.

    Args:
        options: `trust_code`: as `trainers.extraction.export.load` has it; false unless given.

    Raises:
        ConfigError: as `ServedImages`.
    """
    inside = Path(folder)
    written = json.loads((inside / "config.json").read_text())
    description = json.loads((inside / DESCRIPTION).read_text()) if (inside / DESCRIPTION).is_file() else {}
    trusted = (options or {}).get(TRUST, False) is True
    return ServedImages(known_here(written, description, inside, trusted), inside / WEIGHTS)
