"""What somebody's own data set gives, as images and labels that can be trained on; or a line that says why it cannot.

Arrays come read-only from a memory map, as views that run backwards, as tensors on a GPU; those are taken. Images whose
axes or numbers mean something else would train without an error and learn little, so they are refused with what to do.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.errors import ConfigError

_CHANNELS = (1, 3, 4)  # of grey, coloured and transparent images


def images(given: object, whose: str) -> Tensor:
    """`(N, C, H, W)` uint8, in memory of its own unless it can be shared.

    Args:
        given: anything that numpy reads as an array; whole numbers from 0 to 255.
        whose: `training` or `test`.

    Raises:
        ConfigError: other axes or numbers; no images.
    """
    array = _array(given, f"{whose} images")
    what = f"the {whose} images are {array.shape}"
    if array.ndim == 3:
        raise ConfigError(f"{what}: they have no channels, give images[:, None]")
    if array.ndim != 4:
        raise ConfigError(f"{what}: give (N, C, H, W), as by images.reshape(-1, channels, height, width)")
    if 0 in array.shape:
        raise ConfigError(f"{what}: there is nothing in them")
    if array.shape[3] in _CHANNELS and min(array.shape[1:3]) > max(_CHANNELS):
        raise ConfigError(f"{what}: channels come before height and width, give images.{_moved(given)}")
    if array.dtype != np.uint8:
        _refuse_other_numbers(array, f"the {whose} images")
    return _tensor(array, np.uint8)


def labels(given: object, whose: str, count: int) -> Tensor:
    """`(N,)` int64.

    Args:
        given: anything that numpy reads as an array; whole numbers from 0.
        whose: `training` or `test`.
        count: number of the images.

    Raises:
        ConfigError: others, or not one for each image.
    """
    array = _array(given, f"{whose} labels")
    what = f"the {whose} labels"
    if array.ndim == 2 and array.shape[1] > 1:
        raise ConfigError(f"{what} are {array.shape}: give one whole number for each image, as by labels.argmax(1)")
    if array.ndim != 1:
        raise ConfigError(f"{what} are {array.shape}: give (N,), as by labels.reshape(-1)")
    if len(array) != count:
        raise ConfigError(f"{what} are {len(array)} for {count} images: give one for each")
    if array.dtype.kind in "USO":
        raise ConfigError(f"{what} are no numbers: give np.unique(labels, return_inverse=True)[1], both parts alike")
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"{what} are {array.dtype}: give whole numbers from 0")
    wrong = ~((array >= 0) & (array < 2**31) & (array == np.floor(array)))  # NaN is none of these
    if wrong.any():
        place = int(wrong.argmax())
        raise ConfigError(f"{what} are to be whole numbers from 0: that of image {place} is {array[place]}")
    return _tensor(array, np.int64)


def refuse_gaps(labels: tuple[Tensor, Tensor]) -> None:
    """Refuses labels that number something else than classes, for every one of which a network has an output.

    Raises:
        ConfigError: they go up to more than there are images.
    """
    highest, images = max(int(each.max()) for each in labels), sum(map(len, labels))
    if highest >= images:
        raise ConfigError(
            f"labels go up to {highest}, of {images} images: number classes from 0 without gaps, as by "
            "np.unique(labels, return_inverse=True)[1], both parts alike"
        )


def _array(given: object, what: str) -> NDArray[Any]:
    if isinstance(given, Tensor):
        dense = given.detach().to_dense() if given.layout != torch.strided else given.detach()
        plain = dense.cpu()
        given = plain.float().numpy() if plain.is_floating_point() else plain.numpy()
    if isinstance(given, np.ma.MaskedArray) and np.ma.getmaskarray(given).any():
        raise ConfigError(f"some of the {what} are masked: fill them, or leave them out")
    try:
        return np.asarray(given)
    except (TypeError, ValueError) as error:  # of several sizes
        raise ConfigError(f"the {what} are no array: {error}") from error


def _refuse_other_numbers(array: NDArray[Any], what: str) -> None:
    """Raises `ConfigError` unless they are what uint8 holds, in another type of whole numbers."""
    if array.dtype.kind not in "iuf":
        raise ConfigError(f"{what} are {array.dtype}: give uint8 from 0 to 255")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ConfigError(f"{what} are not finite everywhere: give uint8 from 0 to 255")
    least, most = array.min(), array.max()
    if array.dtype.kind in "iu" and least >= 0 and most <= 255:
        return
    said = f"{what} are {array.dtype} from {least:g} to {most:g}: give uint8 from 0 to 255"
    if least >= 0 and most <= 1:
        said += ", (255 * images).round().astype(np.uint8)"
    elif least >= 0 and most <= 255:
        said += ", images.round().astype(np.uint8)"
    raise ConfigError(said)


def _moved(given: object) -> str:
    return f"{'permute' if isinstance(given, Tensor) else 'transpose'}(0, 3, 1, 2)"


def _tensor(array: NDArray[Any], dtype: type[np.generic]) -> Tensor:
    """Contiguous, of this machine's byte order, and to be written to, which torch asks for."""
    return torch.from_numpy(np.require(array, dtype, ["C_CONTIGUOUS", "WRITEABLE"]))
