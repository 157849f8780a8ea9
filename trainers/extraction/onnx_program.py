"""A plain network as ONNX, for runtimes that know no PyTorch; where the extra `[onnx]` is installed."""

from importlib.util import find_spec
from pathlib import Path

import torch

from trainers.errors import DataError

ONNX = "model.onnx"
_TRIED, _WITHIN = 3, 1e-3  # images; of the largest score


def can_write_onnx() -> bool:
    """Whether what torch needs for it is installed."""
    return all(find_spec(package) is not None for package in ("onnx", "onnxscript"))


def write_onnx(program: torch.export.ExportedProgram, input_shape: tuple[int, ...], file: Path) -> None:
    """Writes a program, whose first dimension is the batch's, and tries it with ONNX Runtime, if that is there.

    Args:
        program: of a network.
        input_shape: of one example.
        file: to be written.

    Raises:
        DataError: what was written does not answer as the program does; it is taken away.
    """
    converted = torch.onnx.export(program, dynamo=True, input_names=["images"], output_names=["scores"], verbose=False)
    assert converted is not None
    converted.save(file, external_data=False)
    if find_spec("onnxruntime") is None:
        return
    import onnxruntime

    images = torch.randn(_TRIED, *input_shape, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        expected = program.module()(images)
    apart = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max()
    if not apart <= _WITHIN:
        file.unlink()
        raise DataError(f"{file.name} would answer otherwise than the network by {apart:.1e} of its largest score")
