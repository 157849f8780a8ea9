"""What a finished trial's network needs to be loaded where nothing of its study is known.

Its config names a data set and a network, which the study's own file may have registered. Of the data set the network
needs four facts, which are written down; of a network of one's own its source (`trainers.own.kept`).
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from trainers.config.image_trial import ImageTrialConfig
from trainers.data.datasets import DATASETS, Dataset, dataset
from trainers.errors import DataError
from trainers.networks.architectures import NETWORKS
from trainers.own.kept import FOLDER, keep, kept

_FACTS = ("input_shape", "classes", "mean", "std")


def describe(config: ImageTrialConfig) -> dict[str, Any]:
    """As JSON values: of the data set what the network was made for, of a network of one's own which it is."""
    source = dataset(config.task.dataset)
    mean, std = source.statistics()
    own, _ = keep("network", config.network.name)
    facts = (list(source.shape), source.classes, list(mean), list(std))
    return {**dict(zip(_FACTS, facts, strict=True)), **({"code": own} if own else {})}


def source_texts(config: ImageTrialConfig) -> dict[str, str]:
    """The source of a network of one's own, by paths beside the description; none of others."""
    _, texts = keep("network", config.network.name)
    return {f"{FOLDER}/{path}": text for path, text in texts.items()}


def known_here(
    written: Mapping[str, Any], description: Mapping[str, Any], folder: Path, trust_code: bool
) -> ImageTrialConfig:
    """A trial's config as far as its network needs it, whose names are known in this process.

    Args:
        written: the config, as `as_dict` wrote it.
        description: as `describe` gave it; without its facts, as earlier versions wrote it, the config is as it is.
        folder: where the sources lie.
        trust_code: whether the source of a network of the study's own may be run.

    Raises:
        ConfigError: a network, or without description a data set, that is not known.
    """
    if any(fact not in description for fact in _FACTS):
        return ImageTrialConfig.from_dict(written)
    task, network = dict(written["task"]), dict(written["network"])
    task["dataset"] = _described(task["dataset"], *(description[fact] for fact in _FACTS))
    if own := description.get("code"):
        architecture = kept(own, folder / FOLDER, trust_code)
        if architecture is not None:
            network["name"] = f"{own['name']}@{own['digest'][:12]}"
            NETWORKS[network["name"]] = architecture
    parts = {"task": {"dataset": task["dataset"]}, "network": network, "norm": written["norm"]}
    return ImageTrialConfig.from_dict(parts)


def _described(name: str, shape: list[int], classes: int, mean: list[float], std: list[float]) -> str:
    """Has a data set known by a name that no study can give it, which is returned."""
    channels, height, width = shape
    facts = hashlib.sha256(json.dumps([shape, classes, mean, std]).encode()).hexdigest()
    unique = f"{name}@{facts[:12]}"

    def absent(folder: Path | None = None) -> NoReturn:
        raise DataError(f"dataset {name} is not known here but for what its networks need")

    DATASETS[unique] = Dataset(
        shape=(channels, height, width),
        classes=classes,
        test_images=0,
        crop_padding=0,
        flip=False,
        checksum=absent,
        statistics=lambda: (tuple(mean), tuple(std)),
        fetch=absent,
        load=absent,
    )
    return unique
