"""A sub-model of an encoder on its own: a genuine model of `transformers`, as its `from_pretrained` reads it."""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from trainers.errors import unknown
from trainers.extraction.weights import load_trained
from trainers.lattice import Lattice
from trainers.nested.encoder import NestedEncoder
from trainers.nested.encoder_size import Kept
from trainers.nested.separate import SeparateNetworks


def export(lattice: Lattice, kept: Kept, plain: nn.Module, weights: Path, label: str, folder: Path) -> None:
    """Writes the target `label` of a finished trial as `config.json` and `model.safetensors`.

    Args:
        lattice, kept: as the trial had them.
        plain: the trial's model, whatever its weights.
        weights: `weights.safetensors` of the trial.

    Raises:
        ConfigError: no target of that label.
        DataError: no safetensors, or the weights of another network.
        OSError: the folder cannot be written.
    """
    targets = {target.label: target for target in lattice}
    if label not in targets:
        raise unknown("target", label, targets)
    nested = NestedEncoder(plain, lattice, kept)
    alone: Any = load_trained(nested, lambda: SeparateNetworks.cut_out(nested), weights).extract(targets[label]).eval()
    alone.config.architectures = [type(alone).__name__]
    folder.mkdir(parents=True, exist_ok=True)
    # What `save_pretrained` writes, without its progress bar.
    alone.config.save_pretrained(folder)
    save_file(alone.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
