"""A sub-model of an encoder on its own: a genuine model of `transformers`, as its `from_pretrained` reads it."""

import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from trainers.errors import unknown
from trainers.extraction.text_network import TOKENIZER_FILES, TextNetwork
from trainers.extraction.weights import load_trained
from trainers.nested.encoder import NestedEncoder
from trainers.nested.separate import SeparateNetworks
from trainers.training.state import Network


def trained(network: TextNetwork, weights: Path) -> Network:
    """The network of a finished trial, in evaluation mode.

    Args:
        weights: `weights.safetensors` of the trial.

    Raises:
        DataError: no safetensors, or the weights of another network.
    """
    nested = NestedEncoder(network.blank(), network.lattice, network.kept)
    return load_trained(nested, lambda: SeparateNetworks.cut_out(nested), weights)


def export(network: TextNetwork, weights: Path, label: str, folder: Path) -> None:
    """Writes the target `label` of a finished trial as `config.json` and `model.safetensors`.

    The tokenizer that lies beside the weights comes along; earlier versions kept none.

    Args:
        weights: `weights.safetensors` of the trial.

    Raises:
        ConfigError: no target of that label.
        DataError: no safetensors, or the weights of another network.
        OSError: the folder cannot be written.
    """
    targets = {target.label: target for target in network.lattice}
    if label not in targets:
        raise unknown("target", label, targets)
    alone: Any = trained(network, weights).extract(targets[label]).eval()
    alone.config.architectures = [type(alone).__name__]
    if network.classes:
        alone.config.id2label = dict(enumerate(network.classes))
        alone.config.label2id = {name: index for index, name in enumerate(network.classes)}
    folder.mkdir(parents=True, exist_ok=True)
    # What `save_pretrained` writes, without its progress bar.
    alone.config.save_pretrained(folder)
    save_file(alone.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    for name in TOKENIZER_FILES:
        (folder / name).unlink(missing_ok=True)  # an earlier one's
        if (weights.parent / name).is_file():
            shutil.copyfile(weights.parent / name, folder / name)
