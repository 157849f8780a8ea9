"""A sub-model on its own: weights and a description to load it by, and a program for plain PyTorch."""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from trainers.building.image_networks import build, multiply
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.datasets import dataset
from trainers.errors import unknown
from trainers.extraction.description import describe, known_here, source_texts
from trainers.extraction.onnx_program import ONNX, can_write_onnx, write_onnx
from trainers.extraction.weights import load_trained
from trainers.measuring.cost import measure
from trainers.submodel import SubModel
from trainers.training.state import Network
from trainers.weights import load_weights, named_weights

WEIGHTS, CONFIG, PROGRAM = "model.safetensors", "config.json", "model.pt2"


def trained(config: ImageTrialConfig, weights: Path) -> Network:
    """The network of a finished trial, in evaluation mode.

    Args:
        config: the trial's.
        weights: `weights.safetensors` of the trial.

    Raises:
        DataError: no safetensors, or the weights of another network.
    """
    nested = build(config, seed=0)
    return load_trained(nested, lambda: multiply(nested, seed=0), weights)


def export(config: ImageTrialConfig, weights: Path, label: str, folder: Path) -> None:
    """Writes the target `label` as a stand-alone network.

    `model.safetensors` and `config.json` (the target, its multiply-accumulates and parameters, the shape of an input
    and what its pixels, scaled to 0..1, are normalised by, the trial's config) are what `load` reads, with the source
    in `code/` of a network that the study's own file registers; `model.pt2` is the same network as a program for any
    batch size, which `torch.export.load` runs without this package; where the extra `[onnx]` is installed,
    `model.onnx` is that as ONNX, tried with ONNX Runtime.

    Raises:
        ConfigError: no target of that label.
        DataError: the weights of another network; or ONNX Runtime finds other scores.
        OSError: the folder cannot be written; what is left there has no description, and so cannot be loaded.
    """
    targets = {target.label: target for target in config.lattice}
    if label not in targets:
        raise unknown("target", label, targets)
    network = trained(config, weights).extract(targets[label]).eval()
    shape = dataset(config.task.dataset).shape
    values = save(
        {name: tensor.detach() for name, tensor in named_weights(network).items()}
    )  # before the export, which leaves the network's parameters without their values
    exported = io.BytesIO()
    runnable = program(network, shape)
    torch.export.save(runnable, exported)
    about = {
        "label": label,
        "target": dict(targets[label].dims),
        **asdict(measure(network, shape)),
        **describe(config),
        "config": config.as_dict(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in (CONFIG, ONNX):  # they shall not describe these weights, or be taken for them
        (folder / earlier).unlink(missing_ok=True)
    (folder / WEIGHTS).write_bytes(values)
    (folder / PROGRAM).write_bytes(exported.getvalue())
    if can_write_onnx():
        write_onnx(runnable, shape, folder / ONNX)
    for path, text in source_texts(config).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    (folder / CONFIG).write_text(json.dumps(about, indent=2))


def program(network: nn.Module, input_shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    """A plain network as a program for any batch size.

    Args:
        network: in the mode in which the program is to run.
        input_shape: of one example.
    """
    batch = {0: torch.export.Dim("batch", min=1)}
    return torch.export.export(network, (torch.zeros(2, *input_shape),), dynamic_shapes=(batch,))


def load(folder: Path, *, trust_code: bool = False) -> nn.Module:
    """The network that `export` wrote, of plain PyTorch layers, in evaluation mode.

    Args:
        trust_code: whether the source in `code/` of a network that the study's own file registers may be run, where
            that file was not.

    Raises:
        ConfigError: such a network, and its source is not to be run; or it is another one here.
        RuntimeError: the weights do not belong to the description.
    """
    about: dict[str, Any] = json.loads((folder / CONFIG).read_text())
    config = known_here(about["config"], about, folder, trust_code)
    nested = build(config, seed=0)
    network = nested.extract(SubModel(**about["target"]))
    load_weights(network, load_file(folder / WEIGHTS))
    return network.eval()
